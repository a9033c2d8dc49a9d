/* arch_mistral.c - Mistral (arXiv:2310.06825): Llama's block over a sliding window. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.norm_eps = 1e-6,
	.rope_theta = 10000,
};

static void configure(struct decoder *d, struct config *c)
{
	/* Later Mistrals say null; a config that says nothing means the first one's window. */
	size_t preset = config_is_null(c, "sliding_window") ? 0 : 4096;

	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(
		d, c, config_count_or(c, "sliding_window", preset), decoder_slides_always, NULL);
}

const struct arch ARCH_MISTRAL = { "mistral", configure, llama_bind, llama_forward };
