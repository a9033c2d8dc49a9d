/* arch_granite.c - Granite (IBM): Llama's block with a multiplier at each junction. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.norm_eps = 1e-6,
	.rope_theta = 10000,
};

static void configure(struct decoder *d, struct config *c)
{
	float attention_scale = (float)config_num_or(c, "attention_multiplier", 1);

	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(d, c, 0, NULL, NULL);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
	d->ffn_bias = decoder_bias(c, "mlp_bias", false);
	d->embedding.scale = (float)config_num_or(c, "embedding_multiplier", 1);
	d->residual_scale = (float)config_num_or(c, "residual_multiplier", 1);
	d->head.scale = (float)(1 / config_num_or(c, "logits_scaling", 1));
	for (size_t i = 0; i < d->n_layers; i++)
		d->layers[i].attention.scale = attention_scale;
}

const struct arch ARCH_GRANITE = { "granite", configure, llama_bind, llama_forward };
