/* arch_mixtral.c - Mixtral (arXiv:2401.04088): Mistral with a mixture of experts. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.norm_eps = 1e-5,
	.rope_theta = 1e6,
};

static const struct expert_names NAMES = {
	.router = "block_sparse_moe.gate",
	.experts = "block_sparse_moe.experts",
	.gate = "w1",
	.up = "w3",
	.down = "w2",
	.stacked = "block_sparse_moe.switch_mlp",
};

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(
		d, c, config_count_or(c, "sliding_window", 0), decoder_slides_always, NULL);
	decoder_configure_experts(d, c, 2);
	d->expert_dim = d->ffn_dim;
	d->routing = ROUTE_SOFTMAX_ALL_NORM;
}

static void bind(struct decoder *d, struct weights *w)
{
	decoder_bind_ends(d, w);
	for (size_t i = 0; i < d->n_layers; i++) {
		llama_bind_layer(d, w, i);
		decoder_bind_experts(d, w, i, &NAMES);
	}
}

const struct arch ARCH_MIXTRAL = { "mixtral", configure, bind, llama_forward };
