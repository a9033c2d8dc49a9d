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

/* out[i] = v_sum(v[i]) for four at once: a transpose instead of four trees. */
static inline void v_sum4(float *out, const v16 *v)
{
	__m128 a = v_fold(v[0]), b = v_fold(v[1]), c = v_fold(v[2]), d = v_fold(v[3]);

	_MM_TRANSPOSE4_PS(a, b, c, d);
	_mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d)));
}

static inline float v_max_lane(v16 v)
{
	float x[16], best;

	v_store(x, v);
	best = x[0];
	for (int i = 1; i < 16; i++)
		best = x[i] > best ? x[i] : best;
	return best;
}

static inline void v_prefetch(const void *p)
{
	_mm_prefetch(p, _MM_HINT_T0);
}
#endif
#endif
