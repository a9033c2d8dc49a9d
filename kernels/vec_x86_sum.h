/* vec_x86_sum.h - private: the last two levels of the reduction tree, after v_fold() has
 * brought sixteen lanes down to four. */
#ifndef KERNELS_VEC_X86_SUM_H
#define KERNELS_VEC_X86_SUM_H
#ifdef VEC_LANES
#include <immintrin.h>

static inline float v_sum(v16 v)
{
	__m128 q = v_fold(v), h = _mm_add_ps(q, _mm_movehl_ps(q, q));

	return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}

/* out[i] = v_sum(v[i]) for four at once: each level of the four trees shares its additions. */
#ifdef __AVX512F__
static inline void v_sum4(float *out, const v16 *v)
{
	/* [a | b] and [c | d], eight lanes each */
	__m512 ab = _mm512_add_ps(
		_mm512_shuffle_f32x4(v[0], v[1], 0x44), _mm512_shuffle_f32x4(v[0], v[1], 0xee));
	__m512 cd = _mm512_add_ps(
		_mm512_shuffle_f32x4(v[2], v[3], 0x44), _mm512_shuffle_f32x4(v[2], v[3], 0xee));
	/* [a | b | c | d], four lanes each, then two, then one */
	__m512 q = _mm512_add_ps(
		_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
	q = _mm512_add_ps(q, _mm512_permute_ps(q, 0x4e));
	q = _mm512_add_ps(q, _mm512_permute_ps(q, 0xb1));
	/* in a register: compressing into memory is microcode on AMD */
	_mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, q)));
}
#else
static inline void v_sum4(float *out, const v16 *v)
{
	__m128 a = v_fold(v[0]), b = v_fold(v[1]), c = v_fold(v[2]), d = v_fold(v[3]);

	_MM_TRANSPOSE4_PS(a, b, c, d);
	_mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d)));
}
#endif
#endif
#endif
