/* quant_k.c - the super-blocks of 256: K-quants and IQ4_XS.
 *
 * Products are taken in the reference's order (block scale by sub-block scale first, then by
 * the element), because each rounds. */
#include "kernels/half.h"
#include "kernels/quant.h"

void dequantize_q2_k(float *out, const void *blocks, size_t n)
{
	const struct block_q2_k *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SUPER, b++) {
		float d = f32_of_f16(load_u16(b->d)), dmin = f32_of_f16(load_u16(b->dmin));
		for (size_t i = 0; i < QUANT_SUPER; i++) {
			uint8_t s = b->scales[i / 16];
			/* 128 elements share 32 bytes, four planes of two bits */
			unsigned q = b->qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
			out[at + i] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
		}
	}
}

/* The sixteen 6-bit scales of q3_k: low nibbles in the first 8 bytes, high pairs of bits in
 * the last 4. */
static int scale_q3(const uint8_t s[12], size_t i)
{
	int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
	int high = s[8 + i % 4] >> (i / 4 * 2) & 3;

	return (low | high << 4) - 32;
}

void dequantize_q3_k(float *out, const void *blocks, size_t n)
{
	const struct block_q3_k *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SUPER, b++) {
		float d = f32_of_f16(load_u16(b->d));
		for (size_t i = 0; i < QUANT_SUPER; i++) {
			int q = b->qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
			int high = b->hmask[i % 32] >> (i / 32) & 1;
			out[at + i] = d * (float)scale_q3(b->scales, i / 16) *
				      (float)(q - (high ? 0 : 4));
		}
	}
}

/* Scale and minimum j < 8 of q4_k and q5_k: the first four lie in the low 6 bits of bytes
 * 0-3 and 4-7; the others have low nibbles in bytes 8-11 and their high bits above those. */
static void scale_min(const uint8_t s[12], size_t j, float *scale, float *min)
{
	if (j < 4) {
		*scale = (float)(s[j] & 63);
		*min = (float)(s[j + 4] & 63);
	} else {
		*scale = (float)((s[j + 4] & 15) | s[j - 4] >> 6 << 4);
		*min = (float)(s[j + 4] >> 4 | s[j] >> 6 << 4);
	}
}

void dequantize_q4_k(float *out, const void *blocks, size_t n)
{
	const struct block_q4_k *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SUPER, b++) {
		float d = f32_of_f16(load_u16(b->d)), dmin = f32_of_f16(load_u16(b->dmin));
		for (size_t j = 0; j < 8; j++) {
			const uint8_t *qs = b->qs + j / 2 * 32;
			float scale, min;
			scale_min(b->scales, j, &scale, &min);
			scale *= d;
			min *= dmin;
			for (size_t i = 0; i < 32; i++)
				out[at + j * 32 + i] =
					scale * (float)(qs[i] >> (j % 2 * 4) & 15) - min;
		}
	}
}

void dequantize_q5_k(float *out, const void *blocks, size_t n)
{
	const struct block_q5_k *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SUPER, b++) {
		float d = f32_of_f16(load_u16(b->d)), dmin = f32_of_f16(load_u16(b->dmin));
		for (size_t j = 0; j < 8; j++) {
			const uint8_t *qs = b->qs + j / 2 * 32;
			float scale, min;
			scale_min(b->scales, j, &scale, &min);
			scale *= d;
			min *= dmin;
			for (size_t i = 0; i < 32; i++) {
				int q = (qs[i] >> (j % 2 * 4) & 15) | (b->qh[i] >> j & 1) << 4;
				out[at + j * 32 + i] = scale * (float)q - min;
			}
		}
	}
}

void dequantize_q6_k(float *out, const void *blocks, size_t n)
{
	const struct block_q6_k *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SUPER, b++) {
		float d = f32_of_f16(load_u16(b->d));
		for (size_t i = 0; i < QUANT_SUPER; i++) {
			/* half h of 128: 64 bytes of nibbles (two planes), 32 of bit pairs (four)
			 */
			size_t h = i / 128, p = i % 128 / 32;
			int low = b->ql[h * 64 + i % 64] >> (p / 2 * 4) & 15;
			int high = b->qh[h * 32 + i % 32] >> (p * 2) & 3;
			size_t sub = i / 16;
			out[at + i] = d * (float)b->scales[sub] * (float)((low | high << 4) - 32);
		}
	}
}

void dequantize_iq4_xs(float *out, const void *blocks, size_t n)
{
	const struct block_iq4_xs *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SUPER, b++) {
		float d = f32_of_f16(load_u16(b->d));
		for (size_t j = 0; j < 8; j++) {
			int low = b->scales_l[j / 2] >> (j % 2 * 4) & 15;
			int high = load_u16(b->scales_h) >> (2 * j) & 3;
			float scale = d * (float)((low | high << 4) - 32);
			for (size_t i = 0; i < 16; i++) {
				uint8_t q = b->qs[j * 16 + i];
				out[at + j * 32 + i] = scale * (float)quant_iq4_values[q & 15];
				out[at + j * 32 + i + 16] = scale * (float)quant_iq4_values[q >> 4];
			}
		}
	}
}
