/* packed.c - weights into panels, and where things lie in tiles of activations. */
#include "kernels/packed.h"
#include "kernels/packed_kinds.h"
#include "kernels/quant.h"
#include <assert.h>
#include <stdint.h>
#include <string.h>

enum packed_kind packed_kind_of(const struct weight *w)
{
	enum packed_kind kind = PACKED_NONE;

	switch (w->type) {
	case DTYPE_Q4_0: kind = PACKED_Q4_0; break;
	case DTYPE_Q8_0: kind = PACKED_Q8_0; break;
	case DTYPE_Q4_K: kind = PACKED_Q4_K; break;
	case DTYPE_Q5_K: kind = PACKED_Q5_K; break;
	case DTYPE_Q6_K: kind = PACKED_Q6_K; break;
	case DTYPE_AFFINE:
		if (w->group % PACKED_BLOCK == 0 && (w->bits == 4 || w->bits == 8))
			kind = w->bits == 4 ? PACKED_AFFINE_4 : PACKED_AFFINE_8;
		break;
	default: break;
	}
	return w->data && w->n_in > 0 ? kind : PACKED_NONE;
}

size_t packed_panel_bytes(enum packed_kind kind, size_t n_in)
{
	size_t n_blocks = n_in / PACKED_BLOCK;
	size_t n_heads = packed_is_super(kind) ? n_blocks / PACKED_SUPER_BLOCKS : 0;

	return n_blocks * packed_record_bytes_of(kind) + n_heads * packed_head_bytes_of(kind);
}

size_t packed_bytes(enum packed_kind kind, size_t n_out, size_t n_in)
{
	size_t n_panels = n_out / PACKED_OUTS + (n_out % PACKED_OUTS > 0), n_bytes;

	/* A panel is smaller than 64 bytes an element, far from SIZE_MAX for any n_in in memory. */
	if (__builtin_mul_overflow(n_panels, packed_panel_bytes(kind, n_in), &n_bytes))
		return SIZE_MAX;
	return n_bytes;
}

/* -- one output's codes and scales, block by block ------------------------------------------- */

/* What a block of one output is made of: 32 codes and whatever its scales are. */
struct block {
	uint8_t q[PACKED_BLOCK];
	uint16_t d, dmin;   /* f16 bits */
	float s, m;         /* of an affine block */
	uint8_t scale, min; /* of a super-block's part; Q6_K: int8 scales of the halves */
};

/* Six bits of scale and of minimum for sub-block i of Q4_K and Q5_K (ggml's packing: the upper
 * four sub-blocks keep their high bits above those of the lower). */
static void six_bits(const uint8_t scales[12], size_t i, struct block *b)
{
	if (i < 4) {
		b->scale = scales[i] & 63;
		b->min = scales[i + 4] & 63;
		return;
	}
	b->scale = (uint8_t)((scales[i + 4] & 15) | (scales[i - 4] >> 6 << 4));
	b->min = (uint8_t)((scales[i + 4] >> 4) | (scales[i] >> 6 << 4));
}

static void nibbles(uint8_t q[PACKED_BLOCK], const uint8_t *from, unsigned shift)
{
	for (size_t i = 0; i < PACKED_BLOCK; i++)
		q[i] = from[i] >> shift & 15;
}

static void take_q4_0(const uint8_t *row, size_t at, struct block *b)
{
	const struct block_q4_0 *s = (const struct block_q4_0 *)row + at;

	b->d = load_u16(s->d);
	for (size_t i = 0; i < 16; i++) {
		b->q[i] = s->qs[i] & 15;
		b->q[i + 16] = s->qs[i] >> 4;
	}
}

static void take_q8_0(const uint8_t *row, size_t at, struct block *b)
{
	const struct block_q8_0 *s = (const struct block_q8_0 *)row + at;

	b->d = load_u16(s->d);
	for (size_t i = 0; i < PACKED_BLOCK; i++)
		b->q[i] = (uint8_t)s->qs[i] ^ 0x80;
}

static void take_q4_k(const uint8_t *row, size_t at, struct block *b)
{
	const struct block_q4_k *s = (const struct block_q4_k *)row + at / PACKED_SUPER_BLOCKS;
	size_t i = at % PACKED_SUPER_BLOCKS;

	b->d = load_u16(s->d);
	b->dmin = load_u16(s->dmin);
	six_bits(s->scales, i, b);
	nibbles(b->q, s->qs + i / 2 * PACKED_BLOCK, i % 2 * 4);
}

static void take_q5_k(const uint8_t *row, size_t at, struct block *b)
{
	const struct block_q5_k *s = (const struct block_q5_k *)row + at / PACKED_SUPER_BLOCKS;
	size_t i = at % PACKED_SUPER_BLOCKS;

	b->d = load_u16(s->d);
	b->dmin = load_u16(s->dmin);
	six_bits(s->scales, i, b);
	nibbles(b->q, s->qs + i / 2 * PACKED_BLOCK, i % 2 * 4);
	for (size_t j = 0; j < PACKED_BLOCK; j++)
		b->q[j] |= (uint8_t)((s->qh[j] >> i & 1) << 4);
}

/* Halves of 128 elements: 64 bytes of low nibbles, 32 of two high bits each. */
static void take_q6_k(const uint8_t *row, size_t at, struct block *b)
{
	const struct block_q6_k *s = (const struct block_q6_k *)row + at / PACKED_SUPER_BLOCKS;
	size_t half = at % PACKED_SUPER_BLOCKS / 4, i = at % 4;
	const uint8_t *low = s->ql + half * 64 + i % 2 * 32, *high = s->qh + half * 32;

	b->d = load_u16(s->d);
	b->scale = (uint8_t)s->scales[half * 8 + i * 2];
	b->min = (uint8_t)s->scales[half * 8 + i * 2 + 1];
	nibbles(b->q, low, i / 2 * 4);
	for (size_t j = 0; j < PACKED_BLOCK; j++)
		b->q[j] |= (uint8_t)((high[j] >> (2 * i) & 3) << 4);
}

static void take_affine(const struct weight *w, size_t o, size_t at, struct block *b)
{
	const uint8_t *codes = (const uint8_t *)w->data + o * w->row_bytes;
	size_t first = at * PACKED_BLOCK, pair = o * (w->n_in / w->group) + first / w->group;

	b->s = weight_scale(w, w->scales, pair);
	b->m = -weight_scale(w, w->biases, pair);
	for (size_t i = first; i < first + PACKED_BLOCK; i++)
		b->q[i - first] = w->bits == 8 ? codes[i] : codes[i / 2] >> (i % 2 * 4) & 15;
}

static void take(
	const struct weight *w, enum packed_kind kind, size_t o, size_t at, struct block *b)
{
	const uint8_t *row = (const uint8_t *)w->data + o * w->row_bytes;

	memset(b, 0, sizeof *b);
	if (o >= w->n_out)
		return;
	switch (kind) {
	case PACKED_Q4_0: take_q4_0(row, at, b); break;
	case PACKED_Q8_0: take_q8_0(row, at, b); break;
	case PACKED_Q4_K: take_q4_k(row, at, b); break;
	case PACKED_Q5_K: take_q5_k(row, at, b); break;
	case PACKED_Q6_K: take_q6_k(row, at, b); break;
	case PACKED_AFFINE_4:
	case PACKED_AFFINE_8: take_affine(w, o, at, b); break;
	case PACKED_NONE:
	case PACKED_KINDS: assert(0);
	}
}

/* -- a panel --------------------------------------------------------------------------------- */

/* Four codes at a time: the word that a dot product takes them as. */
static void put_codes(enum packed_kind kind, uint8_t *record, size_t o, const struct block *b)
{
	bool narrow = packed_is_narrow(kind);

	for (size_t g = 0; g < (narrow ? 4 : 8); g++) {
		uint32_t four, upper;
		memcpy(&four, b->q + 4 * g, 4);
		if (narrow) {
			memcpy(&upper, b->q + 4 * g + 16, 4);
			four = (four & 0x0f0f0f0f) | (upper & 0x0f0f0f0f) << 4;
		}
		memcpy(record + (g * PACKED_OUTS + o) * 4, &four, 4);
	}
	for (size_t i = 0; packed_high_bits(kind) > 0 && i < PACKED_BLOCK; i++) {
		struct packed_high high = packed_high_of(kind, o, i / 4);
		record[high.at + i % 4] |= (uint8_t)(b->q[i] >> 4 << high.shift);
	}
}

static void put_scales(enum packed_kind kind, uint8_t *record, size_t o, const struct block *b)
{
	uint8_t *scales = record + packed_code_bytes_of(kind);

	if (packed_is_affine(kind)) {
		memcpy(scales + 4 * o, &b->s, 4);
		memcpy(scales + 2 * PACKED_F16_BYTES + 4 * o, &b->m, 4);
	} else if (packed_is_super(kind)) {
		scales[o] = b->scale;
		scales[PACKED_OUTS + o] = b->min;
	} else {
		memcpy(scales + 2 * o, &b->d, 2);
	}
}

static void put_head(enum packed_kind kind, uint8_t *head, size_t o, const struct block *b)
{
	memcpy(head + 2 * o, &b->d, 2);
	if (packed_has_min(kind))
		memcpy(head + PACKED_F16_BYTES + 2 * o, &b->dmin, 2);
}

void packed_fill(const struct weight *w, size_t panel, void *out)
{
	enum packed_kind kind = packed_kind_of(w);
	struct block b;

	memset(out, 0, packed_panel_bytes(kind, w->n_in));
	for (size_t o = 0; o < PACKED_OUTS; o++)
		for (size_t at = 0; at < w->n_in / PACKED_BLOCK; at++) {
			uint8_t *record = (uint8_t *)out + packed_record_at(kind, at);
			take(w, kind, panel * PACKED_OUTS + o, at, &b);
			put_codes(kind, record, o, &b);
			put_scales(kind, record, o, &b);
			if (packed_is_super(kind) && at % PACKED_SUPER_BLOCKS == 0)
				put_head(kind, record - packed_head_bytes_of(kind), o, &b);
		}
}

/* -- tiles of activations -------------------------------------------------------------------- */

size_t packed_tiles(size_t n_rows)
{
	return (n_rows + PACKED_ROWS - 1) / PACKED_ROWS;
}

size_t packed_tile_row(size_t n_rows, size_t tile)
{
	return n_rows * tile / packed_tiles(n_rows);
}

size_t packed_rows_bytes(size_t n_rows, size_t n_in)
{
	return n_rows * PACKED_ROW_BYTES * (n_in / PACKED_BLOCK);
}

bool packed_pays(unsigned used)
{
	return (used & (KERNELS_AVX2 | KERNELS_DOT)) != 0;
}
