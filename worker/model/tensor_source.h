/* tensor_source.h - named tensors in files, whatever the file format.
 *
 * A format (safetensors, a sharded folder, GGUF …) checks everything about a tensor before it
 * hands it out: its bytes lie inside the file and are exactly as many as its shape needs. The
 * views borrow from the mapping and live as long as the source. Immutable once open. */
#ifndef WORKER_MODEL_TENSOR_SOURCE_H
#define WORKER_MODEL_TENSOR_SOURCE_H
#include "kernels/dtype.h"
#include "protocol/err.h"
#include <stdbool.h>
#include <stddef.h>

#define TENSOR_DIMS_MAX 8

enum tensor_kind {
	TENSOR_WEIGHT, /* `dtype` says how its numbers lie */
	TENSOR_U8,
	TENSOR_U32,
	TENSOR_OTHER, /* a type nothing here computes with */
};

struct tensor {
	const char *name;
	enum tensor_kind kind;
	enum dtype dtype;       /* TENSOR_WEIGHT only */
	const char *dtype_name; /* as the file calls it, for messages */
	size_t n_dims;
	size_t dims[TENSOR_DIMS_MAX]; /* outermost first; row-major */
	size_t n_values;
	const void *data; /* any alignment */
	size_t n_bytes;
};

struct tensor_source;

struct tensor_source_ops {
	const char *format;
	/* NULL if there is no such tensor. */
	const struct tensor *(*find)(const struct tensor_source *s, const char *name);
	/* All of them in any order, for counting and inspection; NULL past the end. */
	const struct tensor *(*at)(const struct tensor_source *s, size_t i);
	/* A string of the file's own metadata, or NULL. */
	const char *(*metadata)(const struct tensor_source *s, const char *key);
	/* Paths of the files the tensors lie in; NULL past the end. */
	const char *(*file)(const struct tensor_source *s, size_t i);
	void (*close)(struct tensor_source *s);
};

/* The first member of every source's own struct. */
struct tensor_source {
	const struct tensor_source_ops *ops;
	const char *where; /* file or folder, for messages; borrowed from the source */
};

static inline const struct tensor *tensor_find(const struct tensor_source *s, const char *name)
{
	return s->ops->find(s, name);
}

static inline const struct tensor *tensor_at(const struct tensor_source *s, size_t i)
{
	return s->ops->at(s, i);
}

static inline const char *tensor_source_file(const struct tensor_source *s, size_t i)
{
	return s->ops->file(s, i);
}

static inline void tensor_source_close(struct tensor_source *s)
{
	if (s)
		s->ops->close(s);
}
#endif
