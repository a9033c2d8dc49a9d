/* fuzz_config.c - whatever a config.json says: every architecture reads it to an end, and
 * what is not refused is a decoder with sane sizes. */
#include "worker/model/arch.h"
#include "worker/model/defaults.h"
#include "worker/model/quantization.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct arch *const ARCHES[] = { &ARCH_LLAMA, &ARCH_GEMMA2, &ARCH_GEMMA3, &ARCH_GPT2,
	&ARCH_GPT_NEOX, &ARCH_GPT_OSS, &ARCH_GRANITE, &ARCH_MISTRAL, &ARCH_MIXTRAL, &ARCH_OLMO2,
	&ARCH_PHI, &ARCH_PHI3, &ARCH_QWEN2, &ARCH_QWEN3, &ARCH_QWEN3_MOE, &ARCH_SMOLLM3,
	&ARCH_STABLELM, &ARCH_STARCODER2 };
#define N_ARCHES (sizeof ARCHES / sizeof *ARCHES)

static void must(bool so)
{
	if (!so)
		abort();
}

static void check(const struct decoder *d)
{
	must(d->n_layers >= 1 && d->n_layers <= DECODER_LAYERS_MAX && d->layers);
	must(d->n_heads % d->n_kv_heads == 0 && d->head_dim >= 1 && d->vocab_size >= 1);
	must(d->n_experts <= DECODER_EXPERTS_MAX && d->n_experts_used <= d->n_experts);
	for (size_t i = 0; i < d->n_ropes; i++) {
		float cosines[2048], sines[2048];
		must(d->ropes[i].n_rot <= d->head_dim && d->ropes[i].n_rot / 2 <= 2048);
		rope_fill(&d->ropes[i], 100, 101, cosines, sines);
	}
	for (size_t i = 0; i < d->n_layers; i++)
		must(d->layers[i].rope == ROPE_NONE || (size_t)d->layers[i].rope < d->n_ropes);
}

static void try(const struct arch *a, const uint8_t *data, size_t size)
{
	struct config *c, *quantization = NULL;
	struct model_defaults defaults;
	struct decoder d = { 0 };
	struct fault f = { 0 };

	if (config_parse((const char *)data, size, "fuzz", &c, &f) < 0) {
		must(f.err == ERR_MODEL_LOAD && f.text[0]);
		return;
	}
	config_str(c, "model_type");
	a->configure(&d, c);
	if (defaults_read(&defaults, c, c, &f) == 0 &&
		quantization_read(c, &quantization, &f) == 0 && config_finish(c, &f) == 0)
		check(&d);
	else
		must(f.err == ERR_MODEL_LOAD && f.text[0]);
	decoder_release(&d);
	config_free(quantization);
	config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* The first byte chooses; what follows is the file. */
	if (size > 0)
		try(ARCHES[data[0] % N_ARCHES], data + 1, size - 1);
	return 0;
}
