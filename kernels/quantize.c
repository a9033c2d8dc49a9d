/* quantize.c - rows of floats to the blocks of Q8_0 and Q4_0. */
#include "kernels/half.h"
#include "kernels/quant.h"
#include <assert.h>
#include <float.h>
#include <math.h>

/* The element of largest magnitude, its sign included; NaN where one is not finite. */
static float largest(const float *x)
{
	float max = 0;

	for (size_t i = 0; i < QUANT_SMALL; i++) {
		if (!(fabsf(x[i]) <= FLT_MAX))
			return NAN;
		if (fabsf(x[i]) > fabsf(max))
			max = x[i];
	}
	return max;
}

/* The scale as it will be read. A block too large for f16 gets an infinite one, and one too small
 * for it is zeros. */
static float put_scale(uint8_t out[2], float d)
{
	uint16_t h = f16_of_f32(d);

	memcpy(out, &h, sizeof h);
	return f32_of_f16(h);
}

/* x / d to the nearest code, ties to even; codes of a scale that is 0 or not finite are 0. */
static int code_of(float x, float d, int least, int most)
{
	float q = d != 0 && fabsf(d) <= FLT_MAX ? rintf(x / d) : 0;

	return q < (float)least ? least : q > (float)most ? most : (int)q;
}

static void quantize_q8_0(const float *x, struct block_q8_0 *b)
{
	float d = put_scale(b->d, fabsf(largest(x)) / 127);

	for (size_t i = 0; i < QUANT_SMALL; i++)
		b->qs[i] = (int8_t)code_of(x[i], d, -127, 127);
}

static void quantize_q4_0(const float *x, struct block_q4_0 *b)
{
	float d = put_scale(b->d, largest(x) / -8);

	for (size_t i = 0; i < 16; i++) {
		int low = code_of(x[i], d, -8, 7) + 8, high = code_of(x[i + 16], d, -8, 7) + 8;
		b->qs[i] = (uint8_t)(low | high << 4);
	}
}

void quantize_row(enum dtype type, const float *x, size_t n, void *out)
{
	assert((type == DTYPE_Q8_0 || type == DTYPE_Q4_0) && n % QUANT_SMALL == 0);
	for (size_t b = 0; b < n / QUANT_SMALL; b++)
		if (type == DTYPE_Q8_0)
			quantize_q8_0(x + b * QUANT_SMALL, (struct block_q8_0 *)out + b);
		else
			quantize_q4_0(x + b * QUANT_SMALL, (struct block_q4_0 *)out + b);
}
