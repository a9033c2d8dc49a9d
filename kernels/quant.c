/* quant.c - the traits table, plain floats and the simple blocks of 32. */
#include "kernels/quant.h"
#include "kernels/half.h"

const int8_t quant_iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53,
	69, 89, 113 };

static void dequantize_f32(float *out, const void *in, size_t n)
{
	memcpy(out, in, n * sizeof *out);
}

static void dequantize_f16(float *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f32_of_f16(load_u16((const uint8_t *)in + 2 * i));
}

static void dequantize_bf16(float *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f32_of_bf16(load_u16((const uint8_t *)in + 2 * i));
}

static void dequantize_f8_e4m3(float *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f32_of_f8_e4m3(((const uint8_t *)in)[i]);
}

static void dequantize_int8(float *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = ((const int8_t *)in)[i];
}

static void dequantize_q4_0(float *out, const void *blocks, size_t n)
{
	const struct block_q4_0 *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SMALL, b++) {
		float d = f32_of_f16(load_u16(b->d));
		for (size_t i = 0; i < 16; i++) {
			out[at + i] = (float)((b->qs[i] & 15) - 8) * d;
			out[at + i + 16] = (float)((b->qs[i] >> 4) - 8) * d;
		}
	}
}

static void dequantize_q4_1(float *out, const void *blocks, size_t n)
{
	const struct block_q4_1 *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SMALL, b++) {
		float d = f32_of_f16(load_u16(b->d)), m = f32_of_f16(load_u16(b->m));
		for (size_t i = 0; i < 16; i++) {
			out[at + i] = (float)(b->qs[i] & 15) * d + m;
			out[at + i + 16] = (float)(b->qs[i] >> 4) * d + m;
		}
	}
}

static uint32_t load_u32(const uint8_t p[4])
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Bit i of qh is the fifth bit of element i. */
static int fifth(uint32_t qh, size_t i)
{
	return (int)(qh >> i & 1) << 4;
}

static void dequantize_q5_0(float *out, const void *blocks, size_t n)
{
	const struct block_q5_0 *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SMALL, b++) {
		float d = f32_of_f16(load_u16(b->d));
		uint32_t qh = load_u32(b->qh);
		for (size_t i = 0; i < 16; i++) {
			out[at + i] = (float)(((b->qs[i] & 15) | fifth(qh, i)) - 16) * d;
			out[at + i + 16] = (float)((b->qs[i] >> 4 | fifth(qh, i + 16)) - 16) * d;
		}
	}
}

static void dequantize_q5_1(float *out, const void *blocks, size_t n)
{
	const struct block_q5_1 *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SMALL, b++) {
		float d = f32_of_f16(load_u16(b->d)), m = f32_of_f16(load_u16(b->m));
		uint32_t qh = load_u32(b->qh);
		for (size_t i = 0; i < 16; i++) {
			out[at + i] = (float)((b->qs[i] & 15) | fifth(qh, i)) * d + m;
			out[at + i + 16] = (float)(b->qs[i] >> 4 | fifth(qh, i + 16)) * d + m;
		}
	}
}

static void dequantize_q8_0(float *out, const void *blocks, size_t n)
{
	const struct block_q8_0 *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SMALL, b++) {
		float d = f32_of_f16(load_u16(b->d));
		for (size_t i = 0; i < QUANT_SMALL; i++)
			out[at + i] = (float)b->qs[i] * d;
	}
}

static void dequantize_iq4_nl(float *out, const void *blocks, size_t n)
{
	const struct block_iq4_nl *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SMALL, b++) {
		float d = f32_of_f16(load_u16(b->d));
		for (size_t i = 0; i < 16; i++) {
			out[at + i] = d * (float)quant_iq4_values[b->qs[i] & 15];
			out[at + i + 16] = d * (float)quant_iq4_values[b->qs[i] >> 4];
		}
	}
}

/* OCP Microscaling formats: E2M1 elements, E8M0 scales. 2^(e-127) is subnormal for e = 0. */
float quant_fp4(unsigned nibble, uint8_t e)
{
	static const float values[16] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2,
		-3, -4, -6 };
	uint32_t scale = e == 0 ? 0x00400000 : (uint32_t)e << 23;

	return values[nibble & 15] * f32_of_bits(e == 255 ? 0x7fc00000 : scale);
}

static void dequantize_mxfp4(float *out, const void *blocks, size_t n)
{
	const struct block_mxfp4 *b = blocks;

	for (size_t at = 0; at < n; at += QUANT_SMALL, b++)
		for (size_t i = 0; i < 16; i++) {
			out[at + i] = quant_fp4(b->qs[i] & 15, b->e);
			out[at + i + 16] = quant_fp4(b->qs[i] >> 4, b->e);
		}
}

static const struct quant_type types[DTYPE_COUNT] = {
	[DTYPE_F32] = { "F32", 0, 1, 4, dequantize_f32 },
	[DTYPE_F16] = { "F16", 1, 1, 2, dequantize_f16 },
	[DTYPE_BF16] = { "BF16", 30, 1, 2, dequantize_bf16 },
	[DTYPE_F8_E4M3] = { "F8_E4M3", -1, 1, 1, dequantize_f8_e4m3 },
	[DTYPE_INT8] = { "INT8", -1, 1, 1, dequantize_int8 },
	[DTYPE_Q4_0] = { "Q4_0", 2, QUANT_SMALL, sizeof(struct block_q4_0), dequantize_q4_0 },
	[DTYPE_Q4_1] = { "Q4_1", 3, QUANT_SMALL, sizeof(struct block_q4_1), dequantize_q4_1 },
	[DTYPE_Q5_0] = { "Q5_0", 6, QUANT_SMALL, sizeof(struct block_q5_0), dequantize_q5_0 },
	[DTYPE_Q5_1] = { "Q5_1", 7, QUANT_SMALL, sizeof(struct block_q5_1), dequantize_q5_1 },
	[DTYPE_Q8_0] = { "Q8_0", 8, QUANT_SMALL, sizeof(struct block_q8_0), dequantize_q8_0 },
	[DTYPE_Q2_K] = { "Q2_K", 10, QUANT_SUPER, sizeof(struct block_q2_k), dequantize_q2_k },
	[DTYPE_Q3_K] = { "Q3_K", 11, QUANT_SUPER, sizeof(struct block_q3_k), dequantize_q3_k },
	[DTYPE_Q4_K] = { "Q4_K", 12, QUANT_SUPER, sizeof(struct block_q4_k), dequantize_q4_k },
	[DTYPE_Q5_K] = { "Q5_K", 13, QUANT_SUPER, sizeof(struct block_q5_k), dequantize_q5_k },
	[DTYPE_Q6_K] = { "Q6_K", 14, QUANT_SUPER, sizeof(struct block_q6_k), dequantize_q6_k },
	[DTYPE_IQ4_NL] = { "IQ4_NL", 20, QUANT_SMALL, sizeof(struct block_iq4_nl),
		dequantize_iq4_nl },
	[DTYPE_IQ4_XS] = { "IQ4_XS", 23, QUANT_SUPER, sizeof(struct block_iq4_xs),
		dequantize_iq4_xs },
	[DTYPE_MXFP4] = { "MXFP4", 39, QUANT_SMALL, sizeof(struct block_mxfp4), dequantize_mxfp4 },
	[DTYPE_AFFINE] = { "AFFINE", -1, 0, 0, NULL },
	[DTYPE_MXFP4_PAIRS] = { "MXFP4", -1, 0, 0, NULL },
};

const struct quant_type *quant_type(enum dtype type)
{
	assert(type < DTYPE_COUNT);
	return &types[type];
}

bool quant_from_gguf(uint32_t id, enum dtype *type)
{
	for (size_t i = 0; i < DTYPE_COUNT; i++)
		if (types[i].gguf_id >= 0 && (uint32_t)types[i].gguf_id == id) {
			*type = (enum dtype)i;
			return true;
		}
	return false;
}

size_t quant_row_bytes(enum dtype type, size_t n)
{
	const struct quant_type *t = quant_type(type);
	size_t bytes;

	if (t->block_elements == 0 || n % t->block_elements != 0 ||
		__builtin_mul_overflow(n / t->block_elements, t->block_bytes, &bytes))
		return 0;
	return bytes;
}
