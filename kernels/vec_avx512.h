/* vec_avx512.h - private: sixteen lanes in one AVX-512 register.
 *
 * The vector vocabulary that vec_*.h templates are written in; vec_avx2.h and vec_neon.h
 * define the same words. v_load_n and its kin touch the first n (0..16) elements only and
 * give 0 in the others. v_greater(a, b) is a > b ? a : b lane by lane, so that a NaN in b
 * stays and a NaN in a is dropped; v_smaller likewise. */
#ifndef KERNELS_VEC_AVX512_H
#define KERNELS_VEC_AVX512_H
#ifdef __AVX512F__
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* Register tiles that fit 32 registers, see vec_mul.h and vec_attend.h. */
#define TILE_ROWS      6
#define TILE_OUTS      4
#define DECODE_OUTS    8
#define VALUES_QUERIES 4
#define VALUES_VECTORS 4
#define SCORES_QUERIES 6
#define SCORES_VECTORS 2

typedef __m512 v16;
typedef __mmask16 v16_mask;

static inline __mmask16 v_first(size_t n)
{
	return (__mmask16)((1u << n) - 1);
}

static inline v16 v_set(float x)
{
	return _mm512_set1_ps(x);
}

static inline v16 v_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

static inline v16 v_load_n(const float *p, size_t n)
{
	return _mm512_maskz_loadu_ps(v_first(n), p);
}

static inline void v_store(float *p, v16 v)
{
	_mm512_storeu_ps(p, v);
}

static inline void v_store_n(float *p, v16 v, size_t n)
{
	_mm512_mask_storeu_ps(p, v_first(n), v);
}

/* Lanes 2i and 2i + 1 are p[i], the first n of them. */
static inline v16 v_load_twice_n(const float *p, size_t n)
{
	const __m512i each = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);

	return _mm512_permutexvar_ps(each, _mm512_maskz_loadu_ps(v_first(n / 2), p));
}

/* Neighbours, 2i and 2i + 1, in each other's place. */
static inline v16 v_swap_pairs(v16 v)
{
	return _mm512_permute_ps(v, 0xb1);
}

static inline v16 v_widen_bf16(__m256i h)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static inline v16 v_load_bf16(const void *p)
{
	return v_widen_bf16(_mm256_loadu_si256(p));
}

static inline v16 v_load_bf16_n(const void *p, size_t n)
{
	return v_widen_bf16(_mm256_maskz_loadu_epi16(v_first(n), p));
}

static inline v16 v_load_f16(const void *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

static inline v16 v_load_f16_n(const void *p, size_t n)
{
	return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(v_first(n), p));
}

static inline v16 v_widen_int8(__m128i q)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
}

static inline v16 v_load_int8(const void *p)
{
	return v_widen_int8(_mm_loadu_si128(p));
}

static inline v16 v_load_int8_n(const void *p, size_t n)
{
	return v_widen_int8(_mm_maskz_loadu_epi8(v_first(n), p));
}

static inline void v_store_f16_n(void *p, v16 v, size_t n)
{
	_mm256_mask_storeu_epi16(p, v_first(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

/* In integers, as half.h: the CPU's own conversion flushes subnormals. */
static inline void v_store_bf16_n(void *p, v16 v, size_t n)
{
	__m512i u = _mm512_castps_si512(v);
	__m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
	__m512i up = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
	__m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
	__mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
	__m512i r = _mm512_srli_epi32(_mm512_mask_blend_epi32(nan, up, quiet), 16);

	_mm256_mask_storeu_epi16(p, v_first(n), _mm512_cvtepi32_epi16(r));
}

/* A register's worth of the sixteen lanes, V_PARTS in all: product tiles take one part after
 * the other, so that few registers hold x and weights and most hold sums. */
#define V_PARTS 1
typedef __m512 v_part;

static inline v_part v_part_f32(const void *p, size_t part)
{
	return _mm512_loadu_ps((const float *)p + 16 * part);
}

static inline v_part v_part_bf16(const void *p, size_t part)
{
	return v_load_bf16((const uint16_t *)p + 16 * part);
}

static inline v_part v_part_f16(const void *p, size_t part)
{
	return v_load_f16((const uint16_t *)p + 16 * part);
}

#define v_keep(x) ((void)0) /* registers are plenty; see vec_avx2.h */

/* The part's lanes of acc += x * w. */
static inline void v_part_fma(v16 *acc, v_part x, v_part w, size_t part)
{
	(void)part;
	*acc = _mm512_fmadd_ps(x, w, *acc);
}

static inline v16 v_fma(v16 a, v16 b, v16 c)
{
	return _mm512_fmadd_ps(a, b, c);
}

static inline v16 v_add(v16 a, v16 b)
{
	return _mm512_add_ps(a, b);
}

static inline v16 v_sub(v16 a, v16 b)
{
	return _mm512_sub_ps(a, b);
}

static inline v16 v_mul(v16 a, v16 b)
{
	return _mm512_mul_ps(a, b);
}

static inline v16 v_div(v16 a, v16 b)
{
	return _mm512_div_ps(a, b);
}

static inline v16 v_greater(v16 a, v16 b)
{
	return _mm512_max_ps(a, b);
}

static inline v16 v_smaller(v16 a, v16 b)
{
	return _mm512_min_ps(a, b);
}

static inline v16 v_abs(v16 a)
{
	return _mm512_abs_ps(a);
}

static inline v16 v_negate(v16 a)
{
	return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}

/* The magnitude of a (not negative) with the sign of b. */
static inline v16 v_with_sign(v16 a, v16 b)
{
	return _mm512_or_ps(a, _mm512_and_ps(b, _mm512_set1_ps(-0.0f)));
}

static inline v16_mask v_less(v16 a, v16 b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

/* Bit i is set where a[i] == b[i]. */
static inline unsigned v_equal_bits(v16 a, v16 b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

static inline v16 v_select(v16_mask m, v16 yes, v16 no)
{
	return _mm512_mask_blend_ps(m, no, yes);
}

/* Lanes [first, last), 0 <= first, last <= 16. */
static inline v16_mask v_between(size_t first, size_t last)
{
	return (__mmask16)(v_first(last) & ~v_first(first));
}

/* y · 2^n, rounded once; n = shifted - ROUND_MAGIC is an integer, see exp_of in
 * ref_elements.c. */
static inline v16 v_scale_exp2(v16 y, v16 n, v16 shifted)
{
	(void)shifted;
	return _mm512_scalef_ps(y, n);
}

/* The largest lane; none is NaN. */
static inline float v_max_lane(v16 v)
{
	return _mm512_reduce_max_ps(v);
}

static inline __m128 v_fold(v16 v)
{
	__m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));

	return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
#endif
#endif
