/* vec_avx2.h - private: sixteen lanes in two AVX2 registers; the words of vec_avx512.h. */
#ifndef KERNELS_VEC_AVX2_H
#define KERNELS_VEC_AVX2_H
#ifdef __AVX2__
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Register tiles that fit 16 registers. */
#define TILE_ROWS      3
#define TILE_OUTS      2
#define DECODE_OUTS    4
#define VALUES_QUERIES 2
#define VALUES_VECTORS 2
#define SCORES_QUERIES 4
#define SCORES_VECTORS 1

typedef struct v16 {
	__m256 a, b;
} v16;
typedef v16 v16_mask;

#define V_EACH1(op, x)    ((v16) { op((x).a), op((x).b) })
#define V_EACH2(op, x, y) ((v16) { op((x).a, (y).a), op((x).b, (y).b) })

static inline v16 v_set(float x)
{
	return (v16) { _mm256_set1_ps(x), _mm256_set1_ps(x) };
}

static inline v16 v_load(const float *p)
{
	return (v16) { _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}

/* All bits set in the lanes below n. */
static inline __m256i v_first8(size_t n)
{
	return _mm256_cmpgt_epi32(
		_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline size_t v_above8(size_t n)
{
	return n > 8 ? n - 8 : 0;
}

static inline v16 v_load_n(const float *p, size_t n)
{
	if (n == 16)
		return v_load(p);
	return (v16) { _mm256_maskload_ps(p, v_first8(n)),
		_mm256_maskload_ps(p + 8, v_first8(v_above8(n))) };
}

static inline void v_store(float *p, v16 v)
{
	_mm256_storeu_ps(p, v.a);
	_mm256_storeu_ps(p + 8, v.b);
}

static inline void v_store_n(float *p, v16 v, size_t n)
{
	if (n == 16) {
		v_store(p, v);
		return;
	}
	_mm256_maskstore_ps(p, v_first8(n), v.a);
	_mm256_maskstore_ps(p + 8, v_first8(v_above8(n)), v.b);
}

static inline v16 v_load_twice_n(const float *p, size_t n)
{
	__m256 x = _mm256_maskload_ps(p, v_first8(n / 2));
	__m256 low = _mm256_unpacklo_ps(x, x), high = _mm256_unpackhi_ps(x, x);

	return (v16) { _mm256_permute2f128_ps(low, high, 0x20),
		_mm256_permute2f128_ps(low, high, 0x31) };
}

static inline __m256 v_swap_pairs8(__m256 v)
{
	return _mm256_permute_ps(v, 0xb1);
}

static inline v16 v_swap_pairs(v16 v)
{
	return V_EACH1(v_swap_pairs8, v);
}

static inline __m256 v_widen_bf16(__m128i h)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

static inline v16 v_load_bf16(const void *p)
{
	const __m128i *h = p;

	return (v16) { v_widen_bf16(_mm_loadu_si128(h)), v_widen_bf16(_mm_loadu_si128(h + 1)) };
}

static inline v16 v_load_f16(const void *p)
{
	const __m128i *h = p;

	return (v16) { _mm256_cvtph_ps(_mm_loadu_si128(h)),
		_mm256_cvtph_ps(_mm_loadu_si128(h + 1)) };
}

/* AVX2 masks pairs of 16-bit elements; an odd last one travels alone. */
static inline __m256i v_load_halves(const void *p, size_t n)
{
	__m256i h = _mm256_maskload_epi32(p, v_first8(n / 2)), last;
	uint16_t odd = 0;

	if (n % 2)
		memcpy(&odd, (const uint16_t *)p + n - 1, sizeof odd);
	last = _mm256_andnot_si256(v_first8(n / 2), _mm256_set1_epi32(odd));
	return _mm256_or_si256(h, _mm256_and_si256(last, v_first8(n / 2 + 1)));
}

static inline void v_store_halves(void *p, __m256i h, size_t n)
{
	uint16_t all[16];

	if (n == 16) {
		_mm256_storeu_si256(p, h);
		return;
	}
	_mm256_maskstore_epi32(p, v_first8(n / 2), h);
	_mm256_storeu_si256((void *)all, h);
	if (n % 2)
		memcpy((uint16_t *)p + n - 1, all + n - 1, sizeof *all);
}

static inline v16 v_load_bf16_n(const void *p, size_t n)
{
	if (n == 16)
		return v_load_bf16(p);
	__m256i h = v_load_halves(p, n);
	return (v16) { v_widen_bf16(_mm256_castsi256_si128(h)),
		v_widen_bf16(_mm256_extracti128_si256(h, 1)) };
}

static inline v16 v_load_f16_n(const void *p, size_t n)
{
	if (n == 16)
		return v_load_f16(p);
	__m256i h = v_load_halves(p, n);
	return (v16) { _mm256_cvtph_ps(_mm256_castsi256_si128(h)),
		_mm256_cvtph_ps(_mm256_extracti128_si256(h, 1)) };
}

static inline v16 v_load_int8(const void *p)
{
	__m128i q = _mm_loadu_si128(p);

	return (v16) { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)),
		_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8))) };
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
	__m128i a = _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT);
	__m128i b = _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT);

	v_store_halves(p, _mm256_set_m128i(b, a), n);
}

static inline __m256i v_narrow_bf16(__m256 v)
{
	__m256i u = _mm256_castps_si256(v);
	__m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
	__m256i up = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
	__m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
	__m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));

	return _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
}

static inline void v_store_bf16_n(void *p, v16 v, size_t n)
{
	__m256i h = _mm256_packus_epi32(v_narrow_bf16(v.a), v_narrow_bf16(v.b));

	/* pack works within 128-bit halves */
	v_store_halves(p, _mm256_permute4x64_epi64(h, 0xd8), n);
}

#define V_PARTS 2
typedef __m256 v_part;

static inline v_part v_part_f32(const void *p, size_t part)
{
	return _mm256_loadu_ps((const float *)p + 8 * part);
}

static inline v_part v_part_bf16(const void *p, size_t part)
{
	return v_widen_bf16(_mm_loadu_si128((const __m128i *)p + part));
}

static inline v_part v_part_f16(const void *p, size_t part)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + part));
}

/* x stays in a register: gcc would rather load it again for each output, and loads are what
 * a tile of 16 registers is short of. */
#define v_keep(x) __asm__("" : "+x"(x))

static inline void v_part_fma(v16 *acc, v_part x, v_part w, size_t part)
{
	if (part == 0)
		acc->a = _mm256_fmadd_ps(x, w, acc->a);
	else
		acc->b = _mm256_fmadd_ps(x, w, acc->b);
}

static inline v16 v_fma(v16 a, v16 b, v16 c)
{
	return (v16) { _mm256_fmadd_ps(a.a, b.a, c.a), _mm256_fmadd_ps(a.b, b.b, c.b) };
}

static inline v16 v_add(v16 a, v16 b)
{
	return V_EACH2(_mm256_add_ps, a, b);
}

static inline v16 v_sub(v16 a, v16 b)
{
	return V_EACH2(_mm256_sub_ps, a, b);
}

static inline v16 v_mul(v16 a, v16 b)
{
	return V_EACH2(_mm256_mul_ps, a, b);
}

static inline v16 v_div(v16 a, v16 b)
{
	return V_EACH2(_mm256_div_ps, a, b);
}

static inline v16 v_greater(v16 a, v16 b)
{
	return V_EACH2(_mm256_max_ps, a, b);
}

static inline v16 v_smaller(v16 a, v16 b)
{
	return V_EACH2(_mm256_min_ps, a, b);
}

static inline v16 v_negate(v16 a)
{
	return V_EACH2(_mm256_xor_ps, a, v_set(-0.0f));
}

static inline v16 v_abs(v16 a)
{
	return V_EACH2(_mm256_andnot_ps, v_set(-0.0f), a);
}

static inline v16 v_with_sign(v16 a, v16 b)
{
	v16 sign = V_EACH2(_mm256_and_ps, b, v_set(-0.0f));

	return V_EACH2(_mm256_or_ps, a, sign);
}

static inline v16_mask v_less(v16 a, v16 b)
{
	return (v16) { _mm256_cmp_ps(a.a, b.a, _CMP_LT_OQ), _mm256_cmp_ps(a.b, b.b, _CMP_LT_OQ) };
}

static inline unsigned v_equal_bits(v16 a, v16 b)
{
	return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a.a, b.a, _CMP_EQ_OQ)) |
	       (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a.b, b.b, _CMP_EQ_OQ)) << 8;
}

static inline v16 v_select(v16_mask m, v16 yes, v16 no)
{
	return (v16) { _mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b) };
}

static inline __m256 v_between8(size_t first, size_t last)
{
	return _mm256_castsi256_ps(_mm256_andnot_si256(v_first8(first), v_first8(last)));
}

static inline v16_mask v_between(size_t first, size_t last)
{
	return (v16) { v_between8(first, last), v_between8(v_above8(first), v_above8(last)) };
}

static inline __m256 v_scale_exp2_8(__m256 y, __m256 shifted)
{
	const __m256i bias = _mm256_set1_epi32(127);
	__m256i i = _mm256_sub_epi32(
		_mm256_castps_si256(shifted), _mm256_castps_si256(_mm256_set1_ps(0x1.8p+23f)));
	__m256i half = _mm256_srai_epi32(i, 1), rest = _mm256_sub_epi32(i, half);
	__m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
	__m256i second = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);

	return _mm256_mul_ps(
		_mm256_mul_ps(y, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}

static inline v16 v_scale_exp2(v16 y, v16 n, v16 shifted)
{
	(void)n;
	return V_EACH2(v_scale_exp2_8, y, shifted);
}

/* The largest lane; none is NaN. */
static inline float v_max_lane(v16 v)
{
	__m256 h = _mm256_max_ps(v.a, v.b);
	__m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	q = _mm_max_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

static inline __m128 v_fold(v16 v)
{
	__m256 h = _mm256_add_ps(v.a, v.b);

	return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
#endif
#endif
