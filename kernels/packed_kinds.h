/* packed_kinds.h - private to kernels/: what distinguishes the kinds of packed weights. */
#ifndef KERNELS_PACKED_KINDS_H
#define KERNELS_PACKED_KINDS_H
#include "kernels/half.h"
#include "kernels/packed.h"
#include "kernels/quant.h"
#include <string.h>

/* What follows the codes of a block: f16 scales [32]; affine: f32 scales [32], f32 minima [32]. Of
 * a super-block's blocks: u8 scales [32], u8 minima [32] (Q6_K: int8 scales of the first halves and
 * of the second), and before the first of them, once, f16 d [32], f16 dmin [32] (Q6_K: no dmin). */
#define PACKED_SUPER_BLOCKS ((size_t)QUANT_SUPER / PACKED_BLOCK)
#define PACKED_F16_BYTES    ((size_t)2 * PACKED_OUTS)
/* Of one row of a block of activations: q, d, all, lo, hi. */
#define PACKED_ROW_BYTES ((size_t)PACKED_BLOCK + 16)
/* A smaller group of activations is zeros: 127 / max stays finite. */
#define PACKED_TINY 1e-30f

/* Fifth and sixth bits, which lie apart from the lower four. */
static inline unsigned packed_high_bits(enum packed_kind kind)
{
	return kind == PACKED_Q5_K ? 1 : kind == PACKED_Q6_K ? 2 : 0;
}

static inline bool packed_is_narrow(enum packed_kind kind)
{
	return kind != PACKED_Q8_0 && kind != PACKED_AFFINE_8;
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
	size_t bits = packed_is_narrow(kind) ? 4 + packed_high_bits(kind) : 8;

	return (size_t)PACKED_OUTS * PACKED_BLOCK / 8 * bits;
}

/* Of a block, its scales included. */
static inline size_t packed_record_bytes_of(enum packed_kind kind)
{
	return packed_code_bytes_of(kind) +
	       (packed_is_affine(kind) ? 4 * PACKED_F16_BYTES : PACKED_F16_BYTES);
}

/* Of what precedes a super-block's records. */
static inline size_t packed_head_bytes_of(enum packed_kind kind)
{
	if (!packed_is_super(kind))
		return 0;
	return kind == PACKED_Q6_K ? PACKED_F16_BYTES : 2 * PACKED_F16_BYTES;
}

/* From a panel to the record of a block. */
static inline size_t packed_record_at(enum packed_kind kind, size_t block)
{
	size_t n_heads = packed_is_super(kind) ? block / PACKED_SUPER_BLOCKS + 1 : 0;

	return block * packed_record_bytes_of(kind) + n_heads * packed_head_bytes_of(kind);
}

/* The high bits of elements 4g..4g+3 of output o: where the first one's byte lies in a record,
 * and how far up in it. */
struct packed_high {
	size_t at;
	unsigned shift;
};

static inline struct packed_high packed_high_of(enum packed_kind kind, size_t o, size_t g)
{
	unsigned bits = packed_high_bits(kind), fields = bits ? 8 / bits : 1;
	size_t vector = o / 16 * bits + g / fields;

	return (struct packed_high) {
		(size_t)PACKED_OUTS * PACKED_BLOCK / 2 + vector * 64 + o % 16 * 4,
		(unsigned)(g % fields) * bits,
	};
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
	const int32_t *all = (const int32_t *)(d + height);

	return (struct packed_codes) { q, d, all, all + height, all + 2 * height };
}

/* One row of a block that is being written. */
struct packed_place {
	int8_t *q;
	float *d;
	int32_t *all, *lo, *hi;
};

static inline struct packed_place packed_place_of(
	void *tile, size_t height, size_t block, size_t row)
{
	struct packed_codes c = packed_codes_of(tile, height, block);

	return (struct packed_place) { (int8_t *)c.q + row * PACKED_BLOCK, (float *)c.d + row,
		(int32_t *)c.all + row, (int32_t *)c.lo + row, (int32_t *)c.hi + row };
}

static inline void packed_note_sums(struct packed_place p, int32_t lo, int32_t hi)
{
	*p.all = -(lo + hi);
	*p.lo = -lo;
	*p.hi = -hi;
}

/* Zeros, or what makes every output NaN. */
static inline void packed_no_codes(struct packed_place p, bool nan)
{
	memset(p.q, 0, PACKED_BLOCK);
	*p.d = nan ? f32_of_bits(0x7fc00000) : 0;
	packed_note_sums(p, 0, 0);
}

/* max|x| of n_blocks blocks, or NaN where something is not finite. */
typedef float packed_largest(const float *x, size_t n_blocks);
/* A block's codes, x · factor, and their sums. */
typedef void packed_round_block(const float *x, float factor, struct packed_place p);

static inline __attribute__((always_inline)) void packed_round_with(
	const struct packed_round *a, packed_largest *largest, packed_round_block *round)
{
	size_t n_blocks = a->n_in / PACKED_BLOCK;

	for (size_t b = 0, n; b < n_blocks; b += n) {
		n = n_blocks - b < PACKED_GROUP ? n_blocks - b : PACKED_GROUP;
		for (size_t r = 0; r < a->n_rows; r++) {
			const float *x = a->x + r * a->x_stride + b * PACKED_BLOCK;
			float max = largest(x, n);
			for (size_t i = 0; i < n; i++) {
				struct packed_place p =
					packed_place_of(a->out, a->n_rows, b + i, r);
				if (!(max >= PACKED_TINY)) {
					packed_no_codes(p, max != max);
					continue;
				}
				*p.d = max / 127;
				round(x + i * PACKED_BLOCK, 127 / max, p);
			}
		}
	}
}
#endif
