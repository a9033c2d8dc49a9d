/* arch_qwen3_moe.c - Qwen3-MoE (arXiv:2505.09388): Qwen3 with experts in most layers. */
#include "worker/model/arch_qwen.h"

static const struct decoder_presets PRESETS = {
	.norm_eps = 1e-6,
	.rope_theta = 10000,
};

static const struct expert_names NAMES = {
	.router = "mlp.gate",
	.experts = "mlp.experts",
	.gate = "gate_proj",
	.up = "up_proj",
	.down = "down_proj",
	.stacked = "mlp.switch_mlp",
};

/* A layer is sparse unless mlp_only_layers names it or decoder_sparse_step skips it. */
static void choose_sparse(struct decoder *d, struct config *c)
{
	size_t step = config_size_or(c, "decoder_sparse_step", 1);
	struct json_span dense = config_value(c, "mlp_only_layers"), v;
	struct json_cursor at = json_iterate(dense);
	int64_t layer;

	for (size_t i = 0; i < d->n_layers; i++)
		d->layers[i].experts.n_experts = (i + 1) % step == 0 ? d->n_experts : 0;
	if (dense.at && json_kind(dense) != '[')
		config_refuse(c, "mlp_only_layers", "not an array");
	while (json_next_element(&at, &v)) {
		if (!json_get_int(v, &layer) || layer < 0 || (size_t)layer >= d->n_layers)
			config_refuse(c, "mlp_only_layers", "names a layer that is not there");
		else
			d->layers[layer].experts.n_experts = 0;
	}
}

static void configure(struct decoder *d, struct config *c)
{
	size_t window = config_count_or(c, "sliding_window", 4096);

	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	if (!config_bool_or(c, "use_sliding_window", false))
		window = 0;
	/* The reference slides in every layer here, wherever max_window_layers points. */
	config_ignore(c, "max_window_layers");
	decoder_configure_windows(d, c, window, decoder_slides_always, NULL);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
	decoder_configure_experts(d, c, 8);
	d->expert_dim = config_size(c, "moe_intermediate_size");
	d->routing = config_bool_or(c, "norm_topk_prob", false) ? ROUTE_SOFTMAX_ALL_NORM
								: ROUTE_SOFTMAX_ALL;
	choose_sparse(d, c);
}

static void bind(struct decoder *d, struct weights *w)
{
	decoder_bind_ends(d, w);
	for (size_t i = 0; i < d->n_layers; i++) {
		qwen3_bind_layer(d, w, i);
		if (d->layers[i].experts.n_experts > 0)
			decoder_bind_experts(d, w, i, &NAMES);
		else
			decoder_bind_ffn(d, w, i);
	}
}

const struct arch ARCH_QWEN3_MOE = { "qwen3_moe", configure, bind, llama_forward };
