/* arch_olmo2.c - OLMo 2 (arXiv:2501.00656): norms after each branch, and one over all of a
 * row's queries and keys. */
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
