/* quant.h - quantized rows: what a block of each format holds and how it becomes floats.
 *
 * The layouts are those of GGUF (ggml's block structs), little-endian; the members are bytes,
 * so a block may lie at any address. Dequantization follows the reference in float32 to the
 * bit: golden/quants. A half ("f16") scale may be any bit pattern a file holds; nothing here
 * indexes by it. */
#ifndef KERNELS_QUANT_H
#define KERNELS_QUANT_H
#include "kernels/dtype.h"
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUANT_SMALL 32  /* elements of the simple blocks */
#define QUANT_SUPER 256 /* elements of the K and IQ4_XS super-blocks */

/* Simple blocks: element i < 16 in the low nibble of qs[i], i + 16 in the high one. */
struct block_q4_0 {
	uint8_t d[2], qs[16]; /* d · (q - 8) */
};
struct block_q4_1 {
	uint8_t d[2], m[2], qs[16]; /* d · q + m */
};
struct block_q5_0 {
	uint8_t d[2], qh[4], qs[16]; /* fifth bits in qh; d · (q - 16) */
};
struct block_q5_1 {
	uint8_t d[2], m[2], qh[4], qs[16]; /* d · q + m */
};
struct block_q8_0 {
	uint8_t d[2];
	int8_t qs[32]; /* d · q */
};
struct block_iq4_nl {
	uint8_t d[2], qs[16]; /* d · table[q] */
};
struct block_mxfp4 {
	uint8_t e, qs[16]; /* 2^(e - 127) · FP4 E2M1 */
};
/* Super-blocks: sub-blocks of 16 or 32 elements with small scales of their own. */
struct block_q2_k {
	uint8_t scales[16]; /* low nibble: scale, high: minimum, of 16 elements */
	uint8_t qs[64];
	uint8_t d[2], dmin[2];
};
struct block_q3_k {
	uint8_t hmask[32]; /* the third bit; 0 means subtract 4 */
	uint8_t qs[64];
	uint8_t scales[12]; /* sixteen 6-bit scales, offset 32 */
	uint8_t d[2];
};
struct block_q4_k {
	uint8_t d[2], dmin[2];
	uint8_t scales[12]; /* eight 6-bit scales and eight 6-bit minima, of 32 elements */
	uint8_t qs[128];
};
struct block_q5_k {
	uint8_t d[2], dmin[2];
	uint8_t scales[12]; /* as in q4_k */
	uint8_t qh[32], qs[128];
};
struct block_q6_k {
	uint8_t ql[128], qh[64];
	int8_t scales[16];
	uint8_t d[2];
};
struct block_iq4_xs {
	uint8_t d[2], scales_h[2], scales_l[4]; /* eight 6-bit scales, offset 32 */
	uint8_t qs[128];
};

static_assert(sizeof(struct block_q4_0) == 18, "Q4_0");
static_assert(sizeof(struct block_q4_1) == 20, "Q4_1");
static_assert(sizeof(struct block_q5_0) == 22, "Q5_0");
static_assert(sizeof(struct block_q5_1) == 24, "Q5_1");
static_assert(sizeof(struct block_q8_0) == 34, "Q8_0");
static_assert(sizeof(struct block_iq4_nl) == 18, "IQ4_NL");
static_assert(sizeof(struct block_mxfp4) == 17, "MXFP4");
static_assert(sizeof(struct block_q2_k) == 84, "Q2_K");
static_assert(sizeof(struct block_q3_k) == 110, "Q3_K");
static_assert(sizeof(struct block_q4_k) == 144, "Q4_K");
static_assert(sizeof(struct block_q5_k) == 176, "Q5_K");
static_assert(sizeof(struct block_q6_k) == 210, "Q6_K");
static_assert(sizeof(struct block_iq4_xs) == 136, "IQ4_XS");

/* One row of the traits table. Rows of a tensor hold whole blocks: n_in is a multiple of
 * block_elements, which a loader checks. */
struct quant_type {
	const char *name; /* "Q4_0", "BF16": as GGUF and people write it */
	int gguf_id;      /* number of the type in a GGUF file, -1 where it has none */
	size_t block_elements, block_bytes;
	/* n elements (whole blocks) to floats. NULL for the types whose scales lie in tensors
	 * of their own (weight.h). */
	void (*dequantize)(float *out, const void *blocks, size_t n);
};

/* Static storage; type < DTYPE_COUNT. */
const struct quant_type *quant_type(enum dtype type);
/* The dtype of a GGUF type number; false for one we do not know. */
bool quant_from_gguf(uint32_t id, enum dtype *type);
/* Bytes of a row of n elements; 0 if n is no whole number of blocks or the type has none. */
size_t quant_row_bytes(enum dtype type, size_t n);

/* One row of n floats to Q8_0 (d = max|x| / 127) or Q4_0 (d = the largest in magnitude / -8), as
 * those formats' own tools make them; n is a whole number of blocks, and what is not finite stays
 * so. */
void quantize_row(enum dtype type, const float *x, size_t n, void *out);

void dequantize_q2_k(float *out, const void *blocks, size_t n); /* quant_k.c */
void dequantize_q3_k(float *out, const void *blocks, size_t n);
void dequantize_q4_k(float *out, const void *blocks, size_t n);
void dequantize_q5_k(float *out, const void *blocks, size_t n);
void dequantize_q6_k(float *out, const void *blocks, size_t n);
void dequantize_iq4_xs(float *out, const void *blocks, size_t n);

extern const int8_t quant_iq4_values[16]; /* the non-linear levels of IQ4_NL and IQ4_XS */
/* One FP4 (E2M1) nibble times 2^(e - 127); E8M0 scale e, 255 is NaN. */
float quant_fp4(unsigned nibble, uint8_t e);
#endif
