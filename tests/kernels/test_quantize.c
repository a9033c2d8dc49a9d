/* Floats to blocks: as near as the codes allow, and nothing hostile does harm. */
#include "kernels/half.h"
#include "kernels/quant.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

#define N ((size_t)QUANT_SMALL * 3)

static const enum dtype types[2] = { DTYPE_Q8_0, DTYPE_Q4_0 };

/* x there and back. */
static void pass(enum dtype type, const float *x, float *out)
{
	void *blocks = guard_bytes(quant_row_bytes(type, N), false);

	quantize_row(type, x, N, blocks);
	quant_type(type)->dequantize(out, blocks, N);
}

Test(quantize, comes_back_within_half_a_step)
{
	float *x = guard_floats(N, false), out[N];
	uint64_t seed = 3;

	for (size_t i = 0; i < N; i++)
		x[i] = (float)(int32_t)next_random(&seed) * 0x1p-33f;
	x[5] = 0.26f;
	x[40] = -0.27f;
	x[70] = 0.28f;
	for (int t = 0; t < 2; t++) {
		pass(types[t], x, out);
		for (size_t i = 0; i < N; i++) {
			/* Q4_0 reaches -8 steps but only 7 the other way. */
			float step = 0.28f / (types[t] == DTYPE_Q8_0 ? 127.0f : 8.0f);
			cr_assert(fabsf(out[i] - x[i]) <= 1.01f * step, "%zu: %g, not %g", i,
				out[i], x[i]);
			cr_assert(fabsf(x[i]) > 0.24f || fabsf(out[i] - x[i]) <= 0.51f * step,
				"%zu: %g, not %g", i, out[i], x[i]);
		}
	}
}

Test(quantize, keeps_zeros_and_what_is_exact)
{
	float *x = guard_floats(N, false), out[N];

	for (int t = 0; t < 2; t++) {
		for (size_t i = 0; i < N; i++)
			x[i] = i < QUANT_SMALL ? 0 : ((float)(i % 16) - 8) * 0.5f;
		if (types[t] == DTYPE_Q8_0)
			x[QUANT_SMALL] = x[(size_t)QUANT_SMALL * 2] = -63.5f;
		pass(types[t], x, out);
		for (size_t i = 0; i < N; i++)
			cr_assert(out[i] == x[i], "%zu: %g, not %g", i, out[i], x[i]);
	}
}

Test(quantize, hostile_numbers_stay_in_their_block)
{
	static const float bad[] = { INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX };
	float *x = guard_floats(N, false), out[N];

	for (int t = 0; t < 2; t++)
		for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
			for (size_t i = 0; i < N; i++)
				x[i] = i % 7 == 0 ? 1 : FLT_MIN;
			x[40] = bad[b];
			pass(types[t], x, out);
			cr_assert(!isfinite(out[40]));
			cr_assert(isfinite(out[31]) && isfinite(out[64]) &&
				  fabsf(out[0] - 1) < 0.01f);
		}
}
