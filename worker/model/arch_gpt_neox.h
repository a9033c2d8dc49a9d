/* arch_gpt_neox.h - the block whose attention and FFN read the same residual. */
#ifndef WORKER_MODEL_ARCH_GPT_NEOX_H
#define WORKER_MODEL_ARCH_GPT_NEOX_H
#include "worker/model/arch_llama.h"

/* Per layer x += o(attend(rope(qkv(norm x)))) + ffn(norm' x); norm' is the first norm again
 * where the layer has no second. A decoder that is not parallel goes llama_forward's way. */
void parallel_forward(const struct decoder *d, const struct backend *k, struct step *s);
#endif
