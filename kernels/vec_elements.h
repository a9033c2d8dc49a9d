/* vec_elements.h - private template: the element-wise slots and reductions of ref_elements.c
 * on sixteen lanes. Included after vec_maths.h; each file that does has its own copies. */
#ifndef KERNELS_VEC_ELEMENTS_H
#define KERNELS_VEC_ELEMENTS_H
#include "kernels/vec.h"

#ifdef VEC_LANES
#include "kernels/kernels.h"
#include "kernels/vec_maths.h"
#include <math.h>

/* `body` for i = 0, 16, … below n and c elements at a time: a loop in which c is the constant
 * 16, so that the partial accesses compile to whole ones, and then the partial step. */
#define FOR_LANES(n, ...)                                         \
	do {                                                      \
		size_t i = 0;                                     \
		for (const size_t c = 16; i + c <= (n); i += c) { \
			__VA_ARGS__                               \
		}                                                 \
		if (i < (n)) {                                    \
			const size_t c = (n)-i;                   \
			__VA_ARGS__                               \
		}                                                 \
	} while (0);

typedef v16 v_function(v16 x);

static inline __attribute__((always_inline)) void apply(
	v_function *f, float *out, const float *gate, const float *up, size_t n)
{
	FOR_LANES(n, {
		v16 y = f(v_load_n(gate + i, c));
		v_store_n(out + i, up ? v_mul(y, v_load_n(up + i, c)) : y, c);
	})
}

static void silu(float *out, const float *gate, const float *up, size_t n)
{
	apply(v_silu, out, gate, up, n);
}

static void gelu_tanh(float *out, const float *gate, const float *up, size_t n)
{
	apply(v_gelu_tanh, out, gate, up, n);
}

static void gelu_erf(float *out, const float *gate, const float *up, size_t n)
{
	apply(v_gelu_erf, out, gate, up, n);
}

static void exp_all(float *out, const float *x, size_t n)
{
	apply(v_exp, out, x, NULL, n);
}

static void add(float *out, const float *a, const float *b, size_t n)
{
	FOR_LANES(n, v_store_n(out + i, v_add(v_load_n(a + i, c), v_load_n(b + i, c)), c);)
}

static void add_scaled(float *out, const float *a, const float *b, float s, size_t n)
{
	FOR_LANES(
		n, v_store_n(out + i, v_fma(v_set(s), v_load_n(b + i, c), v_load_n(a + i, c)), c);)
}

static void scale(float *out, const float *x, float s, size_t n)
{
	FOR_LANES(n, v_store_n(out + i, v_mul(v_load_n(x + i, c), v_set(s)), c);)
}

static void softcap(float *out, const float *x, float cap, size_t n)
{
	FOR_LANES(n, {
		v16 y = v_tanh(v_div(v_load_n(x + i, c), v_set(cap)));
		v_store_n(out + i, v_mul(v_set(cap), y), c);
	})
}

static void f32_from_f16(float *out, const void *in, size_t n)
{
	FOR_LANES(n, v_store_n(out + i, v_load_f16_n((const char *)in + 2 * i, c), c);)
}

static void f32_from_bf16(float *out, const void *in, size_t n)
{
	FOR_LANES(n, v_store_n(out + i, v_load_bf16_n((const char *)in + 2 * i, c), c);)
}

static void f32_from_int8(float *out, const void *in, size_t n)
{
	FOR_LANES(n, v_store_n(out + i, v_load_int8_n((const char *)in + i, c), c);)
}

static void f16_from_f32(void *out, const float *in, size_t n)
{
	FOR_LANES(n, v_store_f16_n((char *)out + 2 * i, v_load_n(in + i, c), c);)
}

static void bf16_from_f32(void *out, const float *in, size_t n)
{
	FOR_LANES(n, v_store_bf16_n((char *)out + 2 * i, v_load_n(in + i, c), c);)
}

static float max(const float *x, size_t n)
{
	v16 best = v_set(-INFINITY);

	FOR_LANES(n, {
		v16 v = v_select(v_between(0, c), v_load_n(x + i, c), v_set(-INFINITY));
		best = v_greater(v, best);
	})
	return v_max_lane(best) + 0.0f; /* +0 also for -0: lanes see them in another order */
}

static size_t argmax(const float *x, size_t n)
{
	float best = max(x, n);

	if (best == -INFINITY)
		return 0;
	FOR_LANES(n, {
		unsigned hit = v_equal_bits(v_load_n(x + i, c), v_set(best)) & ((1u << c) - 1);
		if (hit)
			return i + (size_t)__builtin_ctz(hit);
	})
	return 0;
}

static float sum_exp(const float *x, float shift, size_t n)
{
	v16 sum = v_set(0);

	FOR_LANES(n, {
		v16 y = v_exp(v_sub(v_load_n(x + i, c), v_set(shift)));
		sum = v_add(sum, v_select(v_between(0, c), y, v_set(0)));
	})
	return v_sum(sum);
}

static void softmax(float *x, size_t n)
{
	v16 shift = v_set(max(x, n)), sum = v_set(0);

	FOR_LANES(n, {
		v16 y = v_exp(v_sub(v_load_n(x + i, c), shift));
		v_store_n(x + i, y, c);
		sum = v_add(sum, v_select(v_between(0, c), y, v_set(0)));
	})
	sum = v_set(v_sum(sum));
	FOR_LANES(n, v_store_n(x + i, v_div(v_load_n(x + i, c), sum), c);)
}

static void fill_elements(struct kernels *k)
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
}
#endif
#endif
