/* backend_cpu_step.c - the CPU backend's memory: one arena per context, laid out once. */
#include "kernels/attention.h"
#include "protocol/mem.h"
#include "worker/model/backend_cpu.h"
#include "worker/model/huge.h"
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
/* From here on a product writes rows that lie pages apart, and more of them than the processor
 * keeps addresses of; below, small pages leave what no prompt has needed yet untouched. */
#define HUGE_LEAST ((size_t)16 << 20)

/* Two passes over the same list: the first, without memory, adds up what the second hands
 * out. A size that overflows turns into SIZE_MAX and fails the allocation. */
struct arena {
	uint8_t *base; /* NULL while measuring */
	size_t n_bytes;
	bool overflow;
};

static void *take(struct arena *a, size_t n, size_t m, size_t n_bytes)
{
	size_t total, at = a->n_bytes;

	if (!mem_mul(n, m, &total) || !mem_mul(total, n_bytes, &total) ||
		!mem_add(total, ALIGNMENT - 1, &total) ||
		!mem_add(at, total & ~(size_t)(ALIGNMENT - 1), &a->n_bytes))
		a->overflow = true;
	return a->base && !a->overflow ? a->base + at : NULL;
}

static size_t widest_ffn(const struct decoder *d)
{
	return d->ffn_dim > d->expert_dim ? d->ffn_dim : d->expert_dim;
}

static void lay_out(struct step *s, struct arena *a)
{
	const struct decoder *d = s->d;
	size_t n = s->max_rows, n_threads = pool_threads(s->pool);

	for (int i = 0; i < ACT_COUNT; i++)
		s->acts[i] = take(a, n, s->widths[i], sizeof(float));
	s->rows = take(a, n, 1, sizeof *s->rows);
	s->pieces = take(a, n, 1, sizeof *s->pieces);
	s->normed = take(a, n, d->dim, sizeof(float));
	s->hidden = take(a, n, widest_ffn(d), sizeof(float));
	s->gathered = take(a, n, d->dim, sizeof(float));
	s->cos = take(a, n * DECODER_ROPES_MAX, s->rope_half, sizeof(float));
	s->sin = take(a, n * DECODER_ROPES_MAX, s->rope_half, sizeof(float));
	if (s->codes_width > 0)
		s->codes = take(a, packed_rows_bytes(n, s->codes_width), 1, 1);
	if (s->halves_width > 0)
		s->halves = take(a, pairs_rows_bytes(n, s->halves_width), 1, 1);
	s->scratch = take(a, n_threads, s->scratch_floats, sizeof(float));
	s->cells = take(a, n_threads * 2, s->cells_floats, sizeof(float));
	s->blocks = take(a, n_threads * 2, s->max_blocks, sizeof *s->blocks);
	if (s->max_spans > 0)
		s->states = take(a, s->max_spans * d->n_kv_heads,
			attend_state_floats(d->n_heads / d->n_kv_heads, d->head_dim),
			sizeof(float));
	if (d->n_experts == 0)
		return;
	s->expert_out = take(a, n, d->dim, sizeof(float));
	s->router = take(a, n, d->n_experts, sizeof(float));
	s->picks = take(a, n, d->n_experts_used, sizeof *s->picks);
	s->pick_weights = take(a, n, d->n_experts_used, sizeof(float));
	s->expert_rows = take(a, n, 1, sizeof *s->expert_rows);
	s->expert_scales = take(a, n, 1, sizeof(float));
}

static void each_of_ffn(
	struct step *s, const struct ffn *f, void (*fn)(struct step *s, const struct matrix *m))
{
	fn(s, &f->gate);
	fn(s, &f->up);
	fn(s, &f->down);
}

void cpu_each_matrix(struct step *s, void (*fn)(struct step *s, const struct matrix *m))
{
	for (size_t i = 0; i < s->d->n_layers; i++) {
		const struct layer *l = &s->d->layers[i];
		fn(s, &l->q);
		fn(s, &l->k);
		fn(s, &l->v);
		fn(s, &l->o);
		each_of_ffn(s, &l->ffn, fn);
		fn(s, &l->experts.router);
		for (size_t e = 0; e < l->experts.n_experts; e++)
			each_of_ffn(s, &l->experts.experts[e], fn);
	}
}

static void measure_matrix(struct step *s, const struct matrix *m)
{
	size_t floats = m->w.data ? cpu_multiply_scratch(m) : 0;

	if (floats > s->scratch_floats)
		s->scratch_floats = floats;
	if (m->packed && m->w.n_in > s->codes_width)
		s->codes_width = m->w.n_in;
	if (m->pairs && m->w.n_in > s->halves_width)
		s->halves_width = m->w.n_in;
}

static void measure(struct step *s)
{
	const struct decoder *d = s->d;

	cpu_each_matrix(s, measure_matrix);
	measure_matrix(s, &d->head.matrix);
	if (cpu_attend_scratch(d) > s->scratch_floats)
		s->scratch_floats = cpu_attend_scratch(d);
	s->scratch_floats = (s->scratch_floats + 15) & ~(size_t)15;
	s->cells_floats = cpu_multiply_cells(d->dim, widest_ffn(d), s->max_rows);
	s->widths[ACT_X] = s->widths[ACT_Y] = d->dim;
	s->widths[ACT_Z] = d->parallel ? d->dim : 0;
	s->widths[ACT_Q] = decoder_q_width(d);
	s->widths[ACT_K] = s->widths[ACT_V] = decoder_kv_width(d);
	s->max_blocks = d->context_length / KV_BLOCK_TOKENS + 1;
	s->max_spans = cpu_attend_spans(d, s->pool);
	for (size_t i = 0; i < d->n_ropes; i++)
		if (d->ropes[i].n_rot / 2 > s->rope_half)
			s->rope_half = d->ropes[i].n_rot / 2;
}

struct step *cpu_step_new(
	const struct decoder *d, size_t max_rows, struct pool *pool, struct fault *f)
{
	struct step *s = xcalloc(1, sizeof *s);
	struct arena a = { 0 };
	unsigned mask;

	s->d = d;
	s->pool = pool;
	s->max_rows = max_rows;
	if (!kernels_parse_mask(getenv("KERNELS_MASK"), &mask)) {
		fault_set(f, ERR_RUNTIME, "KERNELS_MASK names an instruction set we do not know");
		free(s);
		return NULL;
	}
	mask = kernels_select(&s->k, mask);
	gemm_init();
	measure(s);
	lay_out(s, &a);
	a.base = a.overflow ? NULL : mem_try(a.n_bytes + ALIGNMENT);
	if (!a.base) {
		fault_set(f, ERR_NOMEM, "no memory for steps of %zu rows", max_rows);
		free(s);
		return NULL;
	}
	s->arena = a.base;
	s->arena_bytes = a.n_bytes + ALIGNMENT;
	if (a.n_bytes >= HUGE_LEAST)
		huge_advise(a.base, a.n_bytes);
	a.base += -(uintptr_t)a.base & (ALIGNMENT - 1);
	a.n_bytes = 0;
	lay_out(s, &a);
	if (gemm_pays(mask))
		cpu_each_matrix(s, cpu_try_panels);
	return s;
}

void cpu_touch(struct step *s)
{
	huge_touch(s->arena, s->arena_bytes, s->pool);
}

void cpu_step_free(struct step *s)
{
	if (!s)
		return;
	free(s->arena);
	free(s);
}
