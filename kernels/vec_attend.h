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

/* Bytes that are wanted soon, a constant number of them. Asked for all at once they would fill the
 * queue to memory and stop the loads behind them. */
ALWAYS void ask_for(const char *p, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i += 64)
		__builtin_prefetch(p + i);
}

/* Queries i.. by positions from.. of a tile; sizes are constants once inlined. */
struct scores {
	const struct attend_tile *t;
	size_t i, from;
	int n_q, n_vectors;
	enum dtype type;
};

ALWAYS void scores_end(const struct scores *s, v16 acc[SCORES_QUERIES][SCORES_VECTORS])
{
	const struct attend_tile *t = s->t;

	for (int e = 0; e < s->n_vectors; e++) {
		size_t at = s->from + 16 * (size_t)e;
		v16 worth = v_set(1);
		if (t->k_scale)
			worth = v_load(t->k_scale + at);
		for (int q = 0; q < s->n_q; q++) {
			v16 v = t->k_scale ? v_mul(acc[q][e], worth) : acc[q][e];
			v_store(t->p + (s->i + (size_t)q) * ATTEND_TILE + at,
				v_mul(v, v_set(t->scale)));
		}
	}
}

ALWAYS void scores_run(const struct scores *s)
{
	const size_t dim = s->t->head_dim, row = ATTEND_TILE * v_bytes(s->type);
	const float *x = s->t->q + s->i * dim;
	const char *k = (const char *)s->t->k + s->from * v_bytes(s->type);
	const char *next = s->t->next_k;
	v16 acc[SCORES_QUERIES][SCORES_VECTORS], keys[SCORES_VECTORS];

	for (int q = 0; q < s->n_q; q++)
		for (int e = 0; e < s->n_vectors; e++)
			acc[q][e] = v_set(0);
	for (size_t d = 0; d < dim; d++, k += row, next += row) {
		ask_for(next, row);
		for (int e = 0; e < s->n_vectors; e++)
			keys[e] = v_load_as(s->type, k + 16 * (size_t)e * v_bytes(s->type));
		for (int q = 0; q < s->n_q; q++) {
			v16 one = v_set(x[(size_t)q * dim + d]);
			for (int e = 0; e < s->n_vectors; e++)
				acc[q][e] = v_fma(one, keys[e], acc[q][e]);
		}
	}
	scores_end(s, acc);
}

ALWAYS void scores_group(const struct attend_tile *t, size_t i, int n_q, enum dtype type)
{
	for (size_t from = 0; from < ATTEND_TILE; from += (size_t)16 * SCORES_VECTORS)
		scores_run(&(struct scores) { t, i, from, n_q, SCORES_VECTORS, type });
}

/* All positions of the tile: what a query does not see, attend_weights turns to 0 unread. */
ALWAYS void scores_all(const struct attend_tile *t, enum dtype type)
{
	size_t i = 0;

	for (; i + SCORES_QUERIES <= t->n_q; i += SCORES_QUERIES)
		scores_group(t, i, SCORES_QUERIES, type);
	for (; i + 4 <= t->n_q; i += 4)
		scores_group(t, i, 4, type);
	for (; i < t->n_q; i++)
		scores_group(t, i, 1, type);
}

static void attend_scores(const struct attend_tile *t)
{
	switch (t->kv_type) {
	case DTYPE_F16: scores_all(t, DTYPE_F16); break;
	case DTYPE_BF16: scores_all(t, DTYPE_BF16); break;
	case DTYPE_INT8: scores_all(t, DTYPE_INT8); break;
	default: scores_all(t, DTYPE_F32); break;
	}
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

/* Cap the scores of a query and move its maximum on; returns by how much that fell short. */
static float raise_maximum(const struct attend_tile *t, size_t i)
{
	const v16 none = v_set(-INFINITY);
	float *p = t->p + i * ATTEND_TILE, before = t->m[i];

	if (t->softcap > 0)
		softcap(p + t->first[i], p + t->first[i], t->softcap,
			(size_t)(t->last[i] - t->first[i]));
	v16 most = v_greater(v_select(seen_half(t, i, 0), v_load(p), none), none);
	float m = v_max_lane(v_greater(v_select(seen_half(t, i, 16), v_load(p + 16), none), most)) +
		  0.0f;
	t->m[i] = m > before ? m : before;
	return before - t->m[i];
}

/* Scores into weights; the state so far counts a times as much as it did. */
static void weigh_query(const struct attend_tile *t, size_t i, float a)
{
	float *p = t->p + i * ATTEND_TILE, *acc = t->acc + i * t->head_dim;
	v16_mask seen_low = seen_half(t, i, 0), seen_high = seen_half(t, i, 16);
	v16 low = weigh(seen_low, v_load(p), v_set(t->m[i]));
	v16 high = weigh(seen_high, v_load(p + 16), v_set(t->m[i]));

	t->l[i] = __builtin_fmaf(t->l[i], a, v_sum(v_add(low, high)));
	if (t->v_scale) {
		low = v_select(seen_low, v_mul(low, v_load(t->v_scale)), low);
		high = v_select(seen_high, v_mul(high, v_load(t->v_scale + 16)), high);
	}
	v_store(p, low);
	v_store(p + 16, high);
	if (a != 1) /* which would change nothing */
		scale(acc, acc, a, t->head_dim);
}

static void attend_weights(const struct attend_tile *t)
{
	for (size_t i = 0; i < t->n_q; i += 16) {
		size_t n = smaller(t->n_q - i, 16);
		float a[16] = { 0 };
		for (size_t q = 0; q < n; q++)
			if (t->first[i + q] < t->last[i + q])
				a[q] = raise_maximum(t, i + q);
		v_store(a, v_exp(v_load(a)));
		for (size_t q = 0; q < n; q++)
			if (t->first[i + q] < t->last[i + q])
				weigh_query(t, i + q, a[q]);
	}
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
	const size_t before = s->d * v_bytes(s->type), wide = 16 * v_bytes(s->type);
	const char *base = (const char *)t->v + before, *next = (const char *)t->next_v + before;
	v16 acc[VALUES_QUERIES][VALUES_VECTORS], v[VALUES_VECTORS];

	for (int q = 0; q < s->n_q; q++)
		for (int e = 0; e < s->n_vectors; e++)
			acc[q][e] =
				v_load_n(out + (size_t)q * t->head_dim + 16 * (size_t)e, s->n_tail);
	for (size_t j = s->first; j < s->last; j++) {
		const size_t at = j * t->head_dim * v_bytes(s->type);
		const char *row = base + at;
		ask_for(next + at, (size_t)s->n_vectors * wide);
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
	case DTYPE_INT8: values_all(t, DTYPE_INT8); break;
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
