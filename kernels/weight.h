/* weight.h - a matrix of weights as a file stores it, whatever its format, and its products.
 *
 * Plain data that borrows the file's bytes: the loader fills it once and has checked every
 * size. The exact path: quantized rows are widened to f32 as the reference does it and then
 * multiplied by the lane rule, so bits depend on the row alone here too. */
#ifndef KERNELS_WEIGHT_H
#define KERNELS_WEIGHT_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

struct weight {
	enum dtype type;
	size_t n_out, n_in; /* rows, elements of a row */
	const void *data;   /* [n_out] rows, row_bytes apart; any address */
	size_t row_bytes;

	/* DTYPE_AFFINE: w = scale · q + bias, one pair for `group` elements of a row; q are `bits`
	 * wide (2, 3, 4, 5, 6 or 8), packed low bits first. DTYPE_MXFP4_PAIRS: E8M0 scales, one
	 * byte for each `group` elements; no biases. */
	const void *scales, *biases; /* [n_out][n_in / group] of scale_type */
	enum dtype scale_type;       /* of an AFFINE weight: F32, F16 or BF16 */
	unsigned bits, group;
};

/* Bytes of one row of packed AFFINE or MXFP4_PAIRS elements: n_in · bits / 8, whole 32-bit
 * words. 0 if n_in does not fit. */
size_t weight_packed_bytes(size_t n_in, unsigned bits);

/* Number i of an AFFINE weight's scales or biases. */
float weight_scale(const struct weight *w, const void *scales, size_t i);

/* Row `row` as n_in floats: an embedding, or one weight row of a product. */
void weight_row(const struct kernels *k, const struct weight *w, size_t row, float *out);

/* Floats of scratch for weight_mul; 0 for types that kernels read directly. Per thread. */
size_t weight_scratch(const struct weight *w);

/* The product that *m describes (x, rows, outputs, out) with this weight; m's w, w_stride and
 * n_in are not read. */
void weight_mul(
	const struct kernels *k, const struct weight *w, const struct mul *m, float *scratch);
#endif
