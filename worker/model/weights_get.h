/* weights_get.h - what the weights_*.c files share: looking a tensor up and noting it. */
#ifndef WORKER_MODEL_WEIGHTS_GET_H
#define WORKER_MODEL_WEIGHTS_GET_H
#include "worker/model/weights.h"
#include <stdarg.h>
#include <stdio.h>

/* A name made of the format and the arguments after it, in a buffer of the caller's. */
#define FORMAT_NAME(buffer, fmt)                           \
	do {                                               \
		va_list ap;                                \
		va_start(ap, fmt);                         \
		vsnprintf(buffer, sizeof buffer, fmt, ap); \
		va_end(ap);                                \
	} while (0)

struct shape {
	size_t dims[4], n_dims;
};

/* The tensor of that name whatever prefix its checkpoint uses, or NULL. */
const struct tensor *weights_find(const struct weights *w, const char *name);
/* It, of this kind and shape; NULL (error recorded) otherwise. */
const struct tensor *weights_get(
	struct weights *w, const char *name, enum tensor_kind kind, const struct shape *shape);
/* A tensor widened to float32. */
const float *weights_widen(struct weights *w, const char *name, const struct shape *shape);
/* <base>.bias of m's rows, if wanted. */
void weights_add_bias(struct weights *w, struct matrix *m, enum with_bias bias, const char *base);
/* <base>.weight of a plain or block-quantized type; shape's last dimension is n_in. */
struct matrix weights_stored(struct weights *w, const char *base, const struct shape *shape);
/* A matrix of this type is in use: what model_info reports. */
void weights_note(struct weights *w, const struct weight *m);
#endif
