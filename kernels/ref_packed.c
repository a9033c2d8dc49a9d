/* ref_packed.c - plain C of the int8 products: the definition of correct. */
#include "kernels/isa.h"
#include "kernels/packed_kinds.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* max|x|, or NaN where something is not finite. */
static float largest(const float *x)
{
	float max = 0;

	for (size_t i = 0; i < PACKED_BLOCK; i++) {
		if (!(fabsf(x[i]) <= FLT_MAX))
			return NAN;
		max = fmaxf(max, fabsf(x[i]));
	}
	return max;
}

static void round_block(const float *x, struct packed_places p, size_t r)
{
	float max = largest(x);
	int8_t *q = p.q + r * PACKED_BLOCK;
	int32_t lo = 0, hi = 0;

	if (!(max >= PACKED_TINY)) {
		packed_no_codes(p, r, isnan(max));
		return;
	}
	for (size_t i = 0; i < PACKED_BLOCK; i++) {
		q[i] = (int8_t)lrintf(x[i] * (127 / max));
		*(i < PACKED_BLOCK / 2 ? &lo : &hi) += q[i];
	}
	packed_note_codes(p, r, max, lo, hi);
}

static void packed_round(const struct packed_round *a)
{
	packed_round_with(a, round_block);
}

/* What one output's block is worth. */
struct worth {
	float s, s_hi, m; /* s_hi: of the second half where that differs */
};

static struct worth worth_of(enum packed_kind kind, const uint8_t *scales, size_t b, size_t o)
{
	if (packed_is_affine(kind)) {
		float both[2];
		scales += b * 4 * PACKED_SCALE_BYTES + 4 * o;
		memcpy(&both[0], scales, 4);
		memcpy(&both[1], scales + 2 * PACKED_SCALE_BYTES, 4);
		return (struct worth) { both[0], 0, both[1] };
	}
	if (!packed_is_super(kind)) {
		float s = f32_of_f16(load_u16(scales + b * PACKED_SCALE_BYTES + 2 * o));
		return (struct worth) { s, s, 0 };
	}
	scales += b / PACKED_SUPER_BLOCKS * PACKED_SUPER_BYTES;
	const uint8_t *small = scales + (2 + b % PACKED_SUPER_BLOCKS) * PACKED_SCALE_BYTES;
	float d = f32_of_f16(load_u16(scales + 2 * o));
	float dmin = f32_of_f16(load_u16(scales + PACKED_SCALE_BYTES + 2 * o));
	if (kind == PACKED_Q6_K)
		return (struct worth) { d * (float)(int8_t)small[o],
			d * (float)(int8_t)small[PACKED_OUTS + o], 0 };
	return (struct worth) { d * (float)small[o], 0, dmin * (float)small[PACKED_OUTS + o] };
}

static int32_t code_at(enum packed_kind kind, const uint8_t *codes, size_t o, size_t i)
{
	if (packed_is_narrow(kind))
		return codes[i % 16 / 4 * 64 + o * 4 + i % 4] >> (i / 16 * 4) & 15;
	return codes[i / 4 * 64 + o * 4 + i % 4];
}

static int32_t dot(
	enum packed_kind kind, const uint8_t *codes, size_t o, const int8_t *q, size_t half)
{
	int32_t sum = 0;

	for (size_t i = half * 16; i < half * 16 + 16; i++)
		sum += code_at(kind, codes, o, i) * q[i];
	return sum;
}

static float add_block(enum packed_kind kind, const uint8_t *codes, size_t o, const struct worth *w,
	const struct packed_codes *x, size_t r, float acc)
{
	const int8_t *q = x->q + r * PACKED_BLOCK;
	int32_t lo = dot(kind, codes, o, q, 0), hi = dot(kind, codes, o, q, 1);
	int32_t zero = packed_has_min(kind) ? 0 : 1 << packed_zero_shift(kind);

	lo += zero * x->lo[r];
	hi += zero * x->hi[r];
	if (kind == PACKED_Q6_K) {
		acc = __builtin_fmaf((float)lo, w->s * x->d[r], acc);
		return __builtin_fmaf((float)hi, w->s_hi * x->d[r], acc);
	}
	acc = __builtin_fmaf((float)(lo + hi), w->s * x->d[r], acc);
	return packed_has_min(kind) ? __builtin_fmaf(w->m, x->e[r], acc) : acc;
}

static float output(const struct packed_mul *m, size_t o, const void *tile, size_t height, size_t r)
{
	size_t n_blocks = m->n_in / PACKED_BLOCK, n_codes = packed_code_bytes_of(m->kind);
	const uint8_t *panel =
		(const uint8_t *)m->w + o / PACKED_OUTS * packed_panel_bytes(m->kind, m->n_in);
	float acc = 0;

	o %= PACKED_OUTS;
	for (size_t b = 0; b < n_blocks; b++) {
		struct packed_codes x = packed_codes_of(tile, height, b);
		struct worth w = worth_of(m->kind, panel + n_blocks * n_codes, b, o);
		acc = add_block(m->kind, panel + b * n_codes, o, &w, &x, r, acc);
	}
	return acc;
}

static void packed_mul(const struct packed_mul *m)
{
	for (size_t r = 0; r < m->n_rows; r++) {
		size_t first = r / PACKED_ROWS * PACKED_ROWS;
		size_t left = m->n_rows - first < PACKED_ROWS ? m->n_rows - first : PACKED_ROWS;
		const char *tile = (const char *)m->x + packed_rows_bytes(first, m->n_in);
		for (size_t o = m->o_begin; o < m->o_end; o++)
			m->out[r * m->out_stride + o] =
				output(m, o, tile, packed_height(left), r - first);
	}
}

void ref_fill_packed(struct kernels *k)
{
	k->packed_round = packed_round;
	k->packed_mul = packed_mul;
}
