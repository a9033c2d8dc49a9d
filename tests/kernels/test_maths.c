/* Plain C against libm in double: the one place where our polynomials meet the truth. */
#include "kernels/half.h"
#include "kernels/kernels.h"
#include <criterion/criterion.h>
#include <math.h>

/* |got - want| in units of the last place of want. */
static double ulps(float got, double want)
{
	float w = fabsf((float)want);

	if (isinf(got) || isinf(w))
		return isinf(got) && fabs(want) > 3.4028234e38 && (got > 0) == (want > 0)
			       ? 0
			       : HUGE_VAL;
	return fabs(got - want) / (nextafterf(w, INFINITY) - w);
}

/* Largest error of a slot over finite floats with lo <= x <= hi, a fine sample. */
static double worst(void (*slot)(const struct kernels *, float *, const float *, size_t),
	double (*truth)(double), float lo, float hi)
{
	struct kernels k;
	double most = 0;

	kernels_select(&k, KERNELS_SCALAR);
	for (uint64_t u = 0; u < 0xff800000u; u += 3331) {
		float x = f32_of_bits((uint32_t)u), y;
		if (!(x >= lo && x <= hi))
			continue;
		slot(&k, &y, &x, 1);
		double e = ulps(y, truth((double)x));
		most = e > most ? e : most;
	}
	return most;
}

static void run_exp(const struct kernels *k, float *out, const float *x, size_t n)
{
	k->exp(out, x, n);
}
static void run_tanh(const struct kernels *k, float *out, const float *x, size_t n)
{
	k->softcap(out, x, 1, n);
}
static void run_silu(const struct kernels *k, float *out, const float *x, size_t n)
{
	k->silu(out, x, NULL, n);
}
static void run_gelu_tanh(const struct kernels *k, float *out, const float *x, size_t n)
{
	k->gelu_tanh(out, x, NULL, n);
}
static void run_gelu_erf(const struct kernels *k, float *out, const float *x, size_t n)
{
	k->gelu_erf(out, x, NULL, n);
}
static double true_silu(double x)
{
	return x / (1 + exp(-x));
}
static double true_gelu_tanh(double x)
{
	return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double true_gelu_erf(double x)
{
	return 0.5 * x * erfc(-x * M_SQRT1_2);
}

Test(maths, exp_is_within_one_ulp_from_subnormal_to_infinite, .timeout = 60)
{
	cr_assert_leq(worst(run_exp, exp, -INFINITY, INFINITY), 1.0);
}

Test(maths, tanh_is_within_two_ulps, .timeout = 60)
{
	cr_assert_leq(worst(run_tanh, tanh, -INFINITY, INFINITY), 2.0);
}

Test(maths, silu_is_within_three_ulps_until_it_underflows, .timeout = 60)
{
	cr_assert_leq(worst(run_silu, true_silu, -85, INFINITY), 3.0);
}

/* The argument of exp is rounded, so the relative error grows with it in the left tail,
 * where the value itself vanishes: 4 ulp down to -1, 40 down to -5. */
Test(maths, gelu_is_within_a_few_ulps_where_it_matters, .timeout = 60)
{
	cr_assert_leq(worst(run_gelu_tanh, true_gelu_tanh, -1, 1e10f), 4.0);
	cr_assert_leq(worst(run_gelu_tanh, true_gelu_tanh, -5, -1), 40.0);
	cr_assert_leq(worst(run_gelu_erf, true_gelu_erf, -1, 1e10f), 4.0);
	cr_assert_leq(worst(run_gelu_erf, true_gelu_erf, -5, -1), 40.0);
}

Test(maths, special_values_come_out_special)
{
	const float in[] = { INFINITY, -INFINITY, NAN, 0, -0.0f };
	struct kernels k;
	float y[5];

	kernels_select(&k, KERNELS_ALL);
	k.exp(y, in, 5);
	cr_assert(isinf(y[0]) && y[1] == 0 && isnan(y[2]) && y[3] == 1 && y[4] == 1);
	k.softcap(y, in, 30, 5);
	cr_assert(y[0] == 30 && y[1] == -30 && isnan(y[2]) && y[3] == 0 && signbit(y[4]));
	k.silu(y, in, NULL, 5);
	cr_assert(isinf(y[0]) && isnan(y[2]) && y[3] == 0);
}

Test(maths, softmax_sums_to_one_and_keeps_the_order)
{
	struct kernels k;
	float x[1000], sum = 0;

	kernels_select(&k, KERNELS_ALL);
	for (int i = 0; i < 1000; i++)
		x[i] = (float)(i % 37) - 50;
	k.softmax(x, 1000);
	for (int i = 0; i < 1000; i++)
		sum += x[i];
	cr_assert(fabsf(sum - 1) < 1e-5f);
	cr_assert(x[36] > x[35] && x[0] > 0);
}
