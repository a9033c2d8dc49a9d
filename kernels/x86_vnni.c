/* x86_vnni.c - int8 products with AVX-512 VNNI: thirty-two outputs by up to six rows at once.
 *
 * Per block and group of four elements, two registers of weights meet four activations of each
 * row, broadcast once for both. The rows' integer sums are twelve independent chains, which hides
 * the latency of vpdpbusd; they and the twelve float sums of a group of blocks fill the registers,
 * so a row's sum over all groups, touched once a group, may lie in memory. */
#include "kernels/isa.h"

#if defined(__AVX512VNNI__)
#include "kernels/packed_walk.h"
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))
/* Tiles of rows that pass over a panel while both stay in the second-level cache. */
#define TILES_BYTES ((size_t)384 << 10)

/* Elements 4g..4g+3 of sixteen outputs, the lower or the upper ones of the panel. */
ALWAYS __m512i load_word(enum packed_kind kind, const uint8_t *record, size_t g, size_t half)
{
	const uint8_t *at = record + (packed_is_narrow(kind) ? g % 4 : g) * 128 + half * 64;
	const unsigned bits = packed_high_bits(kind);
	__m512i v = _mm512_load_si512(at);

	if (!packed_is_narrow(kind))
		return v;
	if (g >= 4)
		v = _mm512_srli_epi16(v, 4);
	v = _mm512_and_si512(v, _mm512_set1_epi8(15));
	if (bits == 0)
		return v;
	const struct packed_high high = packed_high_of(kind, half * 16, g);
	const __m512i mask = _mm512_set1_epi8((char)(((1 << bits) - 1) << 4));
	__m512i h = _mm512_load_si512(record + high.at);
	h = high.shift < 4 ? _mm512_slli_epi16(h, 4 - high.shift)
			   : _mm512_srli_epi16(h, high.shift - 4);
	return _mm512_ternarylogic_epi32(v, h, mask, 0xf8); /* v | (h & mask) */
}

ALWAYS __m512 load_f16(const uint8_t *p)
{
	return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)p));
}

ALWAYS __m512 load_u8(const uint8_t *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)p)));
}

ALWAYS __m512 load_i8(const uint8_t *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128((const __m128i *)p)));
}

/* What a block is worth to sixteen outputs; s_hi as in ref_packed.c. */
struct worth {
	__m512 s, s_hi, m;
};

ALWAYS struct worth load_worth(
	enum packed_kind kind, const uint8_t *head, const uint8_t *record, size_t half)
{
	const uint8_t *scales = record + packed_code_bytes_of(kind);
	const size_t o = half * 16;
	struct worth w;

	if (packed_is_affine(kind)) {
		w.s = w.s_hi = _mm512_load_ps((const float *)scales + o);
		w.m = _mm512_load_ps((const float *)(scales + 2 * PACKED_F16_BYTES) + o);
	} else if (!packed_is_super(kind)) {
		w.s = w.s_hi = w.m = load_f16(scales + 2 * o);
	} else if (kind == PACKED_Q6_K) {
		__m512 d = load_f16(head + 2 * o);
		w.s = _mm512_mul_ps(d, load_i8(scales + o));
		w.s_hi = w.m = _mm512_mul_ps(d, load_i8(scales + PACKED_OUTS + o));
	} else {
		__m512 d = load_f16(head + 2 * o), dmin = load_f16(head + PACKED_F16_BYTES + 2 * o);
		w.s = w.s_hi = _mm512_mul_ps(d, load_u8(scales + o));
		w.m = _mm512_mul_ps(dmin, load_u8(scales + PACKED_OUTS + o));
	}
	return w;
}

/* Constants of what is inlined. */
struct shape {
	enum packed_kind kind;
	size_t height;
};

/* Integer sums of a block begin with what its zero code takes off. */
ALWAYS void begin_sums(struct shape s, __m512i sums[PACKED_ROWS][2], const int32_t *minus)
{
	for (size_t r = 0; r < s.height; r++) {
		__m512i v = _mm512_setzero_si512();
		if (!packed_has_min(s.kind))
			v = _mm512_slli_epi32(
				_mm512_set1_epi32(minus[r]), packed_zero_shift(s.kind));
		sums[r][0] = sums[r][1] = v;
	}
}

ALWAYS void add_word(struct shape s, __m512i sums[PACKED_ROWS][2], const uint8_t *record,
	const int8_t *q, unsigned g)
{
	const __m512i low = load_word(s.kind, record, g, 0), high = load_word(s.kind, record, g, 1);

	for (size_t r = 0; r < s.height; r++) {
		int32_t four;
		memcpy(&four, q + r * PACKED_BLOCK + (size_t)g * 4, sizeof four);
		__m512i x = _mm512_set1_epi32(four);
		sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], low, x);
		sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], high, x);
	}
}

/* Written out, so that g is a constant. */
ALWAYS void add_half(struct shape s, __m512i sums[PACKED_ROWS][2], const uint8_t *record,
	const int8_t *q, unsigned g)
{
	add_word(s, sums, record, q, g);
	add_word(s, sums, record, q, g + 1);
	add_word(s, sums, record, q, g + 2);
	add_word(s, sums, record, q, g + 3);
}

/* group += sums · scales, those of the lower and of the upper outputs. */
ALWAYS void weigh_sums(struct shape s, __m512 group[PACKED_ROWS][2],
	const __m512i sums[PACKED_ROWS][2], __m512 low, __m512 high)
{
	for (size_t r = 0; r < s.height; r++) {
		group[r][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][0]), low, group[r][0]);
		group[r][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][1]), high, group[r][1]);
	}
}

ALWAYS void add_minima(
	struct shape s, __m512 group[PACKED_ROWS][2], const int32_t *minus, __m512 low, __m512 high)
{
	for (size_t r = 0; r < s.height; r++) {
		__m512 all = _mm512_cvtepi32_ps(_mm512_set1_epi32(minus[r]));
		group[r][0] = _mm512_fmadd_ps(low, all, group[r][0]);
		group[r][1] = _mm512_fmadd_ps(high, all, group[r][1]);
	}
}

ALWAYS void add_block(struct shape s, const uint8_t *head, const uint8_t *record,
	const struct packed_codes *x, __m512 group[PACKED_ROWS][2])
{
	__m512i sums[PACKED_ROWS][2];

	begin_sums(s, sums, s.kind == PACKED_Q6_K ? x->lo : x->all);
	add_half(s, sums, record, x->q, 0);
	const struct worth low = load_worth(s.kind, head, record, 0);
	const struct worth high = load_worth(s.kind, head, record, 1);
	if (s.kind == PACKED_Q6_K) {
		weigh_sums(s, group, sums, low.s, high.s);
		begin_sums(s, sums, x->hi);
	}
	add_half(s, sums, record, x->q, 4);
	weigh_sums(s, group, sums, low.s_hi, high.s_hi);
	if (packed_has_min(s.kind))
		add_minima(s, group, x->all, low.m, high.m);
}

/* acc += the group that begins with block b, times the activations' scale. */
ALWAYS void add_group(
	struct shape s, const struct packed_patch *p, size_t b, __m512 acc[PACKED_ROWS][2])
{
	const size_t n = p->n_blocks - b < PACKED_GROUP ? p->n_blocks - b : PACKED_GROUP;
	const uint8_t *record = p->panel + packed_record_at(s.kind, b);
	const uint8_t *head = record - packed_head_bytes_of(s.kind);
	struct packed_codes x = packed_codes_of(p->tile, s.height, b);
	const float *d = x.d;
	__m512 group[PACKED_ROWS][2];

	for (size_t r = 0; r < s.height; r++)
		group[r][0] = group[r][1] = _mm512_setzero_ps();
	for (size_t i = 0; i < n; i++) {
		x = packed_codes_of(p->tile, s.height, b + i);
		packed_ask(s.kind, p, b + i, record);
		add_block(s, head, record, &x, group);
		record += packed_record_bytes_of(s.kind);
	}
	for (size_t r = 0; r < s.height; r++) {
		acc[r][0] = _mm512_fmadd_ps(group[r][0], _mm512_set1_ps(d[r]), acc[r][0]);
		acc[r][1] = _mm512_fmadd_ps(group[r][1], _mm512_set1_ps(d[r]), acc[r][1]);
	}
}

ALWAYS void run_tile(enum packed_kind kind, size_t height, const struct packed_patch *p)
{
	const struct shape s = { kind, height };
	const __mmask32 mask = p->n_outs == 32 ? UINT32_MAX : (1u << p->n_outs) - 1;
	__m512 acc[PACKED_ROWS][2];

	for (size_t r = 0; r < height; r++)
		acc[r][0] = acc[r][1] = _mm512_setzero_ps();
	for (size_t b = 0; b < p->n_blocks; b += PACKED_GROUP)
		add_group(s, p, b, acc);
	for (size_t r = 0; r < height; r++) {
		float *out = p->out + r * p->out_stride;
		_mm512_mask_storeu_ps(out, (__mmask16)mask, acc[r][0]);
		_mm512_mask_storeu_ps(out + 16, (__mmask16)(mask >> 16), acc[r][1]);
	}
}

static void packed_mul(const struct packed_mul *m)
{
	packed_mul_with(m, TILES_BYTES, run_tile);
}

ALWAYS float largest(const float *x, size_t n_blocks)
{
	const __m512 most = _mm512_set1_ps(FLT_MAX);
	__m512 max = _mm512_setzero_ps();
	__mmask16 finite = 0xffff;

	for (size_t i = 0; i < n_blocks * PACKED_BLOCK; i += 16) {
		__m512 v = _mm512_abs_ps(_mm512_loadu_ps(x + i));
		finite &= _mm512_cmp_ps_mask(v, most, _CMP_LE_OQ);
		max = _mm512_max_ps(max, v);
	}
	return finite == 0xffff ? _mm512_reduce_max_ps(max) : NAN;
}

ALWAYS void round_block(const float *x, float factor, struct packed_place p)
{
	const __m512 f = _mm512_set1_ps(factor);
	__m512i lo = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), f));
	__m512i hi = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), f));
	__m256i q = _mm256_set_m128i(_mm512_cvtepi32_epi8(hi), _mm512_cvtepi32_epi8(lo));
	/* Sums of four, then of each half in every lane of its 128 bits. */
	__m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), q);

	sums = _mm256_hadd_epi32(sums, sums);
	sums = _mm256_hadd_epi32(sums, sums);
	_mm256_storeu_si256((__m256i *)p.q, q);
	packed_note_sums(p, _mm256_extract_epi32(sums, 0), _mm256_extract_epi32(sums, 4));
}

static void packed_round(const struct packed_round *a)
{
	packed_round_with(a, largest, round_block);
}

void vnni_fill(struct kernels *k)
{
	k->packed_round = packed_round;
	k->packed_mul = packed_mul;
}

#else

void vnni_fill(struct kernels *k)
{
	(void)k;
}
#endif
