/* x86_bf16.c - products of bf16 with bf16 by AVX512-BF16, weights in the order of their file.
 *
 * A tile is up to six rows by four outputs, each sum in sixteen lanes of its own, as in
 * vec_mul.h: 24 chains of vdpbf16ps to ten loads. */
#include "kernels/isa.h"

#if defined(__AVX512BF16__)
#include "kernels/vec.h"

#define ALWAYS static inline __attribute__((always_inline))
/* What stays in the second-level cache together: weights, and rows to meet them. */
#define WEIGHT_BYTES ((size_t)512 << 10)
#define ROW_BYTES    ((size_t)192 << 10)
/* Outputs of a tile, and of one of one or two rows: streams enough to keep memory busy. */
#define PAIR_OUTS   4
#define STREAM_OUTS 8
#define STREAM_ROWS 2

/* Constants, once inlined. */
struct shape {
	size_t n_rows, n_outs;
};

ALWAYS __m512bh load_pairs(const char *p)
{
	return (__m512bh)_mm512_loadu_si512(p);
}

ALWAYS __m512bh load_last(const char *p, size_t n)
{
	return (__m512bh)_mm512_maskz_loadu_epi16((__mmask32)((1u << n) - 1), p);
}

/* The last n < 32 elements of x and w, padded with zeros. */
ALWAYS void tile_tail(struct shape s, const struct mul_pairs *m, const char *const at[2], size_t n,
	v16 acc[TILE_ROWS][STREAM_OUTS])
{
	for (size_t o = 0; o < s.n_outs; o++) {
		const __m512bh w = load_last(at[1] + o * m->w_stride, n);
		for (size_t r = 0; r < s.n_rows; r++)
			acc[r][o] = _mm512_dpbf16_ps(
				acc[r][o], load_last(at[0] + r * m->x_stride * 2, n), w);
	}
}

/* The processor's own prefetch follows the rows of weights best when left alone. */
ALWAYS void tile_run(
	struct shape s, const struct mul_pairs *m, const char *x, const char *w, float *out)
{
	const size_t x_step = m->x_stride * 2;
	v16 acc[TILE_ROWS][STREAM_OUTS];
	size_t i = 0;

	for (size_t r = 0; r < s.n_rows; r++)
		for (size_t o = 0; o < s.n_outs; o++)
			acc[r][o] = v_set(0);
	for (; i + 32 <= m->n_in; i += 32, x += 64, w += 64) {
		__m512bh v[STREAM_OUTS];
		for (size_t o = 0; o < s.n_outs; o++)
			v[o] = load_pairs(w + o * m->w_stride);
		for (size_t r = 0; r < s.n_rows; r++) {
			const __m512bh row = load_pairs(x + r * x_step);
			for (size_t o = 0; o < s.n_outs; o++)
				acc[r][o] = _mm512_dpbf16_ps(acc[r][o], row, v[o]);
		}
	}
	if (i < m->n_in)
		tile_tail(s, m, (const char *const[]) { x, w }, m->n_in - i, acc);
	for (size_t r = 0; r < s.n_rows; r++, out += m->out_stride) {
		size_t o = 0;
		for (; o + 4 <= s.n_outs; o += 4)
			v_sum4(out + o, &acc[r][o]);
		for (; o < s.n_outs; o++)
			out[o] = v_sum(acc[r][o]);
	}
}

/* Rows r.. and outputs o..: whose code is picked here. */
ALWAYS void tile_at(const struct mul_pairs *m, size_t r, size_t o, struct shape s)
{
	const char *x = (const char *)m->x + r * m->x_stride * 2;
	const char *w = (const char *)m->w + o * m->w_stride;
	float *out = m->out + r * m->out_stride + o;

#define TILE(rows, outs) tile_run((struct shape) { rows, outs }, m, x, w, out)
#define TILE_CASE(rows, outs)             \
	case rows:                        \
		if (s.n_outs == (outs))   \
			TILE(rows, outs); \
		else                      \
			TILE(rows, 1);    \
		break
	switch (s.n_rows) {
		TILE_CASE(1, STREAM_OUTS);
		TILE_CASE(2, STREAM_OUTS);
		TILE_CASE(3, PAIR_OUTS);
		TILE_CASE(4, PAIR_OUTS);
		TILE_CASE(5, PAIR_OUTS);
		TILE_CASE(6, PAIR_OUTS);
	}
#undef TILE
#undef TILE_CASE
}

/* Rows [r, r + n_rows) in tiles of nearly even height, by outputs [o, end). */
static void mul_block(const struct mul_pairs *m, const size_t rows[2], const size_t outs[2])
{
	size_t n_tiles = (rows[1] - rows[0] + TILE_ROWS - 1) / TILE_ROWS;
	size_t width = rows[1] - rows[0] <= STREAM_ROWS ? STREAM_OUTS : PAIR_OUTS;

	for (size_t o = outs[0], n; o < outs[1]; o += n) {
		n = outs[1] - o >= width ? width : 1;
		for (size_t i = 0; i < n_tiles; i++) {
			size_t r = (rows[1] - rows[0]) * i / n_tiles;
			size_t last = (rows[1] - rows[0]) * (i + 1) / n_tiles;
			tile_at(m, rows[0] + r, o, (struct shape) { last - r, n });
		}
	}
}

static size_t fitting(size_t bytes, size_t n_in, size_t tile)
{
	size_t n = bytes / (2 * n_in + 1) / tile * tile;

	return n ? n : tile;
}

static void mul_pairs(const struct mul_pairs *m)
{
	size_t outs = fitting(WEIGHT_BYTES, m->n_in, STREAM_OUTS);
	size_t rows = fitting(ROW_BYTES, m->n_in, TILE_ROWS);

	for (size_t o = m->o_begin; o < m->o_end; o += outs)
		for (size_t r = 0; r < m->n_rows; r += rows)
			mul_block(m,
				(const size_t[]) { r, m->n_rows - r < rows ? m->n_rows : r + rows },
				(const size_t[]) { o, m->o_end - o < outs ? m->o_end : o + outs });
}

void bf16_fill(struct kernels *k)
{
	k->mul_pairs = mul_pairs;
}

#else

void bf16_fill(struct kernels *k)
{
	(void)k;
}
#endif
