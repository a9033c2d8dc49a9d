/* quantizing.h - weights stored as floats to int8 or int4, when they are loaded.
 *
 * Every matrix that decoder_each_matrix() names becomes blocks of 32 elements and a scale, Q8_0 or
 * Q4_0; embeddings, routers, norms and biases stay as they are stored. From then on it is a matrix
 * of that format like one out of a file, and is packed like one. */
#ifndef WORKER_MODEL_QUANTIZING_H
#define WORKER_MODEL_QUANTIZING_H
#include "worker/model/decoder.h"
#include "worker/model/model.h"

struct quantizing_options {
	enum quantize to; /* not QUANTIZE_NONE */
	size_t n_threads;
	/* As in struct packing_options. */
	int (*progress)(void *arg, double done, struct fault *f);
	void *arg;
};

/* "int8", "int4"; "none". */
const char *quantize_name(enum quantize to);
/* 0, ERR_NOMEM, what progress returned, or ERR_MODEL_LOAD where the weights are quantized already
 * or no row divides into blocks. The blocks are owned by w or mapped from the cache. */
int quantizing_run(struct decoder *d, struct weights *w, const struct quantizing_options *opt,
	struct fault *f);
#endif
