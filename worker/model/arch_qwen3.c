/* arch_qwen3.c - Qwen3 (arXiv:2505.09388): Llama's block with a norm on queries and keys. */
#include "worker/model/arch_qwen.h"

static const struct decoder_presets PRESETS = {
	.head_dim = 128,
	.norm_eps = 1e-6,
	.rope_theta = 10000,
};

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	qwen_configure_windows(d, c);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
}

void qwen3_bind_layer(struct decoder *d, struct weights *w, size_t i)
{
	llama_bind_layer(d, w, i);
	decoder_bind_qk_norm(d, w, i, d->head_dim, d->head_dim);
}

static void bind(struct decoder *d, struct weights *w)
{
	decoder_bind_ends(d, w);
	for (size_t i = 0; i < d->n_layers; i++) {
		qwen3_bind_layer(d, w, i);
		decoder_bind_ffn(d, w, i);
	}
}

const struct arch ARCH_QWEN3 = { "qwen3", configure, bind, llama_forward };
