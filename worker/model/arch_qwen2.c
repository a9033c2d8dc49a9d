/* arch_qwen2.c - Qwen2 and 2.5 (arXiv:2407.10671): Llama's block, biases on q, k and v. */
#include "worker/model/arch_qwen.h"

static const struct decoder_presets PRESETS = {
	.norm_eps = 1e-6,
	.rope_theta = 10000,
};

static bool is_above(size_t layer, const void *arg)
{
	return layer >= *(const size_t *)arg;
}

void qwen_configure_windows(struct decoder *d, struct config *c)
{
	size_t first = config_count_or(c, "max_window_layers", 28);
	size_t window = config_count_or(c, "sliding_window", 4096);

	if (!config_bool_or(c, "use_sliding_window", false))
		window = 0;
	decoder_configure_windows(d, c, window, is_above, &first);
}

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	qwen_configure_windows(d, c);
	d->qkv_bias = WITH_BIAS;
}

const struct arch ARCH_QWEN2 = { "qwen2", configure, llama_bind, llama_forward };
