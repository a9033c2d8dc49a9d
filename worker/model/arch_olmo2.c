/* arch_olmo2.c - OLMo 2 (arXiv:2501.00656): norms after each branch, and one over all of a
 * row's queries and keys; and OLMo 3, of which three layers in four slide. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.norm_eps = 1e-5,
	.rope_theta = 10000,
};

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(d, c, 0, NULL, NULL);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
}

static bool slides(size_t layer, const void *arg)
{
	(void)arg;
	return (layer + 1) % 4 != 0;
}

/* Scaled rotary frequencies are the global layers' alone: the others see no further than
 * their window. */
static void configure_olmo3(struct decoder *d, struct config *c)
{
	struct config *p = config_object(c, "rope_parameters");
	bool by_layer = p && config_is_object(p, "full_attention");
	struct rope_shape shape = { .partial_preset = 1 };

	decoder_configure(d, c, &PRESETS);
	shape.head_dim = d->head_dim;
	decoder_configure_rope(d, c, 0, by_layer ? "full_attention" : NULL, &PRESETS);
	if (by_layer)
		decoder_configure_rope(d, c, 1, "sliding_attention", &PRESETS);
	else
		rope_plain(&d->ropes[1], &shape, d->ropes[0].theta, 1);
	d->n_ropes = 2;
	decoder_configure_windows(d, c, config_count_or(c, "sliding_window", 4096), slides, NULL);
	for (size_t i = 0; i < d->n_layers; i++)
		d->layers[i].rope = d->layers[i].attention.window > 0 ? 1 : 0;
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
}

static void bind(struct decoder *d, struct weights *w)
{
	decoder_bind_ends(d, w);
	for (size_t i = 0; i < d->n_layers; i++) {
		struct layer *l = &d->layers[i];
		decoder_bind_attention(d, w, i);
		decoder_bind_qk_norm(d, w, i, decoder_q_width(d), decoder_kv_width(d));
		decoder_bind_ffn(d, w, i);
		l->attn_post_norm = weights_rms_norm(
			w, d->dim, d->norm_eps, "model.layers.%zu.post_attention_layernorm", i);
		l->ffn_post_norm = weights_rms_norm(
			w, d->dim, d->norm_eps, "model.layers.%zu.post_feedforward_layernorm", i);
	}
}

const struct arch ARCH_OLMO2 = { "olmo2", configure, bind, llama_forward };
const struct arch ARCH_OLMO3 = { "olmo3", configure_olmo3, bind, llama_forward };
