/* vec_maths.h - private template: exp, tanh and erfc on sixteen lanes, operation by operation
 * as in ref_elements.c. Included after a vector vocabulary (vec_avx512.h and its kin). */
#ifndef KERNELS_VEC_MATHS_H
#define KERNELS_VEC_MATHS_H
#include "kernels/vec.h"

#ifdef VEC_LANES
#include "kernels/maths.h"

static inline v16 v_poly(v16 x, const float *c, size_t n)
{
	v16 y = v_set(c[n - 1]);

	for (size_t i = n - 1; i-- > 0;)
		y = v_fma(y, x, v_set(c[i]));
	return y;
}

static inline v16 v_exp(v16 x)
{
	static const float c[] = EXP_POLY;
	const v16 magic = v_set(ROUND_MAGIC);

	x = v_greater(v_set(EXP_MIN), x);
	x = v_smaller(v_set(EXP_MAX), x);
	v16 shifted = v_fma(x, v_set(LOG2_E), magic);
	v16 n = v_sub(shifted, magic);
	v16 r = v_fma(n, v_set(-LN2_HIGH), x);
	r = v_fma(n, v_set(-LN2_LOW), r);
	v16 y = v_poly(r, c, sizeof c / sizeof *c);
	y = v_add(v_fma(y, v_mul(r, r), r), v_set(1));
	return v_scale_exp2(y, n, shifted);
}

static inline v16 v_tanh(v16 x)
{
	static const float c[] = TANH_POLY;
	v16 a = v_abs(x), z = v_mul(x, x);
	v16 near = v_fma(v_poly(z, c, sizeof c / sizeof *c), v_mul(z, a), a);
	v16 e = v_add(v_exp(v_mul(v_set(2), a)), v_set(1));
	v16 far = v_sub(v_set(1), v_div(v_set(2), e));

	return v_with_sign(v_abs(v_select(v_less(a, v_set(TANH_SMALL)), near, far)), x);
}

/* a >= 0 */
static inline v16 v_erfc(v16 a)
{
	static const float small[] = ERF_POLY, large[] = ERFCX_POLY;
	const v16 one = v_set(1);
	v16 near = v_mul(a, v_poly(v_mul(a, a), small, sizeof small / sizeof *small));
	v16 u = v_div(one, v_fma(v_set(ERFCX_SLOPE), a, one));
	v16 far =
		v_mul(v_exp(v_negate(v_mul(a, a))), v_poly(u, large, sizeof large / sizeof *large));

	return v_select(v_less(a, one), v_sub(one, near), far);
}

static inline v16 v_silu(v16 x)
{
	return v_div(x, v_add(v_set(1), v_exp(v_negate(x))));
}

static inline v16 v_gelu_tanh(v16 x)
{
	v16 cube = v_mul(v_set(GELU_CUBE), x);
	v16 u = v_mul(x, v_fma(cube, x, v_set(GELU_LINE)));

	return v_div(x, v_add(v_set(1), v_exp(v_negate(u))));
}

static inline v16 v_gelu_erf(v16 x)
{
	v16 tail = v_mul(v_set(0.5f), v_erfc(v_mul(v_abs(x), v_set(SQRT_HALF))));

	return v_mul(x, v_select(v_less(x, v_set(0)), tail, v_sub(v_set(1), tail)));
}
#endif
#endif
