/* packed.h - quantized weights in the order in which an int8 product reads them.
 *
 * A packed matrix is a run of panels of PACKED_OUTS outputs; a panel is the records of its
 * blocks of PACKED_BLOCK elements in rising order, each the codes and then their scales, so that
 * a product reads one stream from end to end. Within a block the codes of four neighbouring
 * elements of one output lie together, output after output, so that one vector register is four
 * elements of sixteen outputs, as dot-product instructions take them. Codes are unsigned. The
 * low four bits of narrow ones share a byte, elements 0-15 of the block low, 16-31 high; fifth
 * and sixth bits follow, those of several groups of elements in a byte. Outputs beyond n_out are
 * zeros. The bytes depend on the weights alone, never on the CPU, so they may be kept in a file:
 * PACKED_LAYOUT counts its changes.
 *
 * Activations are rounded to eight bits, PACKED_GROUP blocks at a time (fewer at a row's end):
 * d = max|x| / 127 and q = x · (127 / max|x|), to nearest even; a group below 1e-30 is zeros,
 * and one that holds something not finite makes every output NaN. Rows travel in tiles of at
 * most PACKED_ROWS.
 *
 * The product. For each block of a group in rising order, I = sum q_w · q_x over the block,
 * exactly, in integers, less the code that stands for zero; then g = fma(I, s, g) with the scale
 * s of the block and output, and where weights have a minimum m, g = fma(m, -(sum q_x), g). Q6_K
 * has a scale for each half of a block: its two halves are taken one after the other. A group
 * begins with g = 0 and ends with acc = fma(g, d, acc). This order is a function of n_in alone,
 * and every instruction set gives the same bits. */
#ifndef KERNELS_PACKED_H
#define KERNELS_PACKED_H
#include "kernels/weight.h"

#define PACKED_LAYOUT 3
#define PACKED_OUTS   32
#define PACKED_BLOCK  32
#define PACKED_GROUP  8 /* blocks of activations with one scale */
#define PACKED_ROWS   6 /* of the highest tile */

enum packed_kind {
	PACKED_NONE,     /* no int8 product for this format: the exact path */
	PACKED_Q4_0,     /* 4-bit codes less 8, f16 scales */
	PACKED_Q8_0,     /* 8-bit codes less 128, f16 scales */
	PACKED_Q4_K,     /* 4-bit codes, 6-bit scales and minima in super-blocks */
	PACKED_Q5_K,     /* the same with 5-bit codes */
	PACKED_Q6_K,     /* 6-bit codes less 32, int8 scales of 16 elements in super-blocks */
	PACKED_AFFINE_4, /* MLX: 4-bit codes, f32 scales and minima */
	PACKED_AFFINE_8, /* the same with codes of 8 bits */
	PACKED_KINDS
};

/* One block of a tile of `height` rows; a tile is its blocks in rising order. */
struct packed_codes {
	const int8_t *q;    /* [height][PACKED_BLOCK] */
	const float *d;     /* [height], of the whole group */
	const int32_t *all; /* [height] -(sum of q) */
	const int32_t *lo;  /* [height] … of the first half's */
	const int32_t *hi;  /* [height] … of the second's */
};

/* x[n_rows][n_in], rows x_stride floats apart, into the tile they make. */
struct packed_round {
	const float *x;
	size_t n_rows, n_in, x_stride; /* 1..PACKED_ROWS rows */
	void *out;                     /* packed_rows_bytes(n_rows, n_in), 4-byte aligned */
};

struct packed_mul {
	enum packed_kind kind;
	const void *w; /* packed, 64-byte aligned */
	size_t n_out, n_in;
	const void *x; /* packed_rows_bytes(n_rows, n_in): tile after tile */
	size_t n_rows;
	size_t o_begin, o_end; /* whole panels, but for the last of the matrix */
	float *out;            /* out[r * out_stride + o] */
	size_t out_stride;
};

/* PACKED_NONE for formats and row lengths without an int8 product. */
enum packed_kind packed_kind_of(const struct weight *w);
/* Bytes of one panel, a multiple of 64; of all panels of n_out outputs. SIZE_MAX if that does
 * not fit. */
size_t packed_panel_bytes(enum packed_kind kind, size_t n_in);
size_t packed_bytes(enum packed_kind kind, size_t n_out, size_t n_in);
/* Write panel `panel` of w, whose kind it is; out has packed_panel_bytes. */
void packed_fill(const struct weight *w, size_t panel, void *out);

/* n_rows are cut into as few tiles as can be, of nearly even height: tile i begins with row
 * packed_tile_row(n_rows, i), and its codes packed_rows_bytes(that, n_in) into those of all. */
size_t packed_tiles(size_t n_rows);
size_t packed_tile_row(size_t n_rows, size_t tile);
size_t packed_rows_bytes(size_t n_rows, size_t n_in);
/* Does this set of kernels_select() have int8 products? In plain C they are right but slower
 * than the exact path. */
bool packed_pays(unsigned used);
#endif
