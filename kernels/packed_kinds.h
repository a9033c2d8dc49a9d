/* packed_kinds.h - private to kernels/: what distinguishes the kinds of packed weights. */
#ifndef KERNELS_PACKED_KINDS_H
#define KERNELS_PACKED_KINDS_H
#include "kernels/half.h"
#include "kernels/packed.h"
#include "kernels/quant.h"
#include <string.h>

/* The scales of a block: f16 [16]; affine: f32 scale [16], f32 minimum [16]. Of a super-block: f16
 * d [16], f16 dmin [16] (Q6_K: none), and for each of its blocks u8 scale [16], u8 minimum [16]
 * (Q6_K: int8 scales of the first halves and of the second). */
#define PACKED_SCALE_BYTES  ((size_t)2 * PACKED_OUTS)
#define PACKED_SUPER_BLOCKS ((size_t)QUANT_SUPER / PACKED_BLOCK)
#define PACKED_SUPER_BYTES  ((2 + PACKED_SUPER_BLOCKS) * PACKED_SCALE_BYTES)
/* Of one row of a block of activations: q, d, e, lo, hi. */
#define PACKED_ROW_BYTES ((size_t)PACKED_BLOCK + 16)
/* A smaller block of activations is zeros: 127 / max stays finite. */
#define PACKED_TINY 1e-30f

static inline bool packed_is_narrow(enum packed_kind kind)
{
	return kind == PACKED_Q4_0 || kind == PACKED_Q4_K || kind == PACKED_AFFINE_4;
}

static inline bool packed_is_super(enum packed_kind kind)
{
	return kind == PACKED_Q4_K || kind == PACKED_Q5_K || kind == PACKED_Q6_K;
}

static inline bool packed_is_affine(enum packed_kind kind)
{
	return kind == PACKED_AFFINE_4 || kind == PACKED_AFFINE_8;
}

static inline bool packed_has_min(enum packed_kind kind)
{
	return kind == PACKED_Q4_K || kind == PACKED_Q5_K || packed_is_affine(kind);
}

static inline size_t packed_code_bytes_of(enum packed_kind kind)
{
	return (size_t)PACKED_OUTS * PACKED_BLOCK / (packed_is_narrow(kind) ? 2 : 1);
}

/* Of one block; of a super-block's, its part. */
static inline size_t packed_scale_bytes_of(enum packed_kind kind)
{
	return packed_is_super(kind)    ? PACKED_SUPER_BYTES / PACKED_SUPER_BLOCKS
	       : packed_is_affine(kind) ? 4 * PACKED_SCALE_BYTES
					: PACKED_SCALE_BYTES;
}

/* The code that stands for zero is 1 << this; nothing is taken off where there is a minimum. */
static inline unsigned packed_zero_shift(enum packed_kind kind)
{
	return kind == PACKED_Q4_0 ? 3 : kind == PACKED_Q6_K ? 5 : 7;
}

static inline struct packed_codes packed_codes_of(const void *tile, size_t height, size_t block)
{
	const int8_t *q = (const int8_t *)tile + block * height * PACKED_ROW_BYTES;
	const float *d = (const float *)(q + height * PACKED_BLOCK);
	const int32_t *lo = (const int32_t *)(d + 2 * height);

	return (struct packed_codes) { q, d, d + height, lo, lo + height };
}

/* The same of a tile that is being written. */
struct packed_places {
	int8_t *q;
	float *d, *e;
	int32_t *lo, *hi;
};

static inline void packed_note_codes(
	struct packed_places p, size_t r, float max, int32_t lo, int32_t hi)
{
	p.d[r] = max / 127;
	p.e[r] = -(p.d[r] * (float)(lo + hi));
	p.lo[r] = -lo;
	p.hi[r] = -hi;
}

/* Zeros, or what makes every output NaN. */
static inline void packed_no_codes(struct packed_places p, size_t r, bool nan)
{
	memset(p.q + r * PACKED_BLOCK, 0, PACKED_BLOCK);
	p.d[r] = p.e[r] = nan ? f32_of_bits(0x7fc00000) : 0;
	p.lo[r] = p.hi[r] = 0;
}

typedef void packed_round_block(const float *x, struct packed_places p, size_t r);

static inline void packed_round_with(const struct packed_round *a, packed_round_block *round)
{
	size_t height = packed_height(a->n_rows);

	for (size_t b = 0; b < a->n_in / PACKED_BLOCK; b++) {
		struct packed_codes c = packed_codes_of(a->out, height, b);
		struct packed_places p = { (int8_t *)c.q, (float *)c.d, (float *)c.e,
			(int32_t *)c.lo, (int32_t *)c.hi };
		for (size_t r = 0; r < a->n_rows; r++)
			round(a->x + r * a->x_stride + b * PACKED_BLOCK, p, r);
		for (size_t r = a->n_rows; r < height; r++)
			packed_no_codes(p, r, false);
	}
}
#endif
