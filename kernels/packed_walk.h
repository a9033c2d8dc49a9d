/* packed_walk.h - private to kernels/: the order in which an int8 product meets panels and tiles.
 *
 * Everything here is inlined where an instruction set hands over its own tile's function, with
 * kind and height as constants, so that each pair of them is code of its own. */
#ifndef KERNELS_PACKED_WALK_H
#define KERNELS_PACKED_WALK_H
#include "kernels/packed_kinds.h"

#define PACKED_INLINE static inline __attribute__((always_inline))
/* How far ahead of its use a line of weights is asked for by a lone tile. */
#define PACKED_AHEAD ((size_t)4096)

/* A tile of rows by one panel. Where several tiles meet it each asks for its share of the next
 * panel, so that memory works while all of them do. */
struct packed_patch {
	const uint8_t *panel;
	const void *tile;
	size_t n_blocks, n_outs;   /* of the panel: 1..PACKED_OUTS outputs */
	size_t ahead, turn, turns; /* every turns-th block asks for weights this far ahead */
	float *out;                /* out[r * out_stride + o], o of the panel */
	size_t out_stride;
};

/* Writes a tile's outputs of a panel; kind and height are constants once it is inlined. */
typedef void packed_tile(enum packed_kind kind, size_t height, const struct packed_patch *p);

/* What block b of the patch asks for, beside its own record. */
PACKED_INLINE void packed_ask(
	enum packed_kind kind, const struct packed_patch *p, size_t b, const uint8_t *record)
{
	if (p->turns != 1 && b % p->turns != p->turn)
		return;
	for (size_t i = 0; i < packed_record_bytes_of(kind); i += 64)
		__builtin_prefetch(record + p->ahead + i, 0, 3);
}

PACKED_INLINE void packed_height(
	enum packed_kind kind, size_t height, const struct packed_patch *p, packed_tile *tile)
{
	switch (height) {
	case 1: tile(kind, 1, p); break;
	case 2: tile(kind, 2, p); break;
	case 3: tile(kind, 3, p); break;
	case 4: tile(kind, 4, p); break;
	case 5: tile(kind, 5, p); break;
	case 6: tile(kind, 6, p); break;
	}
}

/* Tiles [begin, end) by the panel that begins with output o. */
PACKED_INLINE void packed_panel(enum packed_kind kind, const struct packed_mul *m, size_t o,
	const size_t tiles[2], packed_tile *tile)
{
	const size_t panel_bytes = packed_panel_bytes(kind, m->n_in), n = tiles[1] - tiles[0];
	struct packed_patch p = {
		.panel = (const uint8_t *)m->w + o / PACKED_OUTS * panel_bytes,
		.n_blocks = m->n_in / PACKED_BLOCK,
		.n_outs = m->o_end - o < PACKED_OUTS ? m->o_end - o : PACKED_OUTS,
		.ahead = n == 1 ? PACKED_AHEAD : panel_bytes,
		.turns = n,
		.out_stride = m->out_stride,
	};

	for (size_t i = tiles[0]; i < tiles[1]; i++) {
		size_t r = packed_tile_row(m->n_rows, i);
		p.turn = i - tiles[0];
		p.tile = (const char *)m->x + packed_rows_bytes(r, m->n_in);
		p.out = m->out + r * m->out_stride + o;
		packed_height(kind, packed_tile_row(m->n_rows, i + 1) - r, &p, tile);
	}
}

/* As many tiles as fill tiles_bytes pass over one panel after the other, then the next ones. */
PACKED_INLINE void packed_panels(
	enum packed_kind kind, const struct packed_mul *m, size_t tiles_bytes, packed_tile *tile)
{
	size_t n_tiles = packed_tiles(m->n_rows);
	size_t at_once = tiles_bytes / (packed_rows_bytes(PACKED_ROWS, m->n_in) + 1) + 1;

	for (size_t i = 0; i < n_tiles; i += at_once) {
		size_t last = n_tiles - i < at_once ? n_tiles : i + at_once;
		for (size_t o = m->o_begin; o < m->o_end; o += PACKED_OUTS)
			packed_panel(kind, m, o, (const size_t[]) { i, last }, tile);
	}
}

/* The slot packed_mul; tiles_bytes of rows are to stay in the second-level cache. */
PACKED_INLINE void packed_mul_with(
	const struct packed_mul *m, size_t tiles_bytes, packed_tile *tile)
{
	switch (m->kind) {
	case PACKED_Q4_0: packed_panels(PACKED_Q4_0, m, tiles_bytes, tile); break;
	case PACKED_Q8_0: packed_panels(PACKED_Q8_0, m, tiles_bytes, tile); break;
	case PACKED_Q4_K: packed_panels(PACKED_Q4_K, m, tiles_bytes, tile); break;
	case PACKED_Q5_K: packed_panels(PACKED_Q5_K, m, tiles_bytes, tile); break;
	case PACKED_Q6_K: packed_panels(PACKED_Q6_K, m, tiles_bytes, tile); break;
	case PACKED_AFFINE_4: packed_panels(PACKED_AFFINE_4, m, tiles_bytes, tile); break;
	case PACKED_AFFINE_8: packed_panels(PACKED_AFFINE_8, m, tiles_bytes, tile); break;
	case PACKED_NONE:
	case PACKED_KINDS: break;
	}
}
#endif
