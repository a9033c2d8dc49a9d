/* backend_cpu.h - what the files of the CPU backend share: one step's rows and scratch.
 *
 * Rows are kept with the prefill rows first, so that either multiply path sees one run of
 * rows; nothing depends on the order otherwise. All memory is laid out by step_new. */
#ifndef WORKER_MODEL_BACKEND_CPU_H
#define WORKER_MODEL_BACKEND_CPU_H
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/pairs.h"
#include "kernels/pool.h"
#include "worker/model/decoder.h"
#include "worker/model/model.h"

#define CPU_SHAPES_MAX   32
#define CPU_PRODUCTS_MAX 4
#define CPU_PIECE_ROWS   32 /* query rows of one attention task */

struct step_row {
	int32_t token, pos;
	struct kv_seq *seq;
	int32_t wanted; /* row of the logits, or -1 */
	float *hidden;  /* as in struct batch_row */
};

/* Consecutive rows of one sequence: the unit attention is split into. */
struct piece {
	size_t begin, n_rows;
};

/* A shape of OpenBLAS call, and whether it was seen to be row-exact on this machine. */
struct panel_shape {
	size_t n_in, n_outs;
	bool exact;
};

struct step {
	const struct decoder *d;
	struct pool *pool;
	struct kernels k;
	size_t max_rows;
	size_t n_rows, n_prefill, n_wanted;
	struct step_row *rows; /* [max_rows] */
	struct piece *pieces;  /* [max_rows] */
	size_t n_pieces;
	float *logits;

	float *acts[ACT_COUNT]; /* [max_rows][width] */
	size_t widths[ACT_COUNT];
	float *normed; /* [max_rows][dim], what a norm makes of rows that matrices meet */
	float *hidden; /* [max_rows][widest FFN] */
	float *cells;  /* [n_threads][2][cells_floats], gate and up of a chunk of an FFN */
	size_t cells_floats;
	float *gathered;      /* [max_rows][dim], rows picked out */
	float *expert_out;    /* [max_rows][dim] */
	float *router;        /* [max_rows][n_experts] */
	int32_t *picks;       /* [max_rows][n_experts_used] expert ids */
	float *pick_weights;  /* [max_rows][n_experts_used] */
	int32_t *expert_rows; /* [max_rows] */
	float *expert_scales; /* [max_rows] */
	float *cos, *sin;     /* [n_ropes][max_rows][rope_half] */
	size_t rope_half;

	void *codes; /* activations of one product in int8 (kernels/packed.h), or NULL */
	size_t codes_width;
	void *halves; /* … to bf16 (kernels/pairs.h), or NULL */
	size_t halves_width;
	float *scratch; /* [n_threads][scratch_floats] */
	size_t scratch_floats;
	const void **blocks; /* [n_threads][2][max_blocks] */
	size_t max_blocks;
	float *states; /* [n_kv_heads][max_spans] of a lone row (kernels/attention.h), or NULL */
	size_t max_spans;
	struct panel_shape shapes[CPU_SHAPES_MAX];
	size_t n_shapes;
	void *arena; /* owns all of the above */
	size_t arena_bytes;
};

/* Rows that matrices meet, the first n_prefill of them prompt rows. Many are cut into blocks, one
 * for each thread if they suffice, so that what a thread makes of its rows is still in its cache
 * when it goes on with them; rounded rows lie in tiles of their block. */
struct rows {
	const float *x; /* [n_rows][width] */
	size_t width, n_rows, n_prefill;
	const struct norm_weight *norm; /* of x, first; NULL or n = 0: none */
};

/* How many blocks rows are cut into: 1..n_threads. */
size_t cpu_row_blocks(const struct step *s, const struct rows *rows);
/* Block `block` of n_blocks, a view, and in *first the number of its first row. */
struct rows cpu_row_block(const struct rows *rows, size_t n_blocks, size_t block, size_t *first);

/* out[r] = W x[r] + bias; with an ffn, whose up W is, act(gate x[r]) * up x[r]. */
struct product {
	const struct matrix *matrix;
	const struct ffn *ffn; /* or NULL */
	float *out;            /* [n_rows][out_stride] */
	size_t out_stride;
};

/* Every matrix a step multiplies with but the head. */
void cpu_each_matrix(struct step *s, void (*fn)(struct step *s, const struct matrix *m));
struct step *cpu_step_new(
	const struct decoder *d, size_t max_rows, struct pool *pool, struct fault *f);
void cpu_step_free(struct step *s);
void cpu_touch(struct step *s);

/* At most CPU_PRODUCTS_MAX products of the same rows as one job of the pool. */
void cpu_multiply(struct step *s, const struct rows *in, const struct product *p, size_t n);
/* Floats of scratch a thread needs for products with this matrix. */
size_t cpu_multiply_scratch(const struct matrix *m);
/* May prompt rows meet this matrix in OpenBLAS? Tried once per shape by cpu_try_panels. */
bool cpu_takes_panels(const struct step *s, const struct matrix *m);
void cpu_try_panels(struct step *s, const struct matrix *m);
/* The most floats a chunk of an FFN of dim inputs and ffn_dim outputs gives, in whole registers. */
size_t cpu_multiply_cells(size_t dim, size_t ffn_dim, size_t max_rows);

void cpu_attend(struct step *s, const struct attention *a);
size_t cpu_attend_scratch(const struct decoder *d);
/* Most spans of a lone row that are shared out; 0: its heads are enough for all threads. */
size_t cpu_attend_spans(const struct decoder *d, const struct pool *pool);

void cpu_ffn(struct step *s, enum act out, struct input in, const struct ffn *w);
void cpu_experts(struct step *s, enum act out, struct input in, const struct experts *w);
/* out = act(gate) * up, or act(up) of an FFN without a gate; n cells each, out may be up. */
void cpu_activate(const struct kernels *k, const struct ffn *w, float *out, const float *gate,
	const float *up, size_t n);

/* Run fn over rows [begin, end) of the step, on several threads if n_floats a row make that
 * worth it. */
typedef void cpu_rows_fn(struct step *s, void *arg, size_t begin, size_t end);
void cpu_each_rows(struct step *s, cpu_rows_fn *fn, void *arg, size_t n_rows, size_t n_floats);
float *cpu_scratch(struct step *s, size_t thread);

/* io = norm(io), for all rows of the step. */
void cpu_norm(struct step *s, enum act io, const struct norm_weight *w);
/* x[n_rows][width] → out likewise, which may be x; every w->n elements by themselves. */
void cpu_norm_rows(struct step *s, const struct norm_weight *w, const float *x, float *out,
	size_t n_rows, size_t width);
/* The step's rows of an activation: a view. */
struct rows cpu_rows(const struct step *s, struct input in);
/* *rows normalised (x is then the step's own memory, valid until the next rows are prepared, and
 * norm NULL), and rounded as the n matrices that will meet them take them. */
void cpu_prepare(struct step *s, struct rows *rows, const struct matrix *const *met, size_t n);
#endif
