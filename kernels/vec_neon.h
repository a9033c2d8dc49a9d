/* vec_neon.h - private: sixteen lanes in four NEON registers; the words of vec_avx512.h. */
#ifndef KERNELS_VEC_NEON_H
#define KERNELS_VEC_NEON_H
#ifdef __aarch64__
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Register tiles that fit 32 registers of four lanes. */
#define TILE_ROWS      3
#define TILE_OUTS      2
#define DECODE_OUTS    4
#define VALUES_QUERIES 2
#define VALUES_VECTORS 2
#define SCORES_QUERIES 4
#define SCORES_VECTORS 1

typedef struct v16 {
	float32x4_t v[4];
} v16;
typedef struct v16_mask {
	uint32x4_t v[4];
} v16_mask;

#define V_EACH(out, expression)                    \
	do {                                       \
		for (int e = 0; e < 4; e++)        \
			(out).v[e] = (expression); \
	} while (0)

static inline v16 v_set(float x)
{
	v16 r;

	V_EACH(r, vdupq_n_f32(x));
	return r;
}

static inline v16 v_load(const float *p)
{
	v16 r;

	V_EACH(r, vld1q_f32(p + 4 * e));
	return r;
}

static inline void v_store(float *p, v16 v)
{
	for (int e = 0; e < 4; e++)
		vst1q_f32(p + 4 * e, v.v[e]);
}

/* NEON has no masked access: a copy stands between. */
static inline v16 v_load_n(const float *p, size_t n)
{
	float x[16] = { 0 };

	if (n == 16)
		return v_load(p);
	memcpy(x, p, n * sizeof *x);
	return v_load(x);
}

static inline void v_store_n(float *p, v16 v, size_t n)
{
	float x[16];

	if (n == 16) {
		v_store(p, v);
		return;
	}
	v_store(x, v);
	memcpy(p, x, n * sizeof *x);
}

static inline v16 v_load_twice_n(const float *p, size_t n)
{
	float x[8] = { 0 };
	v16 r;

	memcpy(x, p, n / 2 * sizeof *x);
	V_EACH(r, vcombine_f32(vdup_n_f32(x[2 * e]), vdup_n_f32(x[2 * e + 1])));
	return r;
}

static inline v16 v_swap_pairs(v16 v)
{
	V_EACH(v, vrev64q_f32(v.v[e]));
	return v;
}

static inline v16 v_load_bf16(const void *p)
{
	const uint16_t *h = p;
	v16 r;

	V_EACH(r, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(h + 4 * e), 16)));
	return r;
}

static inline v16 v_load_f16(const void *p)
{
	const uint16_t *h = p;
	v16 r;

	V_EACH(r, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h + 4 * e))));
	return r;
}

static inline v16 v_load_bf16_n(const void *p, size_t n)
{
	uint16_t h[16] = { 0 };

	if (n == 16)
		return v_load_bf16(p);
	memcpy(h, p, n * sizeof *h);
	return v_load_bf16(h);
}

static inline v16 v_load_f16_n(const void *p, size_t n)
{
	uint16_t h[16] = { 0 };

	if (n == 16)
		return v_load_f16(p);
	memcpy(h, p, n * sizeof *h);
	return v_load_f16(h);
}

static inline v16 v_load_int8(const void *p)
{
	int8x16_t q = vld1q_s8(p);
	int16x8_t low = vmovl_s8(vget_low_s8(q)), high = vmovl_s8(vget_high_s8(q));

	return (v16) { { vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
		vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
		vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
		vcvtq_f32_s32(vmovl_s16(vget_high_s16(high))) } };
}

static inline v16 v_load_int8_n(const void *p, size_t n)
{
	int8_t q[16] = { 0 };

	if (n == 16)
		return v_load_int8(p);
	memcpy(q, p, n);
	return v_load_int8(q);
}

static inline void v_store_f16_n(void *p, v16 v, size_t n)
{
	uint16_t h[16];

	for (int e = 0; e < 4; e++)
		vst1_u16(h + 4 * e, vreinterpret_u16_f16(vcvt_f16_f32(v.v[e])));
	memcpy(p, h, n * sizeof *h);
}

/* In integers, as half.h. */
static inline void v_store_bf16_n(void *p, v16 v, size_t n)
{
	uint16_t h[16];

	for (int e = 0; e < 4; e++) {
		uint32x4_t u = vreinterpretq_u32_f32(v.v[e]);
		uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
		uint32x4_t up = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
		uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
		uint32x4_t number = vceqq_f32(v.v[e], v.v[e]);
		vst1_u16(h + 4 * e, vshrn_n_u32(vbslq_u32(number, up, quiet), 16));
	}
	memcpy(p, h, n * sizeof *h);
}

#define V_PARTS 4
typedef float32x4_t v_part;

static inline v_part v_part_f32(const void *p, size_t part)
{
	return vld1q_f32((const float *)p + 4 * part);
}

static inline v_part v_part_bf16(const void *p, size_t part)
{
	return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)p + 4 * part), 16));
}

static inline v_part v_part_f16(const void *p, size_t part)
{
	return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)p + 4 * part)));
}

#define v_keep(x) ((void)0) /* registers are plenty; see vec_avx2.h */

static inline void v_part_fma(v16 *acc, v_part x, v_part w, size_t part)
{
	acc->v[part] = vfmaq_f32(acc->v[part], x, w);
}

static inline v16 v_fma(v16 a, v16 b, v16 c)
{
	V_EACH(c, vfmaq_f32(c.v[e], a.v[e], b.v[e]));
	return c;
}

static inline v16 v_add(v16 a, v16 b)
{
	V_EACH(a, vaddq_f32(a.v[e], b.v[e]));
	return a;
}

static inline v16 v_sub(v16 a, v16 b)
{
	V_EACH(a, vsubq_f32(a.v[e], b.v[e]));
	return a;
}

static inline v16 v_mul(v16 a, v16 b)
{
	V_EACH(a, vmulq_f32(a.v[e], b.v[e]));
	return a;
}

static inline v16 v_div(v16 a, v16 b)
{
	V_EACH(a, vdivq_f32(a.v[e], b.v[e]));
	return a;
}

/* Not vmaxq_f32, which lets a NaN on either side win. */
static inline v16 v_greater(v16 a, v16 b)
{
	V_EACH(a, vbslq_f32(vcgtq_f32(a.v[e], b.v[e]), a.v[e], b.v[e]));
	return a;
}

static inline v16 v_smaller(v16 a, v16 b)
{
	V_EACH(a, vbslq_f32(vcltq_f32(a.v[e], b.v[e]), a.v[e], b.v[e]));
	return a;
}

static inline v16 v_negate(v16 a)
{
	V_EACH(a, vnegq_f32(a.v[e]));
	return a;
}

static inline v16 v_abs(v16 a)
{
	V_EACH(a, vabsq_f32(a.v[e]));
	return a;
}

static inline v16 v_with_sign(v16 a, v16 b)
{
	V_EACH(a, vbslq_f32(vdupq_n_u32(0x80000000), b.v[e], a.v[e]));
	return a;
}

static inline v16_mask v_less(v16 a, v16 b)
{
	v16_mask m;

	V_EACH(m, vcltq_f32(a.v[e], b.v[e]));
	return m;
}

static inline unsigned v_equal_bits(v16 a, v16 b)
{
	static const uint32_t weights[4] = { 1, 2, 4, 8 };
	unsigned bits = 0;

	for (int e = 0; e < 4; e++)
		bits |= vaddvq_u32(vandq_u32(vceqq_f32(a.v[e], b.v[e]), vld1q_u32(weights)))
			<< 4 * e;
	return bits;
}

static inline v16 v_select(v16_mask m, v16 yes, v16 no)
{
	V_EACH(no, vbslq_f32(m.v[e], yes.v[e], no.v[e]));
	return no;
}

static inline v16_mask v_between(size_t first, size_t last)
{
	static const uint32_t lanes[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	v16_mask m;

	for (int e = 0; e < 4; e++) {
		uint32x4_t lane = vld1q_u32(lanes + 4 * e);
		m.v[e] = vandq_u32(vcgeq_u32(lane, vdupq_n_u32((uint32_t)first)),
			vcltq_u32(lane, vdupq_n_u32((uint32_t)last)));
	}
	return m;
}

static inline v16 v_scale_exp2(v16 y, v16 n, v16 shifted)
{
	const int32x4_t bias = vdupq_n_s32(127);

	(void)n;
	for (int e = 0; e < 4; e++) {
		int32x4_t i = vsubq_s32(vreinterpretq_s32_f32(shifted.v[e]),
			vreinterpretq_s32_f32(vdupq_n_f32(0x1.8p+23f)));
		int32x4_t half = vshrq_n_s32(i, 1), rest = vsubq_s32(i, half);
		float32x4_t first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
		float32x4_t second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
		y.v[e] = vmulq_f32(vmulq_f32(y.v[e], first), second);
	}
	return y;
}

/* Sixteen lanes to four: += 8 on, += 4 on. */
static inline float32x4_t v_fold(v16 v)
{
	return vaddq_f32(vaddq_f32(v.v[0], v.v[2]), vaddq_f32(v.v[1], v.v[3]));
}

static inline float v_sum(v16 v)
{
	float32x4_t q = v_fold(v), h = vaddq_f32(q, vextq_f32(q, q, 2));

	return vgetq_lane_f32(h, 0) + vgetq_lane_f32(h, 1);
}

static inline void v_sum4(float *out, const v16 *v)
{
	for (int i = 0; i < 4; i++)
		out[i] = v_sum(v[i]);
}

/* The largest lane; none is NaN. */
static inline float v_max_lane(v16 v)
{
	return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v.v[0], v.v[1]), vmaxq_f32(v.v[2], v.v[3])));
}
#endif
#endif
