/* ref.c - plain C products, norms, rotations and attention: the definition of correct. */
#include "kernels/attention.h"
#include "kernels/dtype.h"
#include "kernels/half.h"
#include "kernels/isa.h"
#include "kernels/lanes.h"
#include "kernels/pairs.h"
#include <float.h>
#include <math.h>

static float load_element(const void *p, enum dtype type, size_t i)
{
	const unsigned char *b = p;
	float f;

	if (type == DTYPE_INT8)
		return ((const int8_t *)p)[i];
	if (type == DTYPE_F16)
		return f32_of_f16(load_u16(b + 2 * i));
	if (type == DTYPE_BF16)
		return f32_of_bf16(load_u16(b + 2 * i));
	memcpy(&f, b + 4 * i, sizeof f);
	return f;
}

/* The last step is padded with zero products, not cut: fma(0, 0, acc) differs from acc in
 * the sign of a zero, and every instruction set pads. */
static float dot(const float *x, const void *w, enum dtype type, size_t n)
{
	float v[LANES] = { 0 };

	for (size_t i = 0; i < n; i += LANES)
		for (size_t j = 0; j < LANES; j++) {
			bool in = i + j < n;
			v[j] = __builtin_fmaf(
				in ? x[i + j] : 0, in ? load_element(w, type, i + j) : 0, v[j]);
		}
	return lanes_sum(v);
}

static void mul(const struct mul *m, enum dtype type)
{
	for (size_t o = m->o_begin; o < m->o_end; o++) {
		const void *w = (const char *)m->w + o * m->w_stride;
		for (size_t r = 0; r < m->n_rows; r++)
			m->out[r * m->out_stride + o] =
				dot(m->x + r * m->x_stride, w, type, m->n_in);
	}
}

static float no_subnormal(float x)
{
	return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

/* x: this row's elements of the tile's first step; those of each further one x_step later. */
static float dot_pairs(const char *x, size_t x_step, const void *w, size_t n)
{
	float v[LANES] = { 0 };

	for (size_t at = 0; at < n; at += PAIRS_STEP, x += x_step)
		for (size_t i = at; i < at + PAIRS_STEP; i++) {
			size_t e = i ^ 1; /* the second of a pair first */
			float *lane = &v[(i - at) / 2];
			float a = no_subnormal(load_element(x, DTYPE_BF16, e - at));
			float b = e < n ? no_subnormal(load_element(w, DTYPE_BF16, e)) : 0;
			*lane = no_subnormal(__builtin_fmaf(a, b, *lane));
		}
	return lanes_sum(v);
}

static void mul_pairs(const struct mul_pairs *m)
{
	for (size_t i = 0; i < packed_tiles(m->n_rows); i++) {
		size_t first = packed_tile_row(m->n_rows, i);
		size_t height = packed_tile_row(m->n_rows, i + 1) - first;
		const char *tile = (const char *)m->x + pairs_rows_bytes(first, m->n_in);
		for (size_t o = m->o_begin; o < m->o_end; o++)
			for (size_t r = 0; r < height; r++)
				m->out[(first + r) * m->out_stride + o] = dot_pairs(
					tile + r * PAIRS_STEP * 2, height * PAIRS_STEP * 2,
					(const char *)m->w + o * m->w_stride, m->n_in);
	}
}

static void mul_f32(const struct mul *m)
{
	mul(m, DTYPE_F32);
}

static void mul_f16(const struct mul *m)
{
	mul(m, DTYPE_F16);
}

static void mul_bf16(const struct mul *m)
{
	mul(m, DTYPE_BF16);
}

static float lane_sum(const float *x, size_t n)
{
	float v[LANES] = { 0 };

	for (size_t i = 0; i < n; i++)
		v[i % LANES] += x[i];
	return lanes_sum(v);
}

static float lane_sum_squares(const float *x, float mean, size_t n)
{
	float v[LANES] = { 0 };

	for (size_t i = 0; i < n; i++)
		v[i % LANES] = __builtin_fmaf(x[i] - mean, x[i] - mean, v[i % LANES]);
	return lanes_sum(v);
}

static void norm_row(const struct norm *a, size_t row, float mean, float r)
{
	const float *x = a->x + row * a->x_stride;
	float *out = a->out + row * a->out_stride;

	for (size_t i = 0; i < a->n; i++) {
		float y = (x[i] - mean) * r;
		if (a->weight)
			y *= a->weight[i] + a->offset;
		out[i] = a->bias ? y + a->bias[i] : y;
	}
}

static void rmsnorm(const struct norm *a)
{
	for (size_t row = 0; row < a->n_rows; row++) {
		float sum = lane_sum_squares(a->x + row * a->x_stride, 0, a->n);
		norm_row(a, row, 0, 1 / sqrtf(sum / (float)a->n + a->eps));
	}
}

static void layernorm(const struct norm *a)
{
	for (size_t row = 0; row < a->n_rows; row++) {
		const float *x = a->x + row * a->x_stride;
		float mean = lane_sum(x, a->n) / (float)a->n;
		float var = lane_sum_squares(x, mean, a->n) / (float)a->n;
		norm_row(a, row, mean, 1 / sqrtf(var + a->eps));
	}
}

static void rotate(float *a, float *b, float cos, float sin)
{
	float x = *a, y = *b;

	*a = x * cos - y * sin;
	*b = y * cos + x * sin;
}

static void rope_half(const struct rope *a)
{
	size_t half = a->n_rot / 2;

	for (size_t h = 0; h < a->n_heads; h++) {
		float *x = a->x + h * a->head_stride;
		for (size_t i = 0; i < half; i++)
			rotate(x + i, x + half + i, a->cos[i], a->sin[i]);
	}
}

static void rope_pairs(const struct rope *a)
{
	for (size_t h = 0; h < a->n_heads; h++) {
		float *x = a->x + h * a->head_stride;
		for (size_t i = 0; i < a->n_rot / 2; i++)
			rotate(x + 2 * i, x + 2 * i + 1, a->cos[i], a->sin[i]);
	}
}

/* Address of one position's elements in a tile. */
static void attend_scores(const struct attend_tile *t)
{
	for (size_t i = 0; i < t->n_q; i++)
		for (size_t j = t->first[i]; j < t->last[i]; j++) {
			float s = 0;
			for (size_t d = 0; d < t->head_dim; d++)
				s = __builtin_fmaf(t->q[i * t->head_dim + d],
					load_element(t->k, t->kv_type, d * ATTEND_TILE + j), s);
			if (t->k_scale)
				s *= t->k_scale[j];
			t->p[i * ATTEND_TILE + j] = s * t->scale;
		}
}

static void attend_values(const struct attend_tile *t)
{
	for (size_t i = 0; i < t->n_q; i++) {
		float *acc = t->acc + i * t->head_dim;
		for (size_t j = t->first[i]; j < t->last[i]; j++)
			for (size_t d = 0; d < t->head_dim; d++)
				acc[d] = __builtin_fmaf(t->p[i * ATTEND_TILE + j],
					load_element(t->v, t->kv_type, j * t->head_dim + d),
					acc[d]);
	}
}

void ref_fill_rows(struct kernels *k)
{
	k->mul_f32 = mul_f32;
	k->mul_f16 = mul_f16;
	k->mul_bf16 = mul_bf16;
	k->mul_pairs = mul_pairs;
	k->rmsnorm = rmsnorm;
	k->layernorm = layernorm;
	k->rope_half = rope_half;
	k->rope_pairs = rope_pairs;
	k->attend_scores = attend_scores;
	k->attend_values = attend_values;
}
