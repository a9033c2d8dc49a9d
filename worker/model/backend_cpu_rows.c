/* backend_cpu_rows.c - rows of activations, shared out over threads: norms, and the rows as
 * products take them.
 *
 * A row is normalised and rounded in one go, while it is in the cache, once for all matrices
 * that meet it. */
#include "worker/model/backend_cpu.h"
#include <assert.h>

/* Work below this many floats is done at once: waking a thread costs more. */
#define SERIAL_FLOATS 16384

struct rows_job {
	struct step *s;
	cpu_rows_fn *fn;
	void *arg;
	size_t n_rows, n_chunks;
};

static void run_rows(void *arg, size_t chunk, size_t thread)
{
	struct rows_job *j = arg;
	size_t begin, end;

	(void)thread;
	pool_range(j->n_rows, j->n_chunks, chunk, &begin, &end);
	j->fn(j->s, j->arg, begin, end);
}

void cpu_each_rows(struct step *s, cpu_rows_fn *fn, void *arg, size_t n_rows, size_t n_floats)
{
	size_t least = SERIAL_FLOATS / (n_floats + 1) + 1;
	struct rows_job job = { s, fn, arg, n_rows, 1 };

	if (n_rows <= least) {
		fn(s, arg, 0, n_rows);
		return;
	}
	job.n_chunks = pool_chunks(s->pool, n_rows, least, SIZE_MAX);
	pool_run(s->pool, run_rows, &job, job.n_chunks);
}

void cpu_norm_rows(struct step *s, const struct norm_weight *w, const float *x, float *out,
	size_t n_rows, size_t width)
{
	struct norm a = {
		.x = x,
		.n_rows = n_rows * (width / w->n),
		.n = w->n,
		.x_stride = w->n,
		.out_stride = w->n,
		.weight = w->weight,
		.bias = w->bias,
		.eps = w->eps,
		.offset = w->offset,
	};

	assert(width % w->n == 0);
	a.out = out;
	switch (w->kind) {
	case NORM_RMS: s->k.rmsnorm(&a); break;
	case NORM_LAYER: s->k.layernorm(&a); break;
	}
}

struct norm_job {
	const struct norm_weight *w;
	enum act io;
};

static void norm_act(struct step *s, void *arg, size_t begin, size_t end)
{
	const struct norm_job *j = arg;
	size_t width = s->widths[j->io];
	float *x = s->acts[j->io] + begin * width;

	cpu_norm_rows(s, j->w, x, x, end - begin, width);
}

void cpu_norm(struct step *s, enum act io, const struct norm_weight *w)
{
	struct norm_job job = { w, io };

	cpu_each_rows(s, norm_act, &job, s->n_rows, s->widths[io]);
}

/* Fewer rows than this read more weights than they save. */
#define BLOCK_ROWS ((size_t)64)

size_t cpu_row_blocks(const struct step *s, const struct rows *rows)
{
	const size_t n_threads = pool_threads(s->pool), most = rows->n_rows / BLOCK_ROWS;

	return most == 0 ? 1 : most < n_threads ? most : n_threads;
}

struct rows cpu_row_block(const struct rows *rows, size_t n_blocks, size_t block, size_t *first)
{
	struct rows part = *rows;
	size_t end;

	pool_range(rows->n_rows, n_blocks, block, first, &end);
	part.x += *first * rows->width;
	part.n_rows = end - *first;
	part.n_prefill = rows->n_prefill > *first ? rows->n_prefill - *first : 0;
	if (part.n_prefill > part.n_rows)
		part.n_prefill = part.n_rows;
	return part;
}

struct prepare_job {
	const struct rows *rows;
	size_t n_blocks, n_tiles; /* of a block at most */
	bool codes, halves;       /* which roundings somebody asks for */
};

/* n rows from row r on; a tile, if they are rounded. */
static void prepare_rows(struct step *s, const struct prepare_job *j, size_t r, size_t n)
{
	const struct rows *in = j->rows;
	const size_t n_in = in->width;
	const float *x = in->x + r * n_in;

	if (in->norm) {
		cpu_norm_rows(s, in->norm, x, s->normed + r * n_in, n, n_in);
		x = s->normed + r * n_in;
	}
	if (j->codes)
		s->k.packed_round(&(struct packed_round) {
			x, n, n_in, n_in, (char *)s->codes + packed_rows_bytes(r, n_in) });
	if (j->halves)
		pairs_round(&s->k, &(struct pairs_round) { x, n, n_in, n_in,
					   (char *)s->halves + pairs_rows_bytes(r, n_in) });
}

/* Tiles [begin, end) of all blocks, as if each had n_tiles. */
static void prepare_tiles(struct step *s, void *arg, size_t begin, size_t end)
{
	const struct prepare_job *j = arg;

	for (size_t i = begin; i < end; i++) {
		const size_t tile = i % j->n_tiles;
		size_t first;
		struct rows in = cpu_row_block(j->rows, j->n_blocks, i / j->n_tiles, &first);
		if (tile >= packed_tiles(in.n_rows))
			continue;
		const size_t r = packed_tile_row(in.n_rows, tile);
		prepare_rows(s, j, first + r, packed_tile_row(in.n_rows, tile + 1) - r);
	}
}

void cpu_prepare(struct step *s, struct rows *rows, const struct matrix *const *met, size_t n)
{
	struct prepare_job job = { .rows = rows, .n_blocks = cpu_row_blocks(s, rows) };
	size_t first;

	for (size_t i = 0; i < n; i++) {
		assert(met[i]->w.n_in == rows->width);
		job.codes |= met[i]->packed != NULL;
		job.halves |= met[i]->pairs && !met[i]->packed;
	}
	if (rows->norm && rows->norm->n == 0)
		rows->norm = NULL;
	if (!rows->norm && !job.codes && !job.halves)
		return;
	job.n_tiles = packed_tiles(cpu_row_block(rows, job.n_blocks, 0, &first).n_rows);
	cpu_each_rows(
		s, prepare_tiles, &job, job.n_blocks * job.n_tiles, PACKED_ROWS * rows->width);
	if (rows->norm)
		rows->x = s->normed;
	rows->norm = NULL;
}
