/* maths.h - private to kernels/: constants of the elementary functions, shared by plain C
 * (ref_elements.c) and vectors (vec_maths.h). Coefficients rise from the constant term. */
#ifndef KERNELS_MATHS_H
#define KERNELS_MATHS_H

/* exp: below EXP_MIN the result rounds to 0, above EXP_MAX to infinity. ln 2 in two parts,
 * the first with 9 trailing zero bits, so that n times it is exact. */
#define EXP_MIN     (-105.0f)
#define EXP_MAX     89.0f
#define LOG2_E      0x1.715476p+0f
#define LN2_HIGH    0x1.62e4p-1f
#define LN2_LOW     0x1.7f7d1cp-20f
#define ROUND_MAGIC 0x1.8p+23f
/* (e^r - 1 - r) / r² on |r| <= 0.3466, relative error 3e-9 */
#define EXP_POLY                                                                        \
	{                                                                               \
		5.000000013e-01f, 1.666666668e-01f, 4.166646494e-02f, 8.333310928e-03f, \
			1.393364786e-03f, 1.989098846e-04f                              \
	}

/* (tanh(x) / x - 1) / x² in x², |x| < 0.625, relative error 5e-9 */
#define TANH_SMALL 0.625f
#define TANH_POLY                                                                         \
	{                                                                                 \
		-3.333333317e-01f, 1.333330356e-01f, -5.395925958e-02f, 2.176891865e-02f, \
			-8.343945516e-03f, 2.292744816e-03f                               \
	}

/* erf(x) / x in x², |x| < 1, relative error 1.3e-9 */
#define ERF_POLY                                                                          \
	{                                                                                 \
		1.128379166e+00f, -3.761262667e-01f, 1.128359472e-01f, -2.685421201e-02f, \
			5.189087423e-03f, -8.016864287e-04f, 7.875875063e-05f             \
	}
/* exp(a²)·erfc(a) in 1 / (1 + 0.7a), 1 <= a <= 10, relative error 9e-9 */
#define ERFCX_SLOPE 0.7f
#define ERFCX_POLY                                                                               \
	{                                                                                        \
		2.393331999e-07f, 3.949373026e-01f, 3.946331320e-01f, 3.030207567e-01f,          \
			6.482309732e-02f, 7.693465333e-02f, -7.680279757e-01f, 8.035402964e-01f, \
			-2.723810027e-01f                                                        \
	}

#define SQRT_HALF 0x1.6a09e6p-1f
/* 2·sqrt(2/pi) and 0.044715 times it */
#define GELU_LINE 1.5957691216057308f
#define GELU_CUBE 0.07135481282734945f
#endif
