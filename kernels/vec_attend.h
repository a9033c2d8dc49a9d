/* vec_attend.h - private template: one tile of attention on sixteen lanes, as in ref.c and
 * ref_elements.c. Included after vec_mul.h and vec_elements.h. */
#ifndef KERNELS_VEC_ATTEND_H
#define KERNELS_VEC_ATTEND_H
#include "kernels/vec.h"

#ifdef VEC_LANES
#include "kernels/attention.h"
#include "kernels/vec_elements.h"
#include "kernels/vec_mul.h"

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* q·k for a tile is a product with the keys as weights. Ragged bounds are widened to what any
 * query sees: what one of them does not see, attend_weights turns to 0 unread. */
static void attend_scores(const struct attend_tile *t)
{
	size_t first = ATTEND_TILE, last = 0;

	for (size_t i = 0; i < t->n_q; i++)
		if (t->first[i] < t->last[i]) {
			first = smaller(first, t->first[i]);
			last = t->last[i] > last ? t->last[i] : last;
		}
	if (first >= last)
		return;
	struct mul m = { .x = t->q,
		.n_rows = t->n_q,
		.x_stride = t->head_dim,
		.w = t->k,
		.n_in = t->head_dim,
		.w_stride = t->kv_stride * v_bytes(t->kv_type),
		.o_begin = first,
		.o_end = last,
		.out = t->p,
		.out_stride = ATTEND_TILE };
	switch (t->kv_type) {
	case DTYPE_F16: mul_f16(&m); break;
	case DTYPE_BF16: mul_bf16(&m); break;
	default: mul_f32(&m); break;
	}
	for (size_t i = 0; i < t->n_q; i++)
		scale(t->p + i * ATTEND_TILE + first, t->p + i * ATTEND_TILE + first, t->scale,
			last - first);
}

/* Half a tile, 16 positions: what a query sees of it. */
static inline v16_mask seen_half(const struct attend_tile *t, size_t i, size_t from)
{
	size_t first = t->first[i], last = t->last[i];

	return v_between(first > from ? smaller(first - from, 16) : 0,
		last > from ? smaller(last - from, 16) : 0);
}

static inline v16 weigh(v16_mask seen, v16 s, v16 m)
{
	return v_select(seen, v_exp(v_sub(s, m)), v_set(0));
}

static void attend_weights_of(const struct attend_tile *t, size_t i)
{
	float *p = t->p + i * ATTEND_TILE, *acc = t->acc + i * t->head_dim, a[16];
	v16_mask seen_low = seen_half(t, i, 0), seen_high = seen_half(t, i, 16);
	const v16 none = v_set(-INFINITY);

	if (t->softcap > 0)
		softcap(p + t->first[i], p + t->first[i], t->softcap,
			(size_t)(t->last[i] - t->first[i]));
	v16 low = v_load(p), high = v_load(p + 16);
	v16 most = v_greater(v_select(seen_low, low, none), none);
	float m = v_max_lane(v_greater(v_select(seen_high, high, none), most)) + 0.0f;
	m = m > t->m[i] ? m : t->m[i];
	v_store(a, v_exp(v_set(t->m[i] - m)));
	low = weigh(seen_low, low, v_set(m));
	high = weigh(seen_high, high, v_set(m));
	v_store(p, low);
	v_store(p + 16, high);
	t->l[i] = __builtin_fmaf(t->l[i], a[0], v_sum(v_add(low, high)));
	t->m[i] = m;
	scale(acc, acc, a[0], t->head_dim);
}

static void attend_weights(const struct attend_tile *t)
{
	for (size_t i = 0; i < t->n_q; i++)
		if (t->first[i] < t->last[i])
			attend_weights_of(t, i);
}

/* Queries i.. and elements d.. of a values tile; sizes are constants once inlined. */
struct values {
	const struct attend_tile *t;
	size_t i, d, first, last;
	int n_q, n_vectors;
	size_t n_tail; /* 16, or the elements of a single last vector */
	enum dtype type;
};

ALWAYS void values_run(const struct values *s)
{
	const struct attend_tile *t = s->t;
	float *out = t->acc + s->i * t->head_dim + s->d;
	const float *p = t->p + s->i * ATTEND_TILE;
	const char *base = (const char *)t->v + s->d * v_bytes(s->type);
	v16 acc[VALUES_QUERIES][VALUES_VECTORS], v[VALUES_VECTORS];

	for (int q = 0; q < s->n_q; q++)
		for (int e = 0; e < s->n_vectors; e++)
			acc[q][e] =
				v_load_n(out + (size_t)q * t->head_dim + 16 * (size_t)e, s->n_tail);
	for (size_t j = s->first; j < s->last; j++) {
		const char *row = base + j * t->kv_stride * v_bytes(s->type);
		for (int e = 0; e < s->n_vectors; e++)
			v[e] = s->n_tail == 16
				       ? v_load_as(s->type, row + 16 * (size_t)e * v_bytes(s->type))
				       : v_load_as_n(s->type, row, s->n_tail);
		for (int q = 0; q < s->n_q; q++) {
			v16 weight = v_set(p[(size_t)q * ATTEND_TILE + j]);
			for (int e = 0; e < s->n_vectors; e++)
				acc[q][e] = v_fma(weight, v[e], acc[q][e]);
		}
	}
	for (int q = 0; q < s->n_q; q++)
		for (int e = 0; e < s->n_vectors; e++)
			v_store_n(out + (size_t)q * t->head_dim + 16 * (size_t)e, acc[q][e],
				s->n_tail);
}

/* All elements for n_q (a constant) queries over the positions [first, last). */
ALWAYS void values_span(
	const struct attend_tile *t, size_t i, int n_q, const size_t seen[2], enum dtype type)
{
	const size_t wide = (size_t)16 * VALUES_VECTORS;
	size_t d = 0;

	if (seen[0] >= seen[1])
		return;
	for (; d + wide <= t->head_dim; d += wide)
		values_run(&(struct values) {
			t, i, d, seen[0], seen[1], n_q, VALUES_VECTORS, 16, type });
	for (; d + 16 <= t->head_dim; d += 16)
		values_run(&(struct values) { t, i, d, seen[0], seen[1], n_q, 1, 16, type });
	if (d < t->head_dim)
		values_run(&(struct values) {
			t, i, d, seen[0], seen[1], n_q, 1, t->head_dim - d, type });
}

/* VALUES_QUERIES queries: together where all of them see, alone before and after, so that
 * each adds in rising order and none touches what it does not see. */
ALWAYS void values_group(const struct attend_tile *t, size_t i, enum dtype type)
{
	size_t common[2] = { 0, ATTEND_TILE };

	for (size_t q = i; q < i + VALUES_QUERIES; q++) {
		common[0] = t->first[q] > common[0] ? t->first[q] : common[0];
		common[1] = smaller(common[1], t->last[q]);
	}
	if (common[0] >= common[1])
		common[0] = common[1] = ATTEND_TILE;
	for (size_t q = i; q < i + VALUES_QUERIES; q++)
		values_span(
			t, q, 1, (size_t[]) { t->first[q], smaller(t->last[q], common[0]) }, type);
	if (common[0] == common[1])
		return;
	values_span(t, i, VALUES_QUERIES, common, type);
	for (size_t q = i; q < i + VALUES_QUERIES; q++)
		values_span(t, q, 1, (size_t[]) { common[1], t->last[q] }, type);
}

ALWAYS void values_all(const struct attend_tile *t, enum dtype type)
{
	size_t i = 0;

	for (; i + VALUES_QUERIES <= t->n_q; i += VALUES_QUERIES)
		values_group(t, i, type);
	for (; i < t->n_q; i++)
		values_span(t, i, 1, (size_t[]) { t->first[i], t->last[i] }, type);
}

static void attend_values(const struct attend_tile *t)
{
	switch (t->kv_type) {
	case DTYPE_F16: values_all(t, DTYPE_F16); break;
	case DTYPE_BF16: values_all(t, DTYPE_BF16); break;
	default: values_all(t, DTYPE_F32); break;
	}
}

static void fill_attend(struct kernels *k)
{
	k->attend_scores = attend_scores;
	k->attend_weights = attend_weights;
	k->attend_values = attend_values;
}
#endif
#endif
