/* arch_gemma.h - what the Gemma generations share: norms on both sides of each branch, their
 * weights stored less one, embeddings scaled by the root of the width. */
#ifndef WORKER_MODEL_ARCH_GEMMA_H
#define WORKER_MODEL_ARCH_GEMMA_H
#include "worker/model/arch_llama.h"

/* Embedding scale, attention scale and both soft caps (of which absent means the preset). */
void gemma_configure_scales(
	struct decoder *d, struct config *c, double attn_softcap, double logit_softcap);
/* All tensors; with_qk_norm: a norm on every head's query and key. */
void gemma_bind(struct decoder *d, struct weights *w, bool with_qk_norm);
#endif
