/* weights.h - tensors by name, checked against the shape an architecture expects.
 *
 * Matrices stay where they are, in the mapping, as views in the file's own format, quantized
 * ones too; small vectors (norms, biases) are widened to float32 into memory this struct
 * owns, and so are the few matrices whose stored order is not ours. Errors are sticky and
 * name the tensor, so that binding is a straight line with one check at its end. */
#ifndef WORKER_MODEL_WEIGHTS_H
#define WORKER_MODEL_WEIGHTS_H
#include "worker/model/backend.h"
#include "worker/model/config.h"
#include "worker/model/prepared.h"
#include "worker/model/tensor_source.h"
#include <stdbool.h>
#include <stdint.h>

#define WEIGHTS_NAME_MAX 512

struct weights {
	const struct tensor_source *source; /* borrowed */
	struct config *quantization; /* MLX's settings, per tensor too; NULL = not quantized so */
	bool headers_only;  /* large tensors are checked but not copied: nobody will compute */
	const char *prefix; /* what checkpoints of the bare model leave out, as "model." */
	struct prepared *prepared; /* borrowed: where made copies are kept; NULL = nowhere */
	struct fault *fault;       /* borrowed; filled once */
	int rc;                    /* 0 or the first error */
	void **owned;              /* [n_owned] allocations the views may point into */
	size_t n_owned, cap_owned;
	size_t n_owned_bytes;
	uint64_t n_parameters; /* bound so far, each once */
	size_t n_bytes;        /* of the tensors bound, as stored */
	size_t n_unread;       /* of all mapped bytes: others stand in for them (weights_pass) */
	const char *dtype;     /* "bfloat16" …, "mixed" when matrices differ; NULL before any */
	char quantized[32];    /* of the matrices: "Q4_0", "4-bit" …; "" = none, "mixed" */
};

void weights_init(struct weights *w, const struct tensor_source *source, struct fault *f);
void weights_release(struct weights *w);
/* Record an error unless there is one already. */
void weights_fail(struct weights *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Owned memory, 64-byte aligned; NULL (error recorded) if it is not there. */
void *weights_alloc(struct weights *w, size_t n, size_t n_bytes);
/* The same on huge pages where there are any: for what every step reads from end to end. */
void *weights_alloc_huge(struct weights *w, size_t n_bytes);
/* From here on another form of m's weights is read: what is mapped for them need not stay in
 * memory. Not for a matrix that is the embedding, too. */
void weights_pass(struct weights *w, const struct matrix *m);
/* Memory for n * n_bytes bytes made out of tensors, 64-byte aligned, to be filled now; or NULL
 * and *ready, what an earlier load filled it with (NULL too: error recorded). The name, a
 * printf format, tells all that decides the bytes apart from the model itself. */
void *weights_room(struct weights *w, size_t n, size_t n_bytes, const void **ready,
	const char *name, ...) __attribute__((format(printf, 5, 6)));

enum with_bias { NO_BIAS, WITH_BIAS };

/* <name>.weight [n_out, n_in] and, if so, <name>.bias [n_out]; name is a printf format.
 * Where MLX quantized it: <name>.scales and .biases beside packed integers. */
struct matrix weights_matrix(struct weights *w, size_t n_out, size_t n_in, enum with_bias bias,
	const char *name, ...) __attribute__((format(printf, 5, 6)));
/* <name>.weight [n, n_out, n_in] as one matrix of n * n_out rows; <name>.bias if there is. */
struct matrix weights_stack(struct weights *w, size_t n, size_t n_out, size_t n_in,
	const char *name, ...) __attribute__((format(printf, 5, 6)));
/* <name>_blocks [dims.., n_in / 32, 16] and <name>_scales [dims.., n_in / 32], U8, as gpt-oss is
 * published: n_out = dims[0] * dims[1] rows of MXFP4. */
struct matrix weights_mxfp4(struct weights *w, size_t n_out, size_t n_in, const size_t dims[2],
	const char *name, ...) __attribute__((format(printf, 5, 6)));
/* Rows [begin, begin + n) of m, bias included: a view. Of a packed one begin is a panel's. */
struct matrix matrix_rows(const struct matrix *m, size_t begin, size_t n);

/* weights_layout.c: matrices stored in another order, put in ours in owned memory. */

/* As weights_matrix, stored as [n_in, n_out] (GPT-2's Conv1D). */
struct matrix weights_matrix_transposed(struct weights *w, size_t n_out, size_t n_in,
	enum with_bias bias, const char *name, ...) __attribute__((format(printf, 5, 6)));
/* A tensor of this whole name and shape [n][n_in][n_columns], and a matrix turned out of it:
 * of block `block`, the columns first, first + step … as its rows. */
struct columns {
	size_t block, first, step;
};
const struct tensor *weights_blocks(struct weights *w, const size_t dims[3], const char *name, ...)
	__attribute__((format(printf, 3, 4)));
struct matrix weights_turn(
	struct weights *w, const struct tensor *blocks, const struct columns *columns);
/* The values first, first + step … of row `block` of rows [n][n_values]. */
const float *weights_comb(
	struct weights *w, const float *rows, size_t n_values, const struct columns *columns);
/* Of n_groups groups of n_parts parts of equally many rows: part `part` of every group
 * (GPT-NeoX keeps q, k and v of a head together). */
struct matrix weights_pick_part(
	struct weights *w, const struct matrix *m, size_t n_groups, size_t n_parts, size_t part);

/* A vector by its whole tensor name, widened. */
const float *weights_vector(struct weights *w, size_t n, const char *name, ...)
	__attribute__((format(printf, 3, 4)));
/* The same of [n_rows, n]. */
const float *weights_table(struct weights *w, size_t n_rows, size_t n, const char *name, ...)
	__attribute__((format(printf, 4, 5)));
/* <name>.weight [n], RMSNorm; LayerNorm with <name>.bias too. */
struct norm_weight weights_rms_norm(struct weights *w, size_t n, float eps, const char *name, ...)
	__attribute__((format(printf, 4, 5)));
struct norm_weight weights_layer_norm(struct weights *w, size_t n, float eps, const char *name, ...)
	__attribute__((format(printf, 4, 5)));
/* Is there a tensor of this whole name? */
bool weights_has(const struct weights *w, const char *name, ...)
	__attribute__((format(printf, 2, 3)));
#endif
