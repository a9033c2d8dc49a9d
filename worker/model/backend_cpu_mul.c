/* backend_cpu_mul.c - products of activations and weights, each path row-exact.
 *
 * Packed weights meet rows rounded to int8, and bf16 those rounded to bf16 where that is asked
 * for (backend_cpu_rows.c). Else prompt rows go through OpenBLAS in panels of one fixed shape,
 * generated and drafted rows through our own kernels, which read the weights once for all of
 * them. Work is split by output columns and by blocks of rows: never by the depth of a sum. */
#include "protocol/mem.h"
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

struct part {
	const struct product *p;
	size_t first_chunk, n_chunks;
};

/* The parts' chunks of one block of rows, then those of the next. */
struct mul_job {
	struct step *s;
	struct rows in;
	size_t n_blocks;
	struct part parts[CPU_PRODUCTS_MAX];
	size_t n_parts, n_chunks; /* of one block */
};

/* What a chunk multiplies. */
struct block {
	struct step *s;
	struct rows in;
	size_t first, thread; /* its first row's number; who computes */
};

/* Multiply-adds of GEMM_OUTS outputs. */
static size_t unit_work(const struct product *p, size_t n_rows)
{
	const size_t n_matrices = p->ffn && p->ffn->gate.w.data ? 2 : 1;

	return n_rows * p->matrix->w.n_in * GEMM_OUTS * n_matrices;
}

/* As pool_chunks cuts, a chunk is at most CHUNK_MOST and two units of work. */
size_t cpu_multiply_cells(size_t dim, size_t ffn_dim, size_t max_rows)
{
	size_t all, most;

	if (!mem_mul(max_rows, (size_t)2 * GEMM_OUTS, &most) ||
		!mem_add(most, CHUNK_MOST / dim + 15, &most) || !mem_mul(max_rows, ffn_dim, &all) ||
		!mem_add(all, 15, &all))
		return SIZE_MAX;
	return (all < most ? all : most) & ~(size_t)15;
}

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

static void multiply_packed(const struct block *b, const struct matrix *m, const struct mul *whole)
{
	b->s->k.packed_mul(&(struct packed_mul) {
		.kind = m->packed_kind,
		.w = m->packed,
		.n_out = m->w.n_out,
		.n_in = m->w.n_in,
		.x = (const char *)b->s->codes + packed_rows_bytes(b->first, m->w.n_in),
		.n_rows = whole->n_rows,
		.o_begin = whole->o_begin,
		.o_end = whole->o_end,
		.out = whole->out,
		.out_stride = whole->out_stride,
	});
}

static void multiply_pairs(const struct block *b, const struct matrix *m, const struct mul *whole)
{
	b->s->k.mul_pairs(&(struct mul_pairs) {
		.x = (const char *)b->s->halves + pairs_rows_bytes(b->first, m->w.n_in),
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

static void add_bias(const struct kernels *k, const float *bias, const struct mul *a)
{
	if (!bias)
		return;
	for (size_t r = 0; r < a->n_rows; r++) {
		float *out = a->out + r * a->out_stride + a->o_begin;
		k->add(out, out, bias + a->o_begin, a->o_end - a->o_begin);
	}
}

/* Prompt rows and others each by their own path, whichever travel together. */
static void multiply_exact(const struct block *b, const struct matrix *m, const struct mul *whole)
{
	const struct step *s = b->s;
	const size_t n = cpu_takes_panels(s, m) ? b->in.n_prefill : 0;
	struct mul panels = *whole, own = *whole;

	panels.n_rows = n;
	own.n_rows -= n;
	own.x += n * whole->x_stride;
	own.out += n * whole->out_stride;
	if (panels.n_rows > 0)
		multiply_panels(&s->k, &m->w, &panels, cpu_scratch(b->s, b->thread));
	if (own.n_rows > 0)
		weight_mul(&s->k, &m->w, &own, cpu_scratch(b->s, b->thread));
}

/* Outputs [o_begin, o_end) of m to out, out_stride apart. */
static void multiply(const struct block *b, const struct matrix *m, const struct mul *where)
{
	struct mul a = *where;

	a.x = b->in.x;
	a.x_stride = a.n_in = m->w.n_in;
	a.n_rows = b->in.n_rows;
	a.w = m->w.data;
	a.w_stride = m->w.row_bytes;
	if (m->packed)
		multiply_packed(b, m, &a);
	else if (m->pairs)
		multiply_pairs(b, m, &a);
	else
		multiply_exact(b, m, &a);
	add_bias(&b->s->k, m->bias, &a);
}

/* Outputs of gate and up into the thread's own cells, and from there, activated, to where they
 * belong: an activation meets what has not left the cache. */
static void multiply_ffn(const struct block *b, const struct product *p, const struct mul *where)
{
	const struct step *s = b->s;
	const size_t n = where->o_end - where->o_begin;
	float *ups = s->cells + 2 * b->thread * s->cells_floats, *gates = ups + s->cells_floats;
	const struct matrix up = matrix_rows(&p->ffn->up, where->o_begin, n);

	assert(n * b->in.n_rows <= s->cells_floats);
	multiply(b, &up, &(struct mul) { .o_end = n, .out = ups, .out_stride = n });
	if (p->ffn->gate.w.data) {
		const struct matrix gate = matrix_rows(&p->ffn->gate, where->o_begin, n);
		multiply(b, &gate, &(struct mul) { .o_end = n, .out = gates, .out_stride = n });
	}
	for (size_t r = 0; r < b->in.n_rows; r++)
		cpu_activate(&s->k, p->ffn, where->out + r * where->out_stride + where->o_begin,
			gates + r * n, ups + r * n, n);
}

static void run_part(const struct block *b, const struct part *part, size_t chunk)
{
	const struct product *p = part->p;
	const size_t n_out = p->matrix->w.n_out, n_units = (n_out + GEMM_OUTS - 1) / GEMM_OUTS;
	struct mul where = { .out = p->out + b->first * p->out_stride,
		.out_stride = p->out_stride };

	pool_range(n_units, part->n_chunks, chunk, &where.o_begin, &where.o_end);
	where.o_begin *= GEMM_OUTS;
	where.o_end *= GEMM_OUTS;
	if (where.o_end > n_out)
		where.o_end = n_out;
	if (p->ffn)
		multiply_ffn(b, p, &where);
	else
		multiply(b, p->matrix, &where);
}

static void run_chunk(void *arg, size_t chunk, size_t thread)
{
	const struct mul_job *j = arg;
	const size_t mine = chunk % j->n_chunks;
	struct block b = { .s = j->s, .thread = thread };

	b.in = cpu_row_block(&j->in, j->n_blocks, chunk / j->n_chunks, &b.first);
	for (size_t i = 0; i < j->n_parts; i++) {
		const struct part *part = &j->parts[i];
		if (mine - part->first_chunk < part->n_chunks)
			run_part(&b, part, mine - part->first_chunk);
	}
}

static void add_part(struct mul_job *j, const struct product *p)
{
	struct part *part = &j->parts[j->n_parts];
	size_t n_units = (p->matrix->w.n_out + GEMM_OUTS - 1) / GEMM_OUTS;
	size_t work = unit_work(p, (j->in.n_rows - 1) / j->n_blocks + 1);

	*part = (struct part) { p, j->n_chunks,
		pool_chunks(j->s->pool, n_units, CHUNK_LEAST / work + 1, CHUNK_MOST / work + 1) };
	j->n_chunks += part->n_chunks;
	j->n_parts++;
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

void cpu_multiply(struct step *s, const struct rows *in, const struct product *p, size_t n)
{
	struct mul_job job = { .s = s, .in = *in };
	const struct matrix *met[2 * CPU_PRODUCTS_MAX] = { NULL };
	size_t n_met = 0;

	assert(n <= CPU_PRODUCTS_MAX);
	if (in->n_rows == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		met[n_met++] = p[i].matrix;
		if (p[i].ffn && p[i].ffn->gate.w.data)
			met[n_met++] = &p[i].ffn->gate;
	}
	cpu_prepare(s, &job.in, met, n_met);
	job.n_blocks = cpu_row_blocks(s, in);
	for (size_t i = 0; i < n; i++)
		add_part(&job, &p[i]);
	if (job.n_chunks * job.n_blocks == 1)
		run_chunk(&job, 0, 0);
	else
		pool_run(s->pool, run_chunk, &job, job.n_chunks * job.n_blocks);
}
