/* arm_dot.c - int8 products with NEON's dot product: four outputs by up to six rows at once.
 *
 * Four elements of four outputs are one register, and a row's block of activations two, of which
 * the instruction takes four elements by their place. It multiplies signed codes: those of eight
 * bits are taken less 128, which is what stands for zero in Q8_0 and is added again for the
 * others. */
#include "kernels/isa.h"

#if defined(__ARM_FEATURE_DOTPROD)
#include "kernels/packed_walk.h"
#include <arm_neon.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define ALWAYS      static inline __attribute__((always_inline))
#define STRIP       4
#define STRIPS_MOST ((size_t)PACKED_OUTS / STRIP)
/* Tiles of rows that pass over a panel while both stay in the second-level cache. */
#define TILES_BYTES ((size_t)192 << 10)

/* Constants of what is inlined. */
struct shape {
	enum packed_kind kind;
	size_t height, n_strips;
};

typedef int32x4_t int_sums[PACKED_ROWS][STRIPS_MOST];
typedef float32x4_t float_sums[PACKED_ROWS][STRIPS_MOST];

/* Elements 4g..4g+3 of the four outputs from o on, signed. */
ALWAYS int8x16_t load_word(enum packed_kind kind, const uint8_t *record, size_t g, size_t o)
{
	const unsigned bits = packed_high_bits(kind);
	uint8x16_t v = vld1q_u8(record + (packed_is_narrow(kind) ? g % 4 : g) * 128 + o * 4);

	if (!packed_is_narrow(kind))
		return vreinterpretq_s8_u8(veorq_u8(v, vdupq_n_u8(0x80)));
	v = g < 4 ? vandq_u8(v, vdupq_n_u8(15)) : vshrq_n_u8(v, 4);
	if (bits > 0) {
		const struct packed_high high = packed_high_of(kind, o, g);
		const uint8x16_t mask = vdupq_n_u8((uint8_t)(((1u << bits) - 1) << 4));
		uint8x16_t h = vshlq_u8(
			vld1q_u8(record + high.at), vdupq_n_s8((int8_t)(4 - (int)high.shift)));
		v = vorrq_u8(v, vandq_u8(h, mask));
	}
	return vreinterpretq_s8_u8(v);
}

ALWAYS float32x4_t load_f16(const uint8_t *p)
{
	uint16x4_t half;

	memcpy(&half, p, sizeof half);
	return vcvt_f32_f16(vreinterpret_f16_u16(half));
}

ALWAYS uint16x4_t load_bytes(const uint8_t *p)
{
	uint32_t four;

	memcpy(&four, p, sizeof four);
	return vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))));
}

ALWAYS float32x4_t load_u8(const uint8_t *p)
{
	return vcvtq_f32_u32(vmovl_u16(load_bytes(p)));
}

ALWAYS float32x4_t load_i8(const uint8_t *p)
{
	int32x4_t v = vreinterpretq_s32_u32(vmovl_u16(load_bytes(p)));

	return vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(v, 24), 24));
}

/* What a block is worth to four outputs; s_hi as in ref_packed.c. */
struct worth {
	float32x4_t s, s_hi, m;
};

ALWAYS struct worth load_worth(
	enum packed_kind kind, const uint8_t *head, const uint8_t *record, size_t o)
{
	const uint8_t *scales = record + packed_code_bytes_of(kind);
	struct worth w;

	if (packed_is_affine(kind)) {
		w.s = w.s_hi = vld1q_f32((const float *)scales + o);
		w.m = vld1q_f32((const float *)(scales + 2 * PACKED_F16_BYTES) + o);
	} else if (!packed_is_super(kind)) {
		w.s = w.s_hi = w.m = load_f16(scales + 2 * o);
	} else if (kind == PACKED_Q6_K) {
		float32x4_t d = load_f16(head + 2 * o);
		w.s = vmulq_f32(d, load_i8(scales + o));
		w.s_hi = w.m = vmulq_f32(d, load_i8(scales + PACKED_OUTS + o));
	} else {
		float32x4_t d = load_f16(head + 2 * o);
		float32x4_t dmin = load_f16(head + PACKED_F16_BYTES + 2 * o);
		w.s = w.s_hi = vmulq_f32(d, load_u8(scales + o));
		w.m = vmulq_f32(dmin, load_u8(scales + PACKED_OUTS + o));
	}
	return w;
}

/* Integer sums of a block begin with what its zero code takes off, or with what the codes were
 * taken too low. */
ALWAYS int32_t first_sum(enum packed_kind kind, int32_t minus)
{
	if (packed_is_narrow(kind))
		return packed_has_min(kind) ? 0 : minus * (1 << packed_zero_shift(kind));
	return packed_has_min(kind) ? minus * -128 : 0;
}

ALWAYS void begin_sums(struct shape s, int_sums sums, const int32_t *minus)
{
	for (size_t r = 0; r < s.height; r++)
		for (size_t e = 0; e < s.n_strips; e++)
			sums[r][e] = vdupq_n_s32(first_sum(s.kind, minus[r]));
}

/* Words 4 half .. 4 half + 3, which meet one register of a row's activations. */
ALWAYS void add_half(struct shape s, int_sums sums, const uint8_t *record, size_t o,
	const int8_t *q, size_t half)
{
	int8x16_t x[PACKED_ROWS];

	for (size_t r = 0; r < s.height; r++)
		x[r] = vld1q_s8(q + r * PACKED_BLOCK + half * 16);
	for (size_t e = 0; e < s.n_strips; e++) {
		const size_t at = o + e * STRIP, g = 4 * half;
		const int8x16_t w0 = load_word(s.kind, record, g, at);
		const int8x16_t w1 = load_word(s.kind, record, g + 1, at);
		const int8x16_t w2 = load_word(s.kind, record, g + 2, at);
		const int8x16_t w3 = load_word(s.kind, record, g + 3, at);
		for (size_t r = 0; r < s.height; r++) {
			sums[r][e] = vdotq_laneq_s32(sums[r][e], w0, x[r], 0);
			sums[r][e] = vdotq_laneq_s32(sums[r][e], w1, x[r], 1);
			sums[r][e] = vdotq_laneq_s32(sums[r][e], w2, x[r], 2);
			sums[r][e] = vdotq_laneq_s32(sums[r][e], w3, x[r], 3);
		}
	}
}

ALWAYS void weigh_sums(struct shape s, float_sums group, int_sums sums, size_t e, float32x4_t scale)
{
	for (size_t r = 0; r < s.height; r++)
		group[r][e] = vfmaq_f32(group[r][e], vcvtq_f32_s32(sums[r][e]), scale);
}

ALWAYS void add_block(struct shape s, const uint8_t *head, const uint8_t *record, size_t o,
	const struct packed_codes *x, float_sums group)
{
	int_sums sums;

	begin_sums(s, sums, s.kind == PACKED_Q6_K ? x->lo : x->all);
	add_half(s, sums, record, o, x->q, 0);
	if (s.kind == PACKED_Q6_K) {
		for (size_t e = 0; e < s.n_strips; e++)
			weigh_sums(s, group, sums, e,
				load_worth(s.kind, head, record, o + e * STRIP).s);
		begin_sums(s, sums, x->hi);
	}
	add_half(s, sums, record, o, x->q, 1);
	for (size_t e = 0; e < s.n_strips; e++) {
		const struct worth w = load_worth(s.kind, head, record, o + e * STRIP);
		weigh_sums(s, group, sums, e, w.s_hi);
		for (size_t r = 0; packed_has_min(s.kind) && r < s.height; r++)
			group[r][e] = vfmaq_f32(group[r][e], w.m, vdupq_n_f32((float)x->all[r]));
	}
}

/* acc += the group of strips from o on that begins with block b, times the activations' scale. */
ALWAYS void add_group(
	struct shape s, const struct packed_patch *p, size_t o, size_t b, float_sums acc)
{
	const size_t n = p->n_blocks - b < PACKED_GROUP ? p->n_blocks - b : PACKED_GROUP;
	const uint8_t *record = p->panel + packed_record_at(s.kind, b);
	const uint8_t *head = record - packed_head_bytes_of(s.kind);
	struct packed_codes x = packed_codes_of(p->tile, s.height, b);
	const float *d = x.d;
	float_sums group;

	for (size_t r = 0; r < s.height; r++)
		for (size_t e = 0; e < s.n_strips; e++)
			group[r][e] = vdupq_n_f32(0);
	for (size_t i = 0; i < n; i++) {
		x = packed_codes_of(p->tile, s.height, b + i);
		add_block(s, head, record, o, &x, group);
		record += packed_record_bytes_of(s.kind);
	}
	for (size_t r = 0; r < s.height; r++)
		for (size_t e = 0; e < s.n_strips; e++)
			acc[r][e] = vfmaq_n_f32(acc[r][e], group[r][e], d[r]);
}

ALWAYS void store_strip(float *out, float32x4_t v, size_t n)
{
	float all[STRIP];

	if (n >= STRIP) {
		vst1q_f32(out, v);
		return;
	}
	vst1q_f32(all, v);
	memcpy(out, all, n * sizeof *out);
}

/* Some strips of the panel, from output `first` on. */
ALWAYS void run_strips(struct shape s, const struct packed_patch *p, size_t first)
{
	float_sums acc;

	for (size_t r = 0; r < s.height; r++)
		for (size_t e = 0; e < s.n_strips; e++)
			acc[r][e] = vdupq_n_f32(0);
	for (size_t b = 0; b < p->n_blocks; b += PACKED_GROUP)
		add_group(s, p, first, b, acc);
	for (size_t r = 0; r < s.height; r++)
		for (size_t e = 0; e < s.n_strips; e++) {
			size_t o = first + e * STRIP;
			if (o < p->n_outs)
				store_strip(
					p->out + r * p->out_stride + o, acc[r][e], p->n_outs - o);
		}
}

ALWAYS void run_tile(enum packed_kind kind, size_t height, const struct packed_patch *p)
{
	const size_t n_strips = height == 1 ? 8 : height == 2 ? 4 : 2;

	for (size_t o = 0; o < p->n_outs; o += n_strips * STRIP)
		run_strips((struct shape) { kind, height, n_strips }, p, o);
}

static void packed_mul(const struct packed_mul *m)
{
	packed_mul_with(m, TILES_BYTES, run_tile);
}

ALWAYS float largest(const float *x, size_t n_blocks)
{
	float32x4_t max = vdupq_n_f32(0);
	uint32x4_t finite = vdupq_n_u32(UINT32_MAX);

	for (size_t i = 0; i < n_blocks * PACKED_BLOCK; i += STRIP) {
		float32x4_t v = vabsq_f32(vld1q_f32(x + i));
		finite = vandq_u32(finite, vcleq_f32(v, vdupq_n_f32(FLT_MAX)));
		max = vmaxq_f32(max, v);
	}
	return vminvq_u32(finite) == UINT32_MAX ? vmaxvq_f32(max) : NAN;
}

/* 16 codes, and their sum. */
ALWAYS int32_t round_half(const float *x, float factor, int8_t *q)
{
	int32x4_t v[4];

	for (size_t i = 0; i < 4; i++)
		v[i] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i * STRIP), factor));
	vst1q_s8(q, vcombine_s8(vmovn_s16(vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]))),
			    vmovn_s16(vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3])))));
	return vaddvq_s32(vaddq_s32(vaddq_s32(v[0], v[1]), vaddq_s32(v[2], v[3])));
}

ALWAYS void round_block(const float *x, float factor, struct packed_place p)
{
	int32_t lo = round_half(x, factor, p.q), hi = round_half(x + 16, factor, p.q + 16);

	packed_note_sums(p, lo, hi);
}

static void packed_round(const struct packed_round *a)
{
	packed_round_with(a, largest, round_block);
}

void dot_fill(struct kernels *k)
{
	k->packed_round = packed_round;
	k->packed_mul = packed_mul;
}

#else

void dot_fill(struct kernels *k)
{
	(void)k;
}
#endif
