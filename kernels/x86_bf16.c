/* x86_bf16.c - products of bf16 with bf16 by AVX512-BF16, weights in the order of their file.
 *
 * A tile is up to six rows by four outputs, each sum in sixteen lanes of its own, as in
 * vec_mul.h: 24 chains of vdpbf16ps to ten loads. The tile's rows are one stream (pairs.h); while
 * tile after tile meets the weights of its outputs, each asks for its share of the next ones. */
#include "kernels/isa.h"

#if defined(__AVX512BF16__)
#include "kernels/pairs.h"
#include "kernels/vec.h"

#define ALWAYS static inline __attribute__((always_inline))
/* Rows that stay in the second-level cache while all weights pass. */
#define TILES_BYTES ((size_t)448 << 10)
/* Outputs of a tile, and of one of one or two rows: streams enough to keep memory busy. */
#define PAIR_OUTS   4
#define STREAM_OUTS 8
#define STREAM_ROWS 2
#define STEP_BYTES  ((size_t)PAIRS_STEP * 2)

/* Constants, once inlined. */
struct shape {
	size_t n_rows, n_outs;
};

/* A tile by some outputs. */
struct patch {
	const char *x, *w;
	size_t n_in, w_stride;
	size_t turn, turns; /* every turns-th step asks for the next outputs'; 0: none does */
	float *out;
	size_t out_stride;
};

ALWAYS __m512bh load_pairs(const char *p)
{
	return (__m512bh)_mm512_loadu_si512(p);
}

ALWAYS __m512bh load_last(const char *p, size_t n)
{
	return (__m512bh)_mm512_maskz_loadu_epi16((__mmask32)((1u << n) - 1), p);
}

ALWAYS void add_step(struct shape s, const char *x, const __m512bh v[STREAM_OUTS],
	v16 acc[TILE_ROWS][STREAM_OUTS])
{
	for (size_t r = 0; r < s.n_rows; r++) {
		const __m512bh row = load_pairs(x + r * STEP_BYTES);
		for (size_t o = 0; o < s.n_outs; o++)
			acc[r][o] = _mm512_dpbf16_ps(acc[r][o], row, v[o]);
	}
}

/* Without tiles that share them, the processor's own prefetch follows the rows of weights best
 * when left alone. */
ALWAYS void add_steps(struct shape s, const struct patch *p, v16 acc[TILE_ROWS][STREAM_OUTS])
{
	const char *x = p->x, *w = p->w;
	size_t until = p->turns ? p->turn : SIZE_MAX, i = 0;
	__m512bh v[STREAM_OUTS];

	for (; i + PAIRS_STEP <= p->n_in; i += PAIRS_STEP) {
		if (until-- == 0) {
			for (size_t o = s.n_outs; o < 2 * s.n_outs; o++)
				_mm_prefetch(w + o * p->w_stride, _MM_HINT_T0);
			until = p->turns - 1;
		}
		for (size_t o = 0; o < s.n_outs; o++)
			v[o] = load_pairs(w + o * p->w_stride);
		add_step(s, x, v, acc);
		x += s.n_rows * STEP_BYTES;
		w += STEP_BYTES;
	}
	if (i < p->n_in) {
		for (size_t o = 0; o < s.n_outs; o++)
			v[o] = load_last(w + o * p->w_stride, p->n_in - i);
		add_step(s, x, v, acc);
	}
}

ALWAYS void run_patch(struct shape s, const struct patch *p)
{
	v16 acc[TILE_ROWS][STREAM_OUTS];
	float *out = p->out;

	for (size_t r = 0; r < s.n_rows; r++)
		for (size_t o = 0; o < s.n_outs; o++)
			acc[r][o] = v_set(0);
	add_steps(s, p, acc);
	for (size_t r = 0; r < s.n_rows; r++, out += p->out_stride) {
		size_t o = 0;
		for (; o + 4 <= s.n_outs; o += 4)
			v_sum4(out + o, &acc[r][o]);
		for (; o < s.n_outs; o++)
			out[o] = v_sum(acc[r][o]);
	}
}

/* Whose code is picked here. */
ALWAYS void run_shape(struct shape s, const struct patch *p)
{
#define PATCH(rows, outs) run_patch((struct shape) { rows, outs }, p)
#define PATCH_CASE(rows, outs)             \
	case rows:                         \
		if (s.n_outs == (outs))    \
			PATCH(rows, outs); \
		else                       \
			PATCH(rows, 1);    \
		break
	switch (s.n_rows) {
		PATCH_CASE(1, STREAM_OUTS);
		PATCH_CASE(2, STREAM_OUTS);
		PATCH_CASE(3, PAIR_OUTS);
		PATCH_CASE(4, PAIR_OUTS);
		PATCH_CASE(5, PAIR_OUTS);
		PATCH_CASE(6, PAIR_OUTS);
	}
#undef PATCH
#undef PATCH_CASE
}

/* Tiles [begin, end) by n_outs outputs from o on. */
static void run_tiles(const struct mul_pairs *m, const size_t tiles[2], size_t o, size_t n_outs)
{
	struct patch p = { .w = (const char *)m->w + o * m->w_stride,
		.n_in = m->n_in,
		.w_stride = m->w_stride,
		.turns = tiles[1] - tiles[0],
		.out_stride = m->out_stride };

	if (p.turns == 1)
		p.turns = 0;
	for (size_t i = tiles[0]; i < tiles[1]; i++) {
		size_t r = packed_tile_row(m->n_rows, i);
		size_t height = packed_tile_row(m->n_rows, i + 1) - r;
		p.x = (const char *)m->x + pairs_rows_bytes(r, m->n_in);
		p.out = m->out + r * m->out_stride + o;
		p.turn = i - tiles[0];
		run_shape((struct shape) { height, n_outs }, &p);
	}
}

static void mul_pairs(const struct mul_pairs *m)
{
	const size_t width = m->n_rows <= STREAM_ROWS ? STREAM_OUTS : PAIR_OUTS;
	size_t n_tiles = packed_tiles(m->n_rows);
	size_t at_once = TILES_BYTES / (pairs_rows_bytes(PACKED_ROWS, m->n_in) + 1) + 1;

	for (size_t i = 0; i < n_tiles; i += at_once) {
		size_t last = n_tiles - i < at_once ? n_tiles : i + at_once;
		for (size_t o = m->o_begin, n; o < m->o_end; o += n) {
			n = m->o_end - o >= width ? width : 1;
			run_tiles(m, (const size_t[]) { i, last }, o, n);
		}
	}
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
