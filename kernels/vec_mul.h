/* vec_mul.h - private template: products by the lane rule in register tiles.
 *
 * A tile is up to TILE_ROWS rows by TILE_OUTS outputs, each sum in an accumulator of sixteen
 * lanes of its own. Tiling, blocking for caches and prefetching choose which sums are under
 * way together; each sum itself runs over all of n_in in one go, which is what keeps its bits
 * the same whatever the tile. */
#ifndef KERNELS_VEC_MUL_H
#define KERNELS_VEC_MUL_H
#include "kernels/vec.h"

#ifdef VEC_LANES
#include "kernels/dtype.h"
#include "kernels/kernels.h"

#define ALWAYS static inline __attribute__((always_inline))
/* One block of weights and one of rows stay in the second-level cache together. */
#define BLOCK_BYTES ((size_t)256 << 10)
/* Most outputs of a tile of any height. */
#define MOST_OUTS (DECODE_OUTS > TILE_OUTS ? DECODE_OUTS : TILE_OUTS)

ALWAYS size_t v_bytes(enum dtype type)
{
	return type == DTYPE_F32 ? 4 : type == DTYPE_INT8 ? 1 : 2;
}

ALWAYS v16 v_load_as(enum dtype type, const void *p)
{
	if (type == DTYPE_INT8)
		return v_load_int8(p);
	if (type == DTYPE_F16)
		return v_load_f16(p);
	return type == DTYPE_BF16 ? v_load_bf16(p) : v_load(p);
}

ALWAYS v16 v_load_as_n(enum dtype type, const void *p, size_t n)
{
	if (type == DTYPE_INT8)
		return v_load_int8_n(p, n);
	if (type == DTYPE_F16)
		return v_load_f16_n(p, n);
	return type == DTYPE_BF16 ? v_load_bf16_n(p, n) : v_load_n(p, n);
}

/* Rows r.. and outputs o.. of the tile, and its size: constants once inlined. */
struct tile {
	const struct mul *m;
	size_t r, o;
	size_t n_rows, n_outs;
	enum dtype type;
};

ALWAYS v_part v_part_as(enum dtype type, const void *p, size_t part)
{
	if (type == DTYPE_F16)
		return v_part_f16(p, part);
	return type == DTYPE_BF16 ? v_part_bf16(p, part) : v_part_f32(p, part);
}

/* One step of sixteen elements at i. */
ALWAYS void tile_step(const struct tile *t, v16 acc[TILE_ROWS][MOST_OUTS], size_t i)
{
	const struct mul *m = t->m;
	const char *base = (const char *)m->w + t->o * m->w_stride + i * v_bytes(t->type);
	v_part w[MOST_OUTS];

	for (size_t part = 0; part < V_PARTS; part++) {
		for (size_t o = 0; o < t->n_outs; o++)
			w[o] = v_part_as(t->type, base + o * m->w_stride, part);
		for (size_t r = 0; r < t->n_rows; r++) {
			v_part x = v_part_f32(m->x + (t->r + r) * m->x_stride + i, part);
			v_keep(x);
			for (size_t o = 0; o < t->n_outs; o++)
				v_part_fma(&acc[r][o], x, w[o], part);
		}
	}
}

/* The last n < 16 elements at i, padded with zeros. */
ALWAYS void tile_tail(const struct tile *t, v16 acc[TILE_ROWS][MOST_OUTS], size_t i, size_t n)
{
	const struct mul *m = t->m;
	const char *base = (const char *)m->w + t->o * m->w_stride + i * v_bytes(t->type);

	for (size_t o = 0; o < t->n_outs; o++) {
		v16 w = v_load_as_n(t->type, base + o * m->w_stride, n);
		for (size_t r = 0; r < t->n_rows; r++)
			acc[r][o] = v_fma(
				v_load_n(m->x + (t->r + r) * m->x_stride + i, n), w, acc[r][o]);
	}
}

ALWAYS void tile_run(const struct tile *t)
{
	const struct mul *m = t->m;
	v16 acc[TILE_ROWS][MOST_OUTS];
	size_t i = 0;

	for (size_t r = 0; r < t->n_rows; r++)
		for (size_t o = 0; o < t->n_outs; o++)
			acc[r][o] = v_set(0);
	for (; i + 16 <= m->n_in; i += 16)
		tile_step(t, acc, i);
	if (i < m->n_in)
		tile_tail(t, acc, i, m->n_in - i);
	for (size_t r = 0; r < t->n_rows; r++) {
		float *out = m->out + (t->r + r) * m->out_stride + t->o;
		size_t o = 0;
		for (; o + 4 <= t->n_outs; o += 4)
			v_sum4(out + o, &acc[r][o]);
		for (; o < t->n_outs; o++)
			out[o] = v_sum(acc[r][o]);
	}
}

/* Code for one size of tile. Compilers unroll it whole and keep acc in registers. */
#define TILE(rows, outs)          \
	tile_run(&(struct tile) { \
		.m = m, .r = r, .o = o, .n_rows = (rows), .n_outs = (outs), .type = type })
#define TILE_CASE(rows)                        \
	case rows:                             \
		if (n_outs == TILE_OUTS)       \
			TILE(rows, TILE_OUTS); \
		else                           \
			TILE(rows, 1);         \
		break

/* n_rows <= TILE_ROWS; n_outs is TILE_OUTS or 1. */
struct place {
	size_t r, o, n_rows, n_outs;
};

ALWAYS void tile_at(const struct mul *m, const struct place *at, enum dtype type)
{
	size_t r = at->r, o = at->o, n_outs = at->n_outs;

	switch (at->n_rows) {
		TILE_CASE(1);
		TILE_CASE(2);
		TILE_CASE(3);
#if TILE_ROWS > 3
		TILE_CASE(4);
		TILE_CASE(5);
		TILE_CASE(6);
#endif
	}
}

/* Rows [r, r + n_rows) by outputs [o, end): a few weight rows stay near while all rows of x
 * pass, in tiles of even height. */
ALWAYS void mul_block(const struct mul *m, const struct place *b, enum dtype type)
{
	size_t n_tiles = (b->n_rows + TILE_ROWS - 1) / TILE_ROWS, end = b->o + b->n_outs;

	for (size_t o = b->o, n; o < end; o += n) {
		n = end - o >= TILE_OUTS ? TILE_OUTS : 1;
		for (size_t i = 0; i < n_tiles; i++) {
			size_t r = b->n_rows * i / n_tiles, last = b->n_rows * (i + 1) / n_tiles;
			tile_at(m, &(struct place) { b->r + r, o, last - r, n }, type);
		}
	}
}

/* A single row: nothing to share, so as many weight rows at once as keep the units busy. */
ALWAYS void mul_row(const struct mul *m, enum dtype type)
{
	size_t r = 0, o = m->o_begin;

	for (; o + DECODE_OUTS <= m->o_end; o += DECODE_OUTS)
		TILE(1, DECODE_OUTS);
	for (; o < m->o_end; o++)
		TILE(1, 1);
}

static inline size_t block_of(size_t row_bytes, size_t tile)
{
	size_t n = row_bytes ? BLOCK_BYTES / row_bytes / tile * tile : tile;

	return n ? n : tile;
}

ALWAYS void mul_all(const struct mul *m, enum dtype type)
{
	size_t outs = block_of(m->n_in * v_bytes(type), TILE_OUTS);
	size_t rows = block_of(m->n_in * sizeof(float), TILE_ROWS);

	if (m->n_rows == 1) {
		mul_row(m, type);
		return;
	}
	for (size_t o = m->o_begin; o < m->o_end; o += outs)
		for (size_t r = 0; r < m->n_rows; r += rows)
			mul_block(m,
				&(struct place) { r, o, m->n_rows - r < rows ? m->n_rows - r : rows,
					m->o_end - o < outs ? m->o_end - o : outs },
				type);
}

static void mul_f32(const struct mul *m)
{
	mul_all(m, DTYPE_F32);
}

static void mul_f16(const struct mul *m)
{
	mul_all(m, DTYPE_F16);
}

static void mul_bf16(const struct mul *m)
{
	mul_all(m, DTYPE_BF16);
}

static void fill_mul(struct kernels *k)
{
	k->mul_f32 = mul_f32;
	k->mul_f16 = mul_f16;
	k->mul_bf16 = mul_bf16;
}
#endif
#endif
