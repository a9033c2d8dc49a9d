/* pairs.h - rows of activations in the order in which products of bf16 with bf16 read them.
 *
 * Rows travel in tiles like those of int8 products: tile i of n_rows begins with row
 * packed_tile_row(n_rows, i) (packed.h) and its elements pairs_rows_bytes(that, n_in) into those of
 * all. A tile is, for each 32 elements, those of its rows one row after the other: [step][row][32],
 * the last step filled up with zeros. So a tile of many rows is one stream, not one a row. */
#ifndef KERNELS_PAIRS_H
#define KERNELS_PAIRS_H
#include "kernels/kernels.h"
#include "kernels/packed.h"

#define PAIRS_STEP 32 /* elements */

static inline size_t pairs_steps(size_t n_in)
{
	return (n_in + PAIRS_STEP - 1) / PAIRS_STEP;
}

static inline size_t pairs_rows_bytes(size_t n_rows, size_t n_in)
{
	return n_rows * pairs_steps(n_in) * PAIRS_STEP * 2;
}

/* x[n_rows][n_in], rows x_stride floats apart, rounded into the tile they make. */
struct pairs_round {
	const float *x;
	size_t n_rows, n_in, x_stride; /* 1..PACKED_ROWS rows */
	void *out;                     /* pairs_rows_bytes(n_rows, n_in) */
};
void pairs_round(const struct kernels *k, const struct pairs_round *a);
#endif
