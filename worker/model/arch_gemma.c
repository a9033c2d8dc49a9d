/* arch_gemma.c - Gemma 1 (arXiv:2403.08295): Llama's block with Gemma's norms, embedding scale
 * and gated GELU. */
#include "worker/model/arch_gemma.h"
#include <math.h>

static const struct decoder_presets PRESETS = {
	.tied = true,
	.head_dim = 256,
	.norm_eps = 1e-6,
	.rope_theta = 10000,
	.activation = "gelu_pytorch_tanh",
};

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	/* Early configs say "gelu" and mean its tanh form; the reference uses that for all. */
	d->activation = ACTIVATION_GELU_TANH;
	for (size_t i = 0; i < d->n_layers; i++)
		d->layers[i].ffn.activation = d->activation;
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(d, c, 0, NULL, NULL);
	d->embedding.scale = sqrtf((float)d->dim);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
}

static void bind(struct decoder *d, struct weights *w)
{
	llama_bind(d, w);
	d->final_norm.offset = 1;
	for (size_t i = 0; i < d->n_layers; i++) {
		d->layers[i].attn_norm.offset = 1;
		d->layers[i].ffn_norm.offset = 1;
	}
}

const struct arch ARCH_GEMMA = { "gemma", configure, bind, llama_forward };
