/* backend_cpu_mul.c - products of activations and weights, each path row-exact.
 *
 * Packed weights meet rows rounded to int8, and bf16 those rounded to bf16 where that is asked
 * for; rows are rounded once for all products of the same rows. Else
 * prompt rows go through OpenBLAS in panels of one fixed shape, generated and drafted rows
 * through our own kernels, which read the weights once for all of them. Work is split by
 * output columns: never by the depth of a sum. */
#include "worker/model/backend_cpu.h"
#include <assert.h>
#include <string.h>

/* A chunk below this many multiply-adds is not worth handing to another thread. */
#define CHUNK_LEAST ((size_t)1 << 17)
/* A chunk above this many takes longer than others should wait for the processor. */
#define CHUNK_MOST ((size_t)1 << 26)

static bool is_plain(const struct weight *w)
{
	return w->type <= DTYPE_BF16;
}

/* Prompt rows meet quantized weights widened, a block of outputs at a time. */
size_t cpu_multiply_scratch(const struct matrix *m)
{
	size_t panels = gemm_scratch(m->w.n_in), own = weight_scratch(&m->w);

	if (!is_plain(&m->w))
		panels += GEMM_OUTS * m->w.n_in;
	return panels > own ? panels : own;
}

/* One product's rows of one kind. */
struct part {
	const struct product *p;
	bool panels; /* through OpenBLAS */
	size_t row, n_rows;
	size_t first_chunk, n_chunks;
};

struct mul_job {
	struct step *s;
	struct part parts[2 * CPU_PRODUCTS_MAX];
	size_t n_parts, n_chunks;
};

static void multiply_panels(
	const struct kernels *k, const struct weight *w, const struct mul *whole, float *scratch)
{
	float *rows = scratch + gemm_scratch(w->n_in);
	struct mul a = *whole;

	if (is_plain(w)) {
		gemm_panel(k, w->type, whole, scratch);
		return;
	}
	a.w = rows;
	a.w_stride = w->n_in * sizeof *rows;
	a.o_begin = 0;
	for (size_t o = whole->o_begin; o < whole->o_end; o += GEMM_OUTS) {
		a.o_end = whole->o_end - o < GEMM_OUTS ? whole->o_end - o : GEMM_OUTS;
		a.out = whole->out + o;
		for (size_t i = 0; i < a.o_end; i++)
			weight_row(k, w, o + i, rows + i * w->n_in);
		gemm_panel(k, DTYPE_F32, &a, scratch);
	}
}

static void multiply_packed(const struct step *s, const struct matrix *m, const struct mul *whole)
{
	s->k.packed_mul(&(struct packed_mul) {
		.kind = m->packed_kind,
		.w = m->packed,
		.n_out = m->w.n_out,
		.n_in = m->w.n_in,
		.x = s->codes,
		.n_rows = whole->n_rows,
		.o_begin = whole->o_begin,
		.o_end = whole->o_end,
		.out = whole->out,
		.out_stride = whole->out_stride,
	});
}

static void multiply_pairs(const struct step *s, const struct matrix *m, const struct mul *whole)
{
	s->k.mul_pairs(&(struct mul_pairs) {
		.x = s->halves,
		.n_rows = whole->n_rows,
		.w = m->w.data,
		.n_in = whole->n_in,
		.w_stride = m->w.row_bytes,
		.o_begin = whole->o_begin,
		.o_end = whole->o_end,
		.out = whole->out,
		.out_stride = whole->out_stride,
	});
}

/* Tiles [begin, end) of a product's rows to bf16. */
static void halve_tiles(struct step *s, void *arg, size_t begin, size_t end)
{
	const struct product *p = arg;
	size_t n_in = p->matrix->w.n_in;

	for (size_t i = begin; i < end; i++) {
		size_t r = packed_tile_row(p->n_rows, i);
		pairs_round(&s->k, &(struct pairs_round) {
					   .x = p->x + r * p->x_stride,
					   .n_rows = packed_tile_row(p->n_rows, i + 1) - r,
					   .n_in = n_in,
					   .x_stride = p->x_stride,
					   .out = (char *)s->halves + pairs_rows_bytes(r, n_in),
				   });
	}
}

/* Tiles [begin, end) of a product's rows to int8. */
static void round_tiles(struct step *s, void *arg, size_t begin, size_t end)
{
	const struct product *p = arg;
	size_t n_in = p->matrix->w.n_in;

	for (size_t i = begin; i < end; i++) {
		size_t r = packed_tile_row(p->n_rows, i);
		s->k.packed_round(&(struct packed_round) {
			.x = p->x + r * p->x_stride,
			.n_rows = packed_tile_row(p->n_rows, i + 1) - r,
			.n_in = n_in,
			.x_stride = p->x_stride,
			.out = (char *)s->codes + packed_rows_bytes(r, n_in),
		});
	}
}

/* The rows as each kind of product takes them, once for all products of the kind. */
static void round_rows(struct step *s, const struct product *p, size_t n)
{
	const struct product *packed = NULL, *pairs = NULL;

	for (size_t i = n; i-- > 0;) {
		assert(p[i].x == p[0].x || !(p[i].matrix->packed || p[i].matrix->pairs));
		if (p[i].matrix->packed)
			packed = &p[i];
		else if (p[i].matrix->pairs)
			pairs = &p[i];
	}
	if (packed)
		cpu_each_rows(s, round_tiles, (void *)packed, packed_tiles(packed->n_rows),
			PACKED_ROWS * packed->matrix->w.n_in);
	if (pairs)
		cpu_each_rows(s, halve_tiles, (void *)pairs, packed_tiles(pairs->n_rows),
			PACKED_ROWS * pairs->matrix->w.n_in);
}

static void add_bias(const struct kernels *k, const struct part *part, const struct mul *a)
{
	const float *bias = part->p->matrix->bias;

	if (!bias)
		return;
	for (size_t r = 0; r < a->n_rows; r++) {
		float *out = a->out + r * a->out_stride + a->o_begin;
		k->add(out, out, bias + a->o_begin, a->o_end - a->o_begin);
	}
}

static void run_part(struct step *s, const struct part *part, size_t chunk, size_t thread)
{
	const struct product *p = part->p;
	const struct matrix *m = p->matrix;
	size_t n_units = (m->w.n_out + GEMM_OUTS - 1) / GEMM_OUTS;
	struct mul a = {
		.x = p->x + part->row * p->x_stride,
		.n_rows = part->n_rows,
		.x_stride = p->x_stride,
		.w = m->w.data,
		.n_in = m->w.n_in,
		.w_stride = m->w.row_bytes,
		.out = p->out + part->row * p->out_stride,
		.out_stride = p->out_stride,
	};

	pool_range(n_units, part->n_chunks, chunk, &a.o_begin, &a.o_end);
	a.o_begin *= GEMM_OUTS;
	a.o_end *= GEMM_OUTS;
	if (a.o_end > m->w.n_out)
		a.o_end = m->w.n_out;
	if (m->packed)
		multiply_packed(s, m, &a);
	else if (m->pairs)
		multiply_pairs(s, m, &a);
	else if (part->panels)
		multiply_panels(&s->k, &m->w, &a, cpu_scratch(s, thread));
	else
		weight_mul(&s->k, &m->w, &a, cpu_scratch(s, thread));
	add_bias(&s->k, part, &a);
}

static void run_chunk(void *arg, size_t chunk, size_t thread)
{
	struct mul_job *j = arg;

	for (size_t i = 0; i < j->n_parts; i++) {
		const struct part *part = &j->parts[i];
		if (chunk - part->first_chunk < part->n_chunks)
			run_part(j->s, part, chunk - part->first_chunk, thread);
	}
}

static void add_part(struct mul_job *j, struct part part)
{
	const struct matrix *m = part.p->matrix;
	size_t n_units = (m->w.n_out + GEMM_OUTS - 1) / GEMM_OUTS;
	size_t work = part.n_rows * m->w.n_in * GEMM_OUTS;

	if (part.n_rows == 0 || m->w.n_out == 0)
		return;
	part.first_chunk = j->n_chunks;
	part.n_chunks =
		pool_chunks(j->s->pool, n_units, CHUNK_LEAST / work + 1, CHUNK_MOST / work + 1);
	j->n_chunks += part.n_chunks;
	j->parts[j->n_parts++] = part;
}

static const struct panel_shape *find_shape(const struct step *s, size_t n_in, size_t n_outs)
{
	for (size_t i = 0; i < s->n_shapes; i++)
		if (s->shapes[i].n_in == n_in && s->shapes[i].n_outs == n_outs)
			return &s->shapes[i];
	return NULL;
}

static void try_shape(struct step *s, size_t n_in, size_t n_outs)
{
	if (find_shape(s, n_in, n_outs) || s->n_shapes == CPU_SHAPES_MAX)
		return;
	bool exact = gemm_is_row_exact(n_in, n_outs, cpu_scratch(s, 0));
	s->shapes[s->n_shapes++] = (struct panel_shape) { n_in, n_outs, exact };
}

void cpu_try_panels(struct step *s, const struct matrix *m)
{
	if (m->packed || m->pairs)
		return;
	if (m->w.data && m->w.n_out >= GEMM_OUTS)
		try_shape(s, m->w.n_in, GEMM_OUTS);
	if (m->w.data && m->w.n_out % GEMM_OUTS > 0)
		try_shape(s, m->w.n_in, m->w.n_out % GEMM_OUTS);
}

bool cpu_takes_panels(const struct step *s, const struct matrix *m)
{
	size_t rest = m->w.n_out % GEMM_OUTS;
	const struct panel_shape *whole = find_shape(s, m->w.n_in, GEMM_OUTS);
	const struct panel_shape *last = find_shape(s, m->w.n_in, rest);

	return (m->w.n_out < GEMM_OUTS || (whole && whole->exact)) &&
	       (rest == 0 || (last && last->exact));
}

void cpu_multiply(struct step *s, const struct product *p, size_t n)
{
	struct mul_job job = { .s = s };

	assert(n <= CPU_PRODUCTS_MAX);
	round_rows(s, p, n);
	for (size_t i = 0; i < n; i++) {
		if (p[i].matrix->packed || p[i].matrix->pairs) {
			add_part(&job, (struct part) { &p[i], false, 0, p[i].n_rows, 0, 0 });
			continue;
		}
		bool panels = cpu_takes_panels(s, p[i].matrix);
		size_t n_own = p[i].n_rows - p[i].n_prefill;
		add_part(&job, (struct part) { &p[i], panels, 0, p[i].n_prefill, 0, 0 });
		add_part(&job, (struct part) { &p[i], false, p[i].n_prefill, n_own, 0, 0 });
	}
	if (job.n_chunks == 1)
		run_chunk(&job, 0, 0);
	else
		pool_run(s->pool, run_chunk, &job, job.n_chunks);
}
