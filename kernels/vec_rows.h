/* vec_rows.h - private template: norms and rotation on sixteen lanes, as in ref.c. Included
 * after vec_elements.h. */
#ifndef KERNELS_VEC_ROWS_H
#define KERNELS_VEC_ROWS_H
#include "kernels/vec.h"

#ifdef VEC_LANES
#include "kernels/vec_elements.h"
#include <math.h>

static float row_sum(const float *x, size_t n)
{
	v16 sum = v_set(0);

	FOR_LANES(n, sum = v_add(sum, v_load_n(x + i, c));)
	return v_sum(sum);
}

static float row_sum_squares(const float *x, float mean, size_t n)
{
	v16 sum = v_set(0);

	FOR_LANES(n, {
		v16 d = v_sub(v_load_n(x + i, c), v_set(mean));
		d = v_select(v_between(0, c), d, v_set(0));
		sum = v_fma(d, d, sum);
	})
	return v_sum(sum);
}

static void norm_row(const struct norm *a, size_t row, float mean, float r)
{
	const float *x = a->x + row * a->x_stride;
	float *out = a->out + row * a->out_stride;

	FOR_LANES(a->n, {
		v16 y = v_mul(v_sub(v_load_n(x + i, c), v_set(mean)), v_set(r));
		if (a->weight)
			y = v_mul(y, v_add(v_load_n(a->weight + i, c), v_set(a->offset)));
		if (a->bias)
			y = v_add(y, v_load_n(a->bias + i, c));
		v_store_n(out + i, y, c);
	})
}

static void rmsnorm(const struct norm *a)
{
	for (size_t row = 0; row < a->n_rows; row++) {
		float sum = row_sum_squares(a->x + row * a->x_stride, 0, a->n);
		norm_row(a, row, 0, 1 / sqrtf(sum / (float)a->n + a->eps));
	}
}

static void layernorm(const struct norm *a)
{
	for (size_t row = 0; row < a->n_rows; row++) {
		const float *x = a->x + row * a->x_stride;
		float mean = row_sum(x, a->n) / (float)a->n;
		float var = row_sum_squares(x, mean, a->n) / (float)a->n;
		norm_row(a, row, mean, 1 / sqrtf(var + a->eps));
	}
}

static void rope_half(const struct rope *a)
{
	size_t half = a->n_rot / 2;

	for (size_t h = 0; h < a->n_heads; h++) {
		float *x = a->x + h * a->head_stride, *y = x + half;
		FOR_LANES(half, {
			v16 p = v_load_n(x + i, c), q = v_load_n(y + i, c);
			v16 cos = v_load_n(a->cos + i, c), sin = v_load_n(a->sin + i, c);
			v_store_n(x + i, v_sub(v_mul(p, cos), v_mul(q, sin)), c);
			v_store_n(y + i, v_add(v_mul(q, cos), v_mul(p, sin)), c);
		})
	}
}

/* Of a pair (a, b), -b·sin and a·sin are added to a·cos and b·cos. */
static void rope_pairs(const struct rope *a)
{
	static const float signs[16] = { -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1 };

	for (size_t h = 0; h < a->n_heads; h++) {
		float *x = a->x + h * a->head_stride;
		FOR_LANES(a->n_rot, {
			v16 both = v_load_n(x + i, c), cos = v_load_twice_n(a->cos + i / 2, c);
			v16 sin = v_mul(v_load_twice_n(a->sin + i / 2, c), v_load(signs));
			both = v_add(v_mul(both, cos), v_mul(v_swap_pairs(both), sin));
			v_store_n(x + i, both, c);
		})
	}
}

static void fill_rows(struct kernels *k)
{
	k->rmsnorm = rmsnorm;
	k->layernorm = layernorm;
	k->rope_half = rope_half;
	k->rope_pairs = rope_pairs;
}
#endif
#endif
