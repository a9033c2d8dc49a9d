/* dtype.h - how numbers lie in files and caches. Every format is little-endian, and a row
 * starts at any byte address: kernels load unaligned.
 *
 * The first three are plain arrays and the only ones that kernels read directly; the rest
 * are blocks or bit streams, see quant.h. */
#ifndef KERNELS_DTYPE_H
#define KERNELS_DTYPE_H

enum dtype {
	DTYPE_F32,
	DTYPE_F16,  /* IEEE binary16 */
	DTYPE_BF16, /* the upper half of an f32 */
	DTYPE_F8_E4M3,
	DTYPE_INT8, /* attention's K and V, whose scales lie elsewhere (attention.h) */
	/* GGUF blocks */
	DTYPE_Q4_0,
	DTYPE_Q4_1,
	DTYPE_Q5_0,
	DTYPE_Q5_1,
	DTYPE_Q8_0,
	DTYPE_Q2_K,
	DTYPE_Q3_K,
	DTYPE_Q4_K,
	DTYPE_Q5_K,
	DTYPE_Q6_K,
	DTYPE_IQ4_NL,
	DTYPE_IQ4_XS,
	DTYPE_MXFP4,
	/* integers with their scales in tensors beside them (weight.h) */
	DTYPE_AFFINE,      /* MLX: one low-bits-first stream per row, scales and biases */
	DTYPE_MXFP4_PAIRS, /* gpt-oss and MLX: element 2i in the low nibble, E8M0 scales */
	DTYPE_COUNT
};
#endif
