/* ref_elements.c - plain C element-wise maths and reductions: the definition of correct.
 *
 * exp, tanh and erfc are polynomials of ours rather than libm's, because every instruction
 * set must give the same bits. The coefficients are Chebyshev interpolations of the functions
 * named beside them, made in 50-digit arithmetic; x86 and NEON repeat the same operations in
 * vec_maths.h. Comparisons are written so that a NaN comes out as NaN. */
#include "kernels/attention.h"
#include "kernels/half.h"
#include "kernels/isa.h"
#include "kernels/lanes.h"
#include "kernels/maths.h"
#include <math.h>

/* Horner's rule, fused. c[0] is the constant term. */
static float poly(float x, const float *c, size_t n)
{
	float y = c[n - 1];

	for (size_t i = n - 1; i-- > 0;)
		y = __builtin_fmaf(y, x, c[i]);
	return y;
}

/* 2^n for n in [-126, 127]. */
static float power_of_two(uint32_t n)
{
	return f32_of_bits((n + 127) << 23);
}

/* exp(x) = 2^n · e^r with r = x - n·ln 2, |r| <= ln 2 / 2. 2^n is applied in two halves, so
 * that the result may be subnormal and is still rounded once. */
static float exp_of(float x)
{
	static const float c[] = EXP_POLY;

	x = EXP_MIN > x ? EXP_MIN : x;
	x = EXP_MAX < x ? EXP_MAX : x;
	/* Adding 1.5·2^23 rounds to an integer, to nearest even, in the low mantissa bits. */
	float shifted = __builtin_fmaf(x, LOG2_E, ROUND_MAGIC);
	float n = shifted - ROUND_MAGIC;
	float r = __builtin_fmaf(n, -LN2_HIGH, x);
	r = __builtin_fmaf(n, -LN2_LOW, r);
	float y = __builtin_fmaf(poly(r, c, sizeof c / sizeof *c), r * r, r) + 1;
	uint32_t i = bits_of_f32(shifted) - bits_of_f32(ROUND_MAGIC);
	uint32_t half = i >> 1 | (i & 0x80000000); /* floor(i / 2), arithmetic shift */
	return y * power_of_two(half) * power_of_two(i - half);
}

static float tanh_of(float x)
{
	static const float c[] = TANH_POLY;
	float a = fabsf(x), z = x * x;
	float y = a < TANH_SMALL ? __builtin_fmaf(poly(z, c, sizeof c / sizeof *c), z * a, a)
				 : 1 - 2 / (exp_of(2 * a) + 1);

	return copysignf(y, x);
}

/* erfc(a) for a >= 0: 1 - erf(a) by a power series below 1, exp(-a²)·erfcx(a) above. */
static float erfc_of(float a)
{
	static const float small[] = ERF_POLY, large[] = ERFCX_POLY;

	if (a < 1)
		return 1 - a * poly(a * a, small, sizeof small / sizeof *small);
	float u = 1 / __builtin_fmaf(ERFCX_SLOPE, a, 1);
	return exp_of(-(a * a)) * poly(u, large, sizeof large / sizeof *large);
}

static float silu_of(float x)
{
	return x / (1 + exp_of(-x));
}

/* 0.5·x·(1 + tanh u) = x / (1 + exp(-2u)), which loses no digits where tanh nears -1. */
static float gelu_tanh_of(float x)
{
	float u = x * __builtin_fmaf(GELU_CUBE * x, x, GELU_LINE);

	return x / (1 + exp_of(-u));
}

static float gelu_erf_of(float x)
{
	float tail = 0.5f * erfc_of(fabsf(x) * SQRT_HALF);

	return x * (x < 0 ? tail : 1 - tail);
}

static void silu(float *out, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = up ? silu_of(gate[i]) * up[i] : silu_of(gate[i]);
}

static void gelu_tanh(float *out, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = up ? gelu_tanh_of(gate[i]) * up[i] : gelu_tanh_of(gate[i]);
}

static void gelu_erf(float *out, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = up ? gelu_erf_of(gate[i]) * up[i] : gelu_erf_of(gate[i]);
}

static void add(float *out, const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = a[i] + b[i];
}

static void add_scaled(float *out, const float *a, const float *b, float s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = __builtin_fmaf(s, b[i], a[i]);
}

static void scale(float *out, const float *x, float s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = x[i] * s;
}

static void softcap(float *out, const float *x, float cap, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = cap * tanh_of(x[i] / cap);
}

static void exp_all(float *out, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = exp_of(x[i]);
}

static void f32_from_f16(float *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f32_of_f16(load_u16((const char *)in + 2 * i));
}

static void f32_from_bf16(float *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f32_of_bf16(load_u16((const char *)in + 2 * i));
}

static void f32_from_int8(float *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = ((const int8_t *)in)[i];
}

static void f16_from_f32(void *out, const float *in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h = f16_of_f32(in[i]);
		memcpy((char *)out + 2 * i, &h, sizeof h);
	}
}

static void bf16_from_f32(void *out, const float *in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h = bf16_of_f32(in[i]);
		memcpy((char *)out + 2 * i, &h, sizeof h);
	}
}

static float max(const float *x, size_t n)
{
	float best = -INFINITY;

	for (size_t i = 0; i < n; i++)
		best = x[i] > best ? x[i] : best;
	return best;
}

static size_t argmax(const float *x, size_t n)
{
	size_t best = 0;
	float value = -INFINITY;

	for (size_t i = 0; i < n; i++)
		if (x[i] > value) {
			value = x[i];
			best = i;
		}
	return best;
}

static float sum_exp(const float *x, float shift, size_t n)
{
	float v[LANES] = { 0 };

	for (size_t i = 0; i < n; i++)
		v[i % LANES] += exp_of(x[i] - shift);
	return lanes_sum(v);
}

static void softmax(float *x, size_t n)
{
	float shift = max(x, n), v[LANES] = { 0 };

	for (size_t i = 0; i < n; i++) {
		x[i] = exp_of(x[i] - shift);
		v[i % LANES] += x[i];
	}
	float sum = lanes_sum(v);
	for (size_t i = 0; i < n; i++)
		x[i] /= sum;
}

static void attend_weights_of(const struct attend_tile *t, size_t i)
{
	size_t first = t->first[i], last = t->last[i];
	float *p = t->p + i * ATTEND_TILE, v[LANES] = { 0 };

	if (t->softcap > 0)
		softcap(p + first, p + first, t->softcap, last - first);
	float tile_max = max(p + first, last - first);
	float m = tile_max > t->m[i] ? tile_max : t->m[i];
	float a = exp_of(t->m[i] - m);
	for (size_t j = 0; j < ATTEND_TILE; j++) {
		p[j] = j >= first && j < last ? exp_of(p[j] - m) : 0;
		v[j % LANES] += p[j];
	}
	t->l[i] = __builtin_fmaf(t->l[i], a, lanes_sum(v));
	t->m[i] = m;
	for (size_t j = first; t->v_scale && j < last; j++)
		p[j] *= t->v_scale[j];
	scale(t->acc + i * t->head_dim, t->acc + i * t->head_dim, a, t->head_dim);
}

static void attend_weights(const struct attend_tile *t)
{
	for (size_t i = 0; i < t->n_q; i++)
		if (t->first[i] < t->last[i])
			attend_weights_of(t, i);
}

void ref_fill_elements(struct kernels *k)
{
	k->silu = silu;
	k->gelu_tanh = gelu_tanh;
	k->gelu_erf = gelu_erf;
	k->add = add;
	k->add_scaled = add_scaled;
	k->scale = scale;
	k->softcap = softcap;
	k->exp = exp_all;
	k->f32_from_f16 = f32_from_f16;
	k->f32_from_bf16 = f32_from_bf16;
	k->f32_from_int8 = f32_from_int8;
	k->f16_from_f32 = f16_from_f32;
	k->bf16_from_f32 = bf16_from_f32;
	k->max = max;
	k->argmax = argmax;
	k->sum_exp = sum_exp;
	k->softmax = softmax;
	k->attend_weights = attend_weights;
}
