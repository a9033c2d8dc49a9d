/* pairs.c - rows into tiles of bf16. */
#include "kernels/pairs.h"
#include <string.h>

#define PIECE ((size_t)32 * PAIRS_STEP) /* rounded at once */

/* n elements of one row, from step on; the last step is filled up. */
static void spread(const struct pairs_round *a, size_t row, size_t step, const uint16_t *from)
{
	const size_t n = pairs_steps(a->n_in) - step, most = PIECE / PAIRS_STEP;

	for (size_t i = 0; i < (n < most ? n : most); i++)
		memcpy((char *)a->out + ((step + i) * a->n_rows + row) * PAIRS_STEP * 2,
			from + i * PAIRS_STEP, (size_t)PAIRS_STEP * 2);
}

void pairs_round(const struct kernels *k, const struct pairs_round *a)
{
	uint16_t piece[PIECE];

	for (size_t row = 0; row < a->n_rows; row++)
		for (size_t i = 0; i < a->n_in; i += PIECE) {
			size_t n = a->n_in - i < PIECE ? a->n_in - i : PIECE;
			k->bf16_from_f32(piece, a->x + row * a->x_stride + i, n);
			memset(piece + n, 0, (PIECE - n) * sizeof *piece);
			spread(a, row, i / PAIRS_STEP, piece);
		}
}
