/* sparse_model.h - a model.safetensors of any size of which only the header is written: the
 * rest is a hole that reads as zeros, if anyone reads it. */
#ifndef TESTS_WORKER_SPARSE_MODEL_H
#define TESTS_WORKER_SPARSE_MODEL_H
#include "protocol/buf.h"

struct sparse_model {
	struct buf header;
	uint64_t n_bytes; /* of tensors so far */
};

/* F16 of [rows][n], or [n] when rows is 0. */
void sparse_add(struct sparse_model *m, const char *name, size_t rows, size_t n);
/* Write folder/model.safetensors in the place of any link there; releases m's header. */
void sparse_write(struct sparse_model *m, const char *folder);
/* folder/name with this text, likewise. */
void sparse_put(const char *folder, const char *name, const char *text);
#endif
