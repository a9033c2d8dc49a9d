/* arch_gemma3.c - Gemma 3, text (arXiv:2503.19786): five sliding layers to a global one, each
 * kind with its own rotary base, norms on queries and keys. */
#include "worker/model/arch_gemma.h"

static const struct decoder_presets PRESETS = {
	.tied = true,
	/* The multimodal models' published configs leave these out. */
	.head_dim = 256,
	.n_heads = 8,
	.n_kv_heads = 4,
	.vocab_size = 262208,
	.context_length = 131072,
	.norm_eps = 1e-6,
	.rope_theta = 1e6,
	.activation = "gelu_pytorch_tanh",
};
static const struct decoder_presets LOCAL_ROPE = { .rope_theta = 10000 };

enum { GLOBAL, LOCAL }; /* rope tables */

static bool slides(size_t layer, const void *arg)
{
	return (layer + 1) % *(const size_t *)arg != 0;
}

/* Split by layer type in the newer spelling; in the older one rope_theta and rope_scaling
 * are the global layers', rope_local_base_freq the others'. */
static void configure_ropes(struct decoder *d, struct config *c)
{
	const struct rope_shape local = {
		.head_dim = d->head_dim,
		.context_length = d->context_length,
		.partial_preset = 1,
	};
	double base = config_num_or(c, "rope_local_base_freq", 10000);

	if (config_has(c, "rope_parameters")) {
		decoder_configure_rope(d, c, GLOBAL, "full_attention", &PRESETS);
		decoder_configure_rope(d, c, LOCAL, "sliding_attention", &LOCAL_ROPE);
	} else {
		decoder_configure_rope(d, c, GLOBAL, NULL, &PRESETS);
		rope_plain(&d->ropes[LOCAL], &local, base, 1);
		d->n_ropes = 2;
	}
}

static void configure(struct decoder *d, struct config *c)
{
	const char *old = "sliding_window_pattern", *new = "_sliding_window_pattern";
	size_t pattern = config_size_or(c, config_has(c, old) ? old : new, 6);

	decoder_configure(d, c, &PRESETS);
	configure_ropes(d, c);
	decoder_configure_windows(
		d, c, config_count_or(c, "sliding_window", 4096), slides, &pattern);
	gemma_configure_scales(d, c, 0, 0);
	for (size_t i = 0; i < d->n_layers; i++)
		d->layers[i].rope = d->layers[i].attention.window > 0 ? LOCAL : GLOBAL;
}

static void bind(struct decoder *d, struct weights *w)
{
	gemma_bind(d, w, true);
}

const struct arch ARCH_GEMMA3 = { "gemma3_text", configure, bind, llama_forward };
