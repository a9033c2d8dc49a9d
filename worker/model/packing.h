/* packing.h - how a bound decoder's matrices are multiplied: quantized ones in panels for int8
 * products, those of bf16 as they are.
 *
 * Where the CPU has no int8 kernels, or a format no packed kind, a matrix stays as it is and
 * is multiplied exactly. The stored weights stay mapped: embeddings are read from them. */
#ifndef WORKER_MODEL_PACKING_H
#define WORKER_MODEL_PACKING_H
#include "worker/model/decoder.h"
#include "worker/model/model.h"

struct pool;

struct packing_options {
	enum activations activations;
	bool pairs; /* where the CPU has an instruction for it, bf16 meets bf16 */
	size_t n_threads;
	/* Called after each matrix with the share that is done; negative to stop. */
	int (*progress)(void *arg, double done, struct fault *f);
	void *arg;
};

/* 0, ERR_NOMEM, or what progress returned. Panels are owned by w or mapped from the cache. */
int packing_run(
	struct decoder *d, struct weights *w, const struct packing_options *opt, struct fault *f);
/* Threads to make n_bytes of weights with, for as long as that takes. Owned: pool_free; NULL when
 * memory is short. */
struct pool *packing_pool(size_t n_threads, size_t n_bytes);
#endif
