/* arch_qwen.h - what the Qwen generations share. */
#ifndef WORKER_MODEL_ARCH_QWEN_H
#define WORKER_MODEL_ARCH_QWEN_H
#include "worker/model/arch_llama.h"

/* use_sliding_window, sliding_window and max_window_layers: layers from that one on slide. */
void qwen_configure_windows(struct decoder *d, struct config *c);
/* Llama's norms and attention, with a norm on every head's query and key. */
void qwen3_bind_layer(struct decoder *d, struct weights *w, size_t i);
#endif
