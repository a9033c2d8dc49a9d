/* attention.c - online softmax over KV tiles, spans of tiles, and their merging.
 *
 * Queries are taken in batches of at most BATCH, so that scratch is bounded, each K/V tile is
 * read once per batch, and the state stays in the nearest caches. Narrow K and V are widened
 * once per tile when enough queries share them; widening is exact, so bits do not change. A
 * tile that comes is asked for while the one before it is computed. */
#include "kernels/attention.h"
#include <assert.h>
#include <math.h>
#include <string.h>

#define BATCH       32
#define WIDEN_LEAST 5 /* queries: below, kernels widen in registers as they go */

/* Where one batch's memory lies in the caller's scratch. */
struct batch {
	const struct attend *a;
	size_t query, n_q; /* queries query .. query + n_q - 1 of row-major (row, head) */
	float *q, *p, *m, *l, *acc;
	float *total_m, *total_l, *total_acc;
	float *wide_k, *wide_v;   /* [ATTEND_TILE * head_dim] */
	float *k_scale, *v_scale; /* [ATTEND_TILE] */
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t attend_scratch(size_t n_rows, size_t n_group, size_t head_dim)
{
	size_t n_q = least(n_rows * n_group, BATCH);

	return n_q * (3 * head_dim + ATTEND_TILE + 4) + 2 * (head_dim + 1) * ATTEND_TILE;
}

size_t attend_tile_bytes(enum dtype kv_type, size_t head_dim)
{
	size_t element = kv_type == DTYPE_F32 ? 4 : kv_type == DTYPE_INT8 ? 1 : 2, n_bytes;

	if (__builtin_mul_overflow(head_dim, element * ATTEND_TILE, &n_bytes) ||
		__builtin_add_overflow(
			n_bytes, kv_type == DTYPE_INT8 ? 2 * ATTEND_TILE : 0, &n_bytes))
		return SIZE_MAX;
	return n_bytes;
}

size_t attend_state_floats(size_t n_group, size_t head_dim)
{
	return n_group * (head_dim + 2);
}

static void batch_init(struct batch *b, const struct attend *a, float *scratch)
{
	size_t n_q = least(a->n_rows * a->n_group, BATCH);

	assert(a->kv_type <= DTYPE_BF16 || a->kv_type == DTYPE_INT8);
	b->a = a;
	b->q = scratch;
	b->acc = b->q + n_q * a->head_dim;
	b->total_acc = b->acc + n_q * a->head_dim;
	b->p = b->total_acc + n_q * a->head_dim;
	b->m = b->p + n_q * ATTEND_TILE;
	b->l = b->m + n_q;
	b->total_m = b->l + n_q;
	b->total_l = b->total_m + n_q;
	b->wide_k = b->total_l + n_q;
	b->wide_v = b->wide_k + ATTEND_TILE * a->head_dim;
	b->k_scale = b->wide_v + ATTEND_TILE * a->head_dim;
	b->v_scale = b->k_scale + ATTEND_TILE;
}

static const struct attend_row *row_of(const struct batch *b, size_t i)
{
	return b->a->rows + (b->query + i) / b->a->n_group;
}

static size_t head_of(const struct batch *b, size_t i)
{
	return (b->query + i) % b->a->n_group;
}

static void batch_load(struct batch *b, size_t query)
{
	size_t dim = b->a->head_dim;

	b->query = query;
	b->n_q = least(b->a->n_rows * b->a->n_group - query, BATCH);
	for (size_t i = 0; i < b->n_q; i++)
		memcpy(b->q + i * dim, row_of(b, i)->q + head_of(b, i) * dim, dim * sizeof *b->q);
}

static void state_clear(struct batch *b, float *m, float *l, float *acc)
{
	for (size_t i = 0; i < b->n_q; i++) {
		m[i] = -INFINITY;
		l[i] = 0;
	}
	memset(acc, 0, b->n_q * b->a->head_dim * sizeof *acc);
}

/* Which positions of [begin, end) fall into the tile at `tile`. */
static void tile_bounds(const struct attend_row *r, size_t tile, uint8_t *first, uint8_t *last)
{
	size_t at = tile * ATTEND_TILE;

	*first = (uint8_t)(r->begin <= at ? 0 : least(r->begin - at, ATTEND_TILE));
	*last = (uint8_t)(r->end <= at ? 0 : least(r->end - at, ATTEND_TILE));
}

static const void *tile_base(const struct attend *a, const void *const *blocks, size_t tile)
{
	return (const char *)blocks[tile] + a->kv_offset;
}

/* The scales behind a tile's codes. */
static const float *widen_scales(
	const struct kernels *k, const struct attend *a, const void *base, float *out)
{
	k->f32_from_bf16(out, (const char *)base + a->head_dim * ATTEND_TILE, ATTEND_TILE);
	return out;
}

static const float *widen(
	const struct kernels *k, const struct attend *a, const void *in, float *out)
{
	const size_t n = a->head_dim * ATTEND_TILE;

	if (a->kv_type == DTYPE_F16)
		k->f32_from_f16(out, in, n);
	else if (a->kv_type == DTYPE_BF16)
		k->f32_from_bf16(out, in, n);
	else
		k->f32_from_int8(out, in, n);
	return out;
}

static void ask_for(const char *p, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i += 64)
		__builtin_prefetch(p + i);
}

/* Enough queries share the tile: it is widened once for all of them. */
static void widen_tile(const struct kernels *k, struct batch *b, struct attend_tile *t)
{
	const size_t n_bytes = attend_tile_bytes(b->a->kv_type, b->a->head_dim);

	t->k = widen(k, b->a, t->k, b->wide_k);
	t->v = widen(k, b->a, t->v, b->wide_v);
	t->kv_type = DTYPE_F32;
	ask_for(t->next_k, n_bytes);
	ask_for(t->next_v, n_bytes);
	t->next_k = t->k;
	t->next_v = t->v;
}

static void batch_tile(const struct kernels *k, struct batch *b, size_t tile, size_t next)
{
	const struct attend *a = b->a;
	uint8_t first[BATCH], last[BATCH];
	bool seen = false;

	for (size_t i = 0; i < b->n_q; i++) {
		tile_bounds(row_of(b, i), tile, &first[i], &last[i]);
		seen |= first[i] < last[i];
	}
	if (!seen)
		return;
	struct attend_tile t = { .q = b->q,
		.n_q = b->n_q,
		.head_dim = a->head_dim,
		.k = tile_base(a, a->k, tile),
		.v = tile_base(a, a->v, tile),
		.next_k = tile_base(a, a->k, next),
		.next_v = tile_base(a, a->v, next),
		.kv_type = a->kv_type,
		.first = first,
		.last = last,
		.scale = a->scale,
		.softcap = a->softcap,
		.p = b->p,
		.m = b->m,
		.l = b->l,
		.acc = b->acc };
	if (t.kv_type == DTYPE_INT8) {
		t.k_scale = widen_scales(k, a, t.k, b->k_scale);
		t.v_scale = widen_scales(k, a, t.v, b->v_scale);
	}
	if (t.kv_type != DTYPE_F32 && b->n_q >= WIDEN_LEAST)
		widen_tile(k, b, &t);
	k->attend_scores(&t);
	k->attend_weights(&t);
	k->attend_values(&t);
}

/* First position seen by any query of the batch, and one past the last. */
static void batch_bounds(const struct batch *b, size_t *begin, size_t *end)
{
	*begin = SIZE_MAX;
	*end = 0;
	for (size_t i = 0; i < b->n_q; i++) {
		const struct attend_row *r = row_of(b, i);
		if (r->begin >= r->end)
			continue;
		*begin = least(*begin, r->begin);
		*end = r->end > *end ? r->end : *end;
	}
}

/* The state of one span alone, in b->m, b->l, b->acc. */
static void batch_span(const struct kernels *k, struct batch *b, size_t span)
{
	size_t begin, end, from = span * ATTEND_SPAN;

	state_clear(b, b->m, b->l, b->acc);
	batch_bounds(b, &begin, &end);
	begin = begin > from ? begin : from;
	end = least(end, from + ATTEND_SPAN);
	for (size_t tile = begin / ATTEND_TILE; tile * ATTEND_TILE < end; tile++) {
		bool is_last = (tile + 1) * ATTEND_TILE >= end;
		batch_tile(k, b, tile, is_last ? tile : tile + 1);
	}
}

/* Join one query's state (m, l, acc) onto total: both are rescaled to the larger maximum. A
 * side that has seen nothing (l == 0) leaves the other as it is, bit for bit. acc is NULL for
 * a sink: weight without a value. */
static void merge(const struct kernels *k, float *total, const float *state, float *total_acc,
	const float *acc, size_t dim)
{
	float scale[2], m = state[0] > total[0] ? state[0] : total[0];

	if (state[1] == 0)
		return;
	if (total[1] == 0) {
		memcpy(total, state, 2 * sizeof *total);
		if (acc)
			memmove(total_acc, acc, dim * sizeof *acc);
		return;
	}
	scale[0] = total[0] - m;
	scale[1] = state[0] - m;
	k->exp(scale, scale, 2);
	total[0] = m;
	total[1] = total[1] * scale[0] + state[1] * scale[1];
	for (size_t d = 0; d < dim; d++)
		total_acc[d] = total_acc[d] * scale[0] + (acc ? acc[d] * scale[1] : 0);
}

/* Give the sink its weight, divide, write. */
static void finish(const struct kernels *k, const struct attend *a, size_t head, float total[2],
	float *acc, float *out)
{
	if (a->sinks)
		merge(k, total, (float[2]) { a->sinks[head], 1 }, acc, NULL, a->head_dim);
	for (size_t d = 0; d < a->head_dim; d++)
		out[d] = total[1] > 0 || total[1] != total[1] ? acc[d] / total[1] : 0;
}

static void batch_run(const struct kernels *k, struct batch *b)
{
	size_t begin, end, dim = b->a->head_dim;

	state_clear(b, b->total_m, b->total_l, b->total_acc);
	batch_bounds(b, &begin, &end);
	for (size_t span = begin / ATTEND_SPAN; span * ATTEND_SPAN < end; span++) {
		batch_span(k, b, span);
		for (size_t i = 0; i < b->n_q; i++) {
			float total[2] = { b->total_m[i], b->total_l[i] };
			merge(k, total, (float[2]) { b->m[i], b->l[i] }, b->total_acc + i * dim,
				b->acc + i * dim, dim);
			b->total_m[i] = total[0];
			b->total_l[i] = total[1];
		}
	}
	for (size_t i = 0; i < b->n_q; i++)
		finish(k, b->a, head_of(b, i), (float[2]) { b->total_m[i], b->total_l[i] },
			b->total_acc + i * dim, row_of(b, i)->out + head_of(b, i) * dim);
}

void attend(const struct kernels *k, const struct attend *a, float *scratch)
{
	size_t n_queries = a->n_rows * a->n_group;
	struct batch b;

	batch_init(&b, a, scratch);
	for (size_t query = 0; query < n_queries; query += BATCH) {
		batch_load(&b, query);
		batch_run(k, &b);
	}
}

size_t attend_first_span(const struct attend *a)
{
	return a->rows[0].begin < a->rows[0].end ? a->rows[0].begin / ATTEND_SPAN : 0;
}

size_t attend_last_span(const struct attend *a)
{
	return a->rows[0].begin < a->rows[0].end ? (a->rows[0].end - 1) / ATTEND_SPAN : 0;
}

void attend_span(
	const struct kernels *k, const struct attend *a, size_t span, float *state, float *scratch)
{
	size_t dim = a->head_dim;
	struct batch b;

	assert(a->n_rows == 1);
	batch_init(&b, a, scratch);
	for (size_t query = 0; query < a->n_group; query += BATCH) {
		batch_load(&b, query);
		batch_span(k, &b, span);
		for (size_t i = 0; i < b.n_q; i++) {
			float *s = state + (query + i) * (dim + 2);
			s[0] = b.m[i];
			s[1] = b.l[i];
			memcpy(s + 2, b.acc + i * dim, dim * sizeof *s);
		}
	}
}

void attend_join(const struct kernels *k, const struct attend *a, float *states)
{
	size_t n = attend_last_span(a) - attend_first_span(a) + 1, dim = a->head_dim;
	size_t n_state = attend_state_floats(a->n_group, dim);

	for (size_t head = 0; head < a->n_group; head++) {
		float *s = states + head * (dim + 2), *acc = s + 2;
		for (size_t i = 1; i < n; i++)
			merge(k, s, s + i * n_state, acc, s + i * n_state + 2, dim);
		finish(k, a, head, s, acc, a->rows[0].out + head * dim);
	}
}
