/* arch_llama.h - the decoder block that Llama made common and many models share. */
#ifndef WORKER_MODEL_ARCH_LLAMA_H
#define WORKER_MODEL_ARCH_LLAMA_H
#include "worker/model/arch.h"

/* Everything under Llama's tensor names, every layer dense. */
void llama_bind(struct decoder *d, struct weights *w);
/* Layer i's two norms and its attention. */
void llama_bind_layer(struct decoder *d, struct weights *w, size_t i);
/* Per layer x += [norm] o(attend(rope([norm] qkv([norm] x)))); x += [norm] ffn([norm] x), or
 * experts; then the head. What is in brackets runs where the layer has that norm. */
void llama_forward(const struct decoder *d, const struct backend *k, struct step *s);
#endif
