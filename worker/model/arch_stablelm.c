/* arch_stablelm.c - StableLM 2 (arXiv:2402.17834): partly rotary, LayerNorm, gated FFN. */
#include "worker/model/arch_gpt_neox.h"

static const struct decoder_presets PRESETS = {
	.eps_field = "layer_norm_eps",
	.norm_eps = 1e-5,
	.rope_theta = 10000,
	.partial_rotary = 0.25,
};

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	d->parallel = config_bool_or(c, "use_parallel_residual", false);
	d->qkv_bias = decoder_bias(c, "use_qkv_bias", false);
}

static void bind(struct decoder *d, struct weights *w)
{
	d->embedding.tokens =
		weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "model.embed_tokens");
	d->final_norm = weights_layer_norm(w, d->dim, d->norm_eps, "model.norm");
	decoder_bind_head(d, w, "lm_head");
	for (size_t i = 0; i < d->n_layers; i++) {
		struct layer *l = &d->layers[i];
		decoder_bind_attention(d, w, i);
		decoder_bind_ffn(d, w, i);
		l->attn_norm = weights_layer_norm(
			w, d->dim, d->norm_eps, "model.layers.%zu.input_layernorm", i);
		if (!d->parallel) /* its parallel form has one norm for both branches */
			l->ffn_norm = weights_layer_norm(w, d->dim, d->norm_eps,
				"model.layers.%zu.post_attention_layernorm", i);
	}
}

const struct arch ARCH_STABLELM = { "stablelm", configure, bind, parallel_forward };
