/* half.h - single conversions between f32 and the narrow float types, in integers.
 *
 * They define what the vector conversions must give: widening is exact, narrowing rounds to
 * nearest even, a NaN stays a quiet NaN, nothing is flushed to zero. */
#ifndef KERNELS_HALF_H
#define KERNELS_HALF_H
#include <stdint.h>
#include <string.h>

static inline float f32_of_bits(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

static inline uint32_t bits_of_f32(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return u;
}

static inline uint16_t load_u16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline float f32_of_bf16(uint16_t h)
{
	return f32_of_bits((uint32_t)h << 16);
}

static inline uint16_t bf16_of_f32(float f)
{
	uint32_t u = bits_of_f32(f);

	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline float f32_of_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;

	if (e == 31)
		return f32_of_bits(sign | 0x7f800000 | m << 13 | (m ? 0x400000 : 0));
	if (e == 0) /* zero or subnormal: m * 2^-24, exact in f32 */
		return f32_of_bits(sign | bits_of_f32((float)m * 0x1p-24f));
	return f32_of_bits(sign | (e + 112) << 23 | m << 13);
}

static inline uint16_t f16_of_f32(float f)
{
	uint32_t u = bits_of_f32(f), a = u & 0x7fffffff;
	uint16_t sign = (uint16_t)(u >> 16 & 0x8000);

	if (a > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
	if (a >= 0x477ff000) /* 65520 and above round to infinity */
		return (uint16_t)(sign | 0x7c00);
	if (a < 0x38800000) /* below 2^-14: adding 0.5 leaves m * 2^-24 rounded in the low bits */
		return (uint16_t)(sign | (bits_of_f32(f32_of_bits(a) + 0.5f) - 0x3f000000));
	a += 0xfff + (a >> 13 & 1);
	return (uint16_t)(sign | ((a - 0x38000000) >> 13));
}

/* 1-4-3, bias 7, no infinities, 0x7f and 0xff are NaN (OCP 8-bit floating point, E4M3). */
static inline float f32_of_f8_e4m3(uint8_t b)
{
	uint32_t sign = (uint32_t)(b & 0x80) << 24, e = b >> 3 & 15, m = b & 7;

	if ((b & 0x7f) == 0x7f)
		return f32_of_bits(sign | 0x7fc00000);
	if (e == 0)
		return f32_of_bits(sign | bits_of_f32((float)m * 0x1p-9f));
	return f32_of_bits(sign | (e + 120) << 23 | m << 20);
}
#endif
