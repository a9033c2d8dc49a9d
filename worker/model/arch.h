/* arch.h - an architecture: how its config.json reads, where its tensors are, its maths.
 *
 * One file and one row in model.c per architecture. `configure` fills the decoder's numbers,
 * `bind` its weights, `forward` is one step written against struct backend. What families
 * have in common is in decoder.h (reading and binding) and arch_llama.h (the block). */
#ifndef WORKER_MODEL_ARCH_H
#define WORKER_MODEL_ARCH_H
#include "worker/model/decoder.h"

struct arch {
	const char *model_types; /* of config.json, space-separated */
	/* Read every field that matters; errors are recorded in c. */
	void (*configure)(struct decoder *d, struct config *c);
	/* Find every tensor; errors are recorded in w. */
	void (*bind)(struct decoder *d, struct weights *w);
	void (*forward)(const struct decoder *d, const struct backend *k, struct step *s);
};

/* The row of a model_type, or NULL. */
const struct arch *arch_find(const char *model_type);

extern const struct arch ARCH_GEMMA;
extern const struct arch ARCH_GEMMA2;
extern const struct arch ARCH_GEMMA3;
extern const struct arch ARCH_GPT2;
extern const struct arch ARCH_GPT_NEOX;
extern const struct arch ARCH_GPT_OSS;
extern const struct arch ARCH_GRANITE;
extern const struct arch ARCH_LLAMA;
extern const struct arch ARCH_MISTRAL;
extern const struct arch ARCH_MIXTRAL;
extern const struct arch ARCH_OLMO2;
extern const struct arch ARCH_OLMO3;
extern const struct arch ARCH_PHI;
extern const struct arch ARCH_PHI3;
extern const struct arch ARCH_QWEN2;
extern const struct arch ARCH_QWEN3;
extern const struct arch ARCH_QWEN3_MOE;
extern const struct arch ARCH_SMOLLM3;
extern const struct arch ARCH_STABLELM;
extern const struct arch ARCH_STARCODER2;
#endif
