/* arch_smollm3.c - SmolLM3: Llama's block, with no rotary positions in every fourth layer
 * (NoPE, arXiv:2501.18795). */
#include "protocol/mem.h"
#include "worker/model/arch_llama.h"
#include <stdlib.h>

static const struct decoder_presets PRESETS = {
	.tied = true,
	.norm_eps = 1e-6,
	.rope_theta = 2e6,
};

static bool lacks_rope(size_t layer, const void *arg)
{
	return ((const struct decoder *)arg)->layers[layer].rope == ROPE_NONE;
}

/* no_rope_layers is 1 where there *is* a rotary embedding, in the reference too. */
static void choose_rope(struct decoder *d, struct config *c)
{
	size_t interval = config_size_or(c, "no_rope_layer_interval", 4);
	double *has_rope = xcalloc(d->n_layers, sizeof *has_rope);
	bool listed = config_nums(c, "no_rope_layers", has_rope, d->n_layers, false);

	for (size_t i = 0; i < d->n_layers; i++) {
		bool with = listed ? has_rope[i] != 0 : (i + 1) % interval != 0;
		d->layers[i].rope = with ? 0 : ROPE_NONE;
	}
	free(has_rope);
}

static void configure(struct decoder *d, struct config *c)
{
	size_t window = config_count_or(c, "sliding_window", 0);

	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	choose_rope(d, c);
	config_ignore(c, "max_window_layers"); /* the reference reads it nowhere */
	if (!config_bool_or(c, "use_sliding_window", false))
		window = 0;
	decoder_configure_windows(d, c, window, lacks_rope, d);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
	d->ffn_bias = decoder_bias(c, "mlp_bias", false);
}

const struct arch ARCH_SMOLLM3 = { "smollm3", configure, llama_bind, llama_forward };
