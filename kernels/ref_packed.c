/* ref_packed.c - plain C of the int8 products: the definition of correct. */
#include "kernels/isa.h"
#include "kernels/packed_kinds.h"
#include <float.h>
#include <math.h>
#include <string.h>

static float largest(const float *x, size_t n_blocks)
{
	float max = 0;

	for (size_t i = 0; i < n_blocks * PACKED_BLOCK; i++) {
		if (!(fabsf(x[i]) <= FLT_MAX))
			return NAN;
		max = fmaxf(max, fabsf(x[i]));
	}
	return max;
}

static void round_block(const float *x, float factor, struct packed_place p)
{
	int32_t lo = 0, hi = 0;

	for (size_t i = 0; i < PACKED_BLOCK; i++) {
		p.q[i] = (int8_t)lrintf(x[i] * factor);
		*(i < PACKED_BLOCK / 2 ? &lo : &hi) += p.q[i];
	}
	packed_note_sums(p, lo, hi);
}

static void packed_round(const struct packed_round *a)
{
	packed_round_with(a, largest, round_block);
}

/* What one output's block is worth. */
struct worth {
	float s, s_hi, m; /* s_hi: of Q6_K's second half */
};

static struct worth worth_of(enum packed_kind kind, const uint8_t *panel, size_t b, size_t o)
{
	const uint8_t *scales = panel + packed_record_at(kind, b) + packed_code_bytes_of(kind);
	struct worth w = { 0 };

	if (packed_is_affine(kind)) {
		memcpy(&w.s, scales + 4 * o, 4);
		memcpy(&w.m, scales + 2 * PACKED_F16_BYTES + 4 * o, 4);
		return w;
	}
	if (!packed_is_super(kind))
		return (struct worth) { f32_of_f16(load_u16(scales + 2 * o)), 0, 0 };
	const uint8_t *head =
		panel + packed_record_at(kind, b / PACKED_SUPER_BLOCKS * PACKED_SUPER_BLOCKS) -
		packed_head_bytes_of(kind);
	float d = f32_of_f16(load_u16(head + 2 * o));
	if (kind == PACKED_Q6_K)
		return (struct worth) { d * (float)(int8_t)scales[o],
			d * (float)(int8_t)scales[PACKED_OUTS + o], 0 };
	float dmin = f32_of_f16(load_u16(head + PACKED_F16_BYTES + 2 * o));
	return (struct worth) { d * (float)scales[o], 0, dmin * (float)scales[PACKED_OUTS + o] };
}

static int32_t code_at(enum packed_kind kind, const uint8_t *record, size_t o, size_t i)
{
	size_t g = i / 4, bits = packed_high_bits(kind);
	struct packed_high high = packed_high_of(kind, o, g);
	int32_t code;

	if (!packed_is_narrow(kind))
		return record[(g * PACKED_OUTS + o) * 4 + i % 4];
	code = record[(g % 4 * PACKED_OUTS + o) * 4 + i % 4] >> (g / 4 * 4) & 15;
	if (bits > 0)
		code |= (record[high.at + i % 4] >> high.shift & ((1 << bits) - 1)) << 4;
	return code;
}

static int32_t dot(
	enum packed_kind kind, const uint8_t *record, size_t o, const int8_t *q, size_t half)
{
	int32_t sum = 0;

	for (size_t i = half * 16; i < half * 16 + 16; i++)
		sum += code_at(kind, record, o, i) * q[i];
	return sum;
}

/* One row of a tile, and one output of a panel. */
struct pair {
	enum packed_kind kind;
	const void *tile;
	size_t height, r;
	const uint8_t *panel;
	size_t o;
};

static float add_block(const struct pair *p, size_t b, float sum)
{
	const enum packed_kind kind = p->kind;
	const uint8_t *record = p->panel + packed_record_at(kind, b);
	const struct worth w = worth_of(kind, p->panel, b, p->o);
	const struct packed_codes x = packed_codes_of(p->tile, p->height, b);
	const int8_t *q = x.q + p->r * PACKED_BLOCK;
	int32_t lo = dot(kind, record, p->o, q, 0), hi = dot(kind, record, p->o, q, 1);
	int32_t zero = packed_has_min(kind) ? 0 : 1 << packed_zero_shift(kind);

	lo += zero * x.lo[p->r];
	hi += zero * x.hi[p->r];
	if (kind == PACKED_Q6_K) {
		sum = __builtin_fmaf((float)lo, w.s, sum);
		return __builtin_fmaf((float)hi, w.s_hi, sum);
	}
	sum = __builtin_fmaf((float)(lo + hi), w.s, sum);
	return packed_has_min(kind) ? __builtin_fmaf(w.m, (float)x.all[p->r], sum) : sum;
}

static float output(const struct pair *p, size_t n_blocks)
{
	float acc = 0;

	for (size_t b = 0, n; b < n_blocks; b += n) {
		float sum = 0;
		n = n_blocks - b < PACKED_GROUP ? n_blocks - b : PACKED_GROUP;
		for (size_t i = b; i < b + n; i++)
			sum = add_block(p, i, sum);
		acc = __builtin_fmaf(sum, packed_codes_of(p->tile, p->height, b).d[p->r], acc);
	}
	return acc;
}

static void mul_tile(const struct packed_mul *m, size_t tile)
{
	size_t first = packed_tile_row(m->n_rows, tile);
	struct pair p = { .kind = m->kind,
		.tile = (const char *)m->x + packed_rows_bytes(first, m->n_in),
		.height = packed_tile_row(m->n_rows, tile + 1) - first };

	for (; p.r < p.height; p.r++)
		for (size_t o = m->o_begin; o < m->o_end; o++) {
			p.panel = (const uint8_t *)m->w +
				  o / PACKED_OUTS * packed_panel_bytes(m->kind, m->n_in);
			p.o = o % PACKED_OUTS;
			m->out[(first + p.r) * m->out_stride + o] =
				output(&p, m->n_in / PACKED_BLOCK);
		}
}

static void packed_mul(const struct packed_mul *m)
{
	for (size_t tile = 0; tile < packed_tiles(m->n_rows); tile++)
		mul_tile(m, tile);
}

void ref_fill_packed(struct kernels *k)
{
	k->packed_round = packed_round;
	k->packed_mul = packed_mul;
}
