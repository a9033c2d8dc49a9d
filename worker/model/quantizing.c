/* quantizing.c - weights stored as floats to int8 or int4, when they are loaded. */
#include "worker/model/quantizing.h"
#include "kernels/pool.h"
#include "kernels/quant.h"
#include "protocol/mem.h"
#include "worker/model/packing.h"
#include <stdio.h>
#include <stdlib.h>

struct quantizing {
	const struct quantizing_options *opt;
	struct fault *f;
	struct weights *w;
	const void *embedding;
	bool is_mapped; /* the blocks are */
	struct kernels k;
	enum dtype type;
	const uint8_t *blocks;
	uint8_t *room; /* the same, to be filled; NULL: an earlier load did */
	struct pool *pool;
	float *rows; /* [threads][widest] */
	size_t widest;
	size_t n_bytes, n_done; /* of blocks, of all matrices and so far */
	int rc;
};

const char *quantize_name(enum quantize to)
{
	switch (to) {
	case QUANTIZE_NONE: return "none";
	case QUANTIZE_INT8: return "int8";
	case QUANTIZE_INT4: return "int4";
	}
	return "none";
}

/* Bytes of a row's blocks; 0 where the matrix stays as it is. */
static size_t row_bytes(const struct quantizing *q, const struct matrix *m)
{
	return m->w.data && m->w.type <= DTYPE_BF16 ? quant_row_bytes(q->type, m->w.n_in) : 0;
}

static void measure(void *arg, struct matrix *m)
{
	struct quantizing *q = arg;
	size_t n = row_bytes(q, m);

	/* Less than what is mapped already: no sum of these overflows. */
	q->n_bytes += n * m->w.n_out;
	if (n > 0 && m->w.n_in > q->widest)
		q->widest = m->w.n_in;
}

/* In a chunk: some 0.1 ms, after which others may have the processor. */
#define ROWS_MOST 16

/* A matrix's rows, shared out to all threads. */
struct rows {
	const struct quantizing *q;
	const struct weight *w;
	uint8_t *out;
	size_t row_bytes, n_chunks;
};

static void quantize_chunk(void *arg, size_t chunk, size_t thread)
{
	const struct rows *r = arg;
	float *row = r->q->rows + thread * r->q->widest;
	size_t begin, end;

	pool_range(r->w->n_out, r->n_chunks, chunk, &begin, &end);
	for (size_t o = begin; o < end; o++) {
		weight_row(&r->q->k, r->w, o, row);
		quantize_row(r->q->type, row, r->w->n_in, r->out + o * r->row_bytes);
	}
}

static void quantize(void *arg, struct matrix *m)
{
	struct quantizing *q = arg;
	size_t n = row_bytes(q, m);
	struct rows r = { q, &m->w, NULL, n, 0 };

	if (n == 0 || q->rc < 0)
		return;
	if (q->room) {
		r.out = q->room + q->n_done;
		r.n_chunks = pool_chunks(q->pool, m->w.n_out, 1, ROWS_MOST);
		pool_run(q->pool, quantize_chunk, &r, r.n_chunks);
	}
	if (m->w.data != q->embedding)
		weights_pass(q->w, m);
	m->w.type = q->type;
	m->w.data = q->blocks + q->n_done;
	m->w.row_bytes = n;
	m->is_mapped = q->is_mapped;
	q->n_done += n * m->w.n_out;
	q->rc = q->opt->progress(q->opt->arg, (double)q->n_done / (double)q->n_bytes, q->f);
}

int quantizing_run(
	struct decoder *d, struct weights *w, const struct quantizing_options *opt, struct fault *f)
{
	const char *name = quantize_name(opt->to);
	struct quantizing q = { .opt = opt,
		.f = f,
		.w = w,
		.embedding = d->embedding.tokens.w.data,
		.type = opt->to == QUANTIZE_INT8 ? DTYPE_Q8_0 : DTYPE_Q4_0 };
	const size_t n_owned = w->n_owned;
	const void *ready;

	if (w->quantized[0])
		return fault_set(f, ERR_MODEL_LOAD,
			"quantization \"%s\": the weights are quantized already (%s); leave it "
			"\"none\"",
			name, w->quantized);
	decoder_each_matrix(d, measure, &q);
	if (q.n_bytes == 0)
		return fault_set(f, ERR_MODEL_LOAD,
			"quantization \"%s\": no matrix has rows of whole blocks of 32", name);
	w->fault = f;
	q.room = weights_room(w, q.n_bytes, 1, &ready, "blocks of %s", name);
	w->fault = NULL;
	if (!q.room && !ready)
		return w->rc;
	q.blocks = q.room ? q.room : ready;
	q.is_mapped = w->n_owned == n_owned;
	kernels_select(&q.k, KERNELS_SCALAR); /* widening is exact on all of them */
	q.pool = packing_pool(opt->n_threads, q.room ? q.n_bytes : 0);
	if (!q.pool)
		return fault_set(f, ERR_NOMEM, "no memory to quantize the weights");
	q.rows = xcalloc(pool_threads(q.pool) * q.widest, sizeof *q.rows);
	decoder_each_matrix(d, quantize, &q);
	free(q.rows);
	pool_free(q.pool);
	snprintf(w->quantized, sizeof w->quantized, "%s", name);
	return q.rc;
}
