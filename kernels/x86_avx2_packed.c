/* x86_avx2_packed.c - int8 products with AVX2: the same bits as with VNNI, from pairs of products.
 *
 * A strip is eight outputs, one register; few rows take several strips at once and many rows one,
 * so that sums stay in registers. Codes of up to six bits meet activations in vpmaddubsw, whose
 * 16-bit sums hold two words of them (63 · 127 · 4) or, of five bits, four (31 · 127 · 8). Codes of
 * eight bits would not fit: they are widened, even and odd ones apart. */
#include "kernels/isa.h"

#if defined(__AVX2__)
#include "kernels/packed_walk.h"
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))
#define STRIP  8
#define STRIPS ((size_t)PACKED_OUTS / STRIP)
/* Tiles of rows that pass over a panel while both stay in the second-level cache. */
#define TILES_BYTES ((size_t)192 << 10)

/* Constants of what is inlined. */
struct shape {
	enum packed_kind kind;
	size_t height, n_strips;
};

typedef __m256i int_sums[PACKED_ROWS][STRIPS];
typedef __m256 float_sums[PACKED_ROWS][STRIPS];

/* Elements 4g..4g+3 of the eight outputs from o on. */
ALWAYS __m256i load_word(enum packed_kind kind, const uint8_t *record, unsigned g, size_t o)
{
	const uint8_t *at = record + (size_t)(packed_is_narrow(kind) ? g % 4 : g) * 128 + o * 4;
	const unsigned bits = packed_high_bits(kind);
	__m256i v = _mm256_load_si256((const __m256i *)at);

	if (!packed_is_narrow(kind))
		return v;
	if (g >= 4)
		v = _mm256_srli_epi16(v, 4);
	v = _mm256_and_si256(v, _mm256_set1_epi8(15));
	if (bits == 0)
		return v;
	const struct packed_high high = packed_high_of(kind, o, g);
	const __m256i mask = _mm256_set1_epi8((char)(((1 << bits) - 1) << 4));
	__m256i h = _mm256_load_si256((const __m256i *)(record + high.at));
	h = high.shift < 4 ? _mm256_slli_epi16(h, (int)(4 - high.shift))
			   : _mm256_srli_epi16(h, (int)(high.shift - 4));
	return _mm256_or_si256(v, _mm256_and_si256(h, mask));
}

ALWAYS __m256 load_f16(const uint8_t *p)
{
	return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)p));
}

ALWAYS __m256 load_u8(const uint8_t *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

ALWAYS __m256 load_i8(const uint8_t *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/* What a block is worth to eight outputs; s_hi as in ref_packed.c. */
struct worth {
	__m256 s, s_hi, m;
};

ALWAYS struct worth load_worth(
	enum packed_kind kind, const uint8_t *head, const uint8_t *record, size_t o)
{
	const uint8_t *scales = record + packed_code_bytes_of(kind);
	struct worth w;

	if (packed_is_affine(kind)) {
		w.s = w.s_hi = _mm256_load_ps((const float *)scales + o);
		w.m = _mm256_load_ps((const float *)(scales + 2 * PACKED_F16_BYTES) + o);
	} else if (!packed_is_super(kind)) {
		w.s = w.s_hi = w.m = load_f16(scales + 2 * o);
	} else if (kind == PACKED_Q6_K) {
		__m256 d = load_f16(head + 2 * o);
		w.s = _mm256_mul_ps(d, load_i8(scales + o));
		w.s_hi = w.m = _mm256_mul_ps(d, load_i8(scales + PACKED_OUTS + o));
	} else {
		__m256 d = load_f16(head + 2 * o), dmin = load_f16(head + PACKED_F16_BYTES + 2 * o);
		w.s = w.s_hi = _mm256_mul_ps(d, load_u8(scales + o));
		w.m = _mm256_mul_ps(dmin, load_u8(scales + PACKED_OUTS + o));
	}
	return w;
}

/* Integer sums of a block begin with what its zero code takes off. */
ALWAYS void begin_sums(struct shape s, int_sums sums, const int32_t *minus)
{
	for (size_t r = 0; r < s.height; r++)
		for (size_t e = 0; e < s.n_strips; e++)
			sums[r][e] = packed_has_min(s.kind)
					     ? _mm256_setzero_si256()
					     : _mm256_slli_epi32(_mm256_set1_epi32(minus[r]),
						       (int)packed_zero_shift(s.kind));
}

ALWAYS __m256i four_codes(const int8_t *q)
{
	int32_t four;

	memcpy(&four, q, sizeof four);
	return _mm256_set1_epi32(four);
}

/* Words g and g + 1, in 16 bits. */
ALWAYS __m256i two_words(const __m256i *w, const int8_t *q)
{
	return _mm256_add_epi16(_mm256_maddubs_epi16(w[0], four_codes(q)),
		_mm256_maddubs_epi16(w[1], four_codes(q + 4)));
}

ALWAYS __m256i narrow_half(enum packed_kind kind, const __m256i w[4], const int8_t *q)
{
	const __m256i ones = _mm256_set1_epi16(1);
	__m256i a = two_words(w, q), b = two_words(w + 2, q + 8);

	if (kind == PACKED_Q6_K)
		return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
	return _mm256_madd_epi16(_mm256_add_epi16(a, b), ones);
}

/* A tile's block of activations in 16 bits: elements 4g and 4g + 2 of a row, and those between. */
struct widened {
	int32_t even[PACKED_ROWS][PACKED_BLOCK / 4], odd[PACKED_ROWS][PACKED_BLOCK / 4];
};

ALWAYS void widen(struct shape s, const int8_t *q, struct widened *out)
{
	for (size_t r = 0; r < s.height; r++) {
		__m256i x = _mm256_loadu_si256((const __m256i *)(q + r * PACKED_BLOCK));
		__m256i even = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
		_mm256_storeu_si256((__m256i *)out->even[r], even);
		_mm256_storeu_si256((__m256i *)out->odd[r], _mm256_srai_epi16(x, 8));
	}
}

/* sums += words 4 half .. 4 half + 3 of codes of eight bits. */
ALWAYS void add_wide(struct shape s, int_sums sums, const uint8_t *record, size_t o,
	const struct widened *x, unsigned half)
{
	for (size_t e = 0; e < s.n_strips; e++)
		for (unsigned g = 4 * half; g < 4 * half + 4; g++) {
			__m256i w = load_word(s.kind, record, g, o + e * STRIP);
			__m256i even = _mm256_and_si256(w, _mm256_set1_epi16(255));
			__m256i odd = _mm256_srli_epi16(w, 8);
			for (size_t r = 0; r < s.height; r++) {
				__m256i a =
					_mm256_madd_epi16(even, _mm256_set1_epi32(x->even[r][g]));
				__m256i b = _mm256_madd_epi16(odd, _mm256_set1_epi32(x->odd[r][g]));
				sums[r][e] = _mm256_add_epi32(sums[r][e], _mm256_add_epi32(a, b));
			}
		}
}

/* The same of narrow ones; half is a constant. */
ALWAYS void add_narrow(struct shape s, int_sums sums, const uint8_t *record, size_t o,
	const int8_t *q, unsigned half)
{
	const unsigned g = 4 * half;

	for (size_t e = 0; e < s.n_strips; e++) {
		const size_t at = o + e * STRIP;
		const __m256i w[4] = { load_word(s.kind, record, g, at),
			load_word(s.kind, record, g + 1, at), load_word(s.kind, record, g + 2, at),
			load_word(s.kind, record, g + 3, at) };
		for (size_t r = 0; r < s.height; r++) {
			const int8_t *x = q + r * PACKED_BLOCK + (size_t)g * 4;
			sums[r][e] = _mm256_add_epi32(sums[r][e], narrow_half(s.kind, w, x));
		}
	}
}

ALWAYS void weigh_sums(struct shape s, float_sums group, int_sums sums, size_t e, __m256 scale)
{
	for (size_t r = 0; r < s.height; r++)
		group[r][e] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r][e]), scale, group[r][e]);
}

/* The scales of strip e after its sums of a half: 0 of the first, which only Q6_K weighs. */
ALWAYS void weigh(struct shape s, float_sums group, int_sums sums, const struct packed_codes *x,
	const struct worth *worth, size_t e, unsigned half)
{
	weigh_sums(s, group, sums, e, half == 0 ? worth->s : worth->s_hi);
	for (size_t r = 0; half == 1 && packed_has_min(s.kind) && r < s.height; r++)
		group[r][e] = _mm256_fmadd_ps(
			worth->m, _mm256_cvtepi32_ps(_mm256_set1_epi32(x->all[r])), group[r][e]);
}

ALWAYS void add_block(struct shape s, const uint8_t *head, const uint8_t *record, size_t o,
	const struct packed_codes *x, float_sums group)
{
	int_sums sums;
	struct widened wide;

	begin_sums(s, sums, s.kind == PACKED_Q6_K ? x->lo : x->all);
	if (packed_is_narrow(s.kind)) {
		add_narrow(s, sums, record, o, x->q, 0);
	} else {
		widen(s, x->q, &wide);
		add_wide(s, sums, record, o, &wide, 0);
		add_wide(s, sums, record, o, &wide, 1);
	}
	if (s.kind == PACKED_Q6_K) {
		for (size_t e = 0; e < s.n_strips; e++) {
			const struct worth w = load_worth(s.kind, head, record, o + e * STRIP);
			weigh(s, group, sums, x, &w, e, 0);
		}
		begin_sums(s, sums, x->hi);
	}
	if (packed_is_narrow(s.kind))
		add_narrow(s, sums, record, o, x->q, 1);
	for (size_t e = 0; e < s.n_strips; e++) {
		const struct worth w = load_worth(s.kind, head, record, o + e * STRIP);
		weigh(s, group, sums, x, &w, e, 1);
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
			group[r][e] = _mm256_setzero_ps();
	for (size_t i = 0; i < n; i++) {
		x = packed_codes_of(p->tile, s.height, b + i);
		if (o == 0)
			packed_ask(s.kind, p, b + i, record);
		add_block(s, head, record, o, &x, group);
		record += packed_record_bytes_of(s.kind);
	}
	for (size_t r = 0; r < s.height; r++)
		for (size_t e = 0; e < s.n_strips; e++)
			acc[r][e] = _mm256_fmadd_ps(group[r][e], _mm256_set1_ps(d[r]), acc[r][e]);
}

ALWAYS void store_strip(float *out, __m256 v, size_t n)
{
	float all[STRIP];

	if (n >= STRIP) {
		_mm256_storeu_ps(out, v);
		return;
	}
	_mm256_storeu_ps(all, v);
	memcpy(out, all, n * sizeof *out);
}

/* Some strips of the panel, from output `first` on. */
ALWAYS void run_strips(struct shape s, const struct packed_patch *p, size_t first)
{
	float_sums acc;

	for (size_t r = 0; r < s.height; r++)
		for (size_t e = 0; e < s.n_strips; e++)
			acc[r][e] = _mm256_setzero_ps();
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
	const size_t n_strips = height == 1 ? 4 : height == 2 ? 2 : 1;

	for (size_t o = 0; o < p->n_outs; o += n_strips * STRIP)
		run_strips((struct shape) { kind, height, n_strips }, p, o);
}

static void packed_mul(const struct packed_mul *m)
{
	packed_mul_with(m, TILES_BYTES, run_tile);
}

ALWAYS float largest(const float *x, size_t n_blocks)
{
	const __m256 sign = _mm256_set1_ps(-0.0f), most = _mm256_set1_ps(FLT_MAX);
	__m256 max = _mm256_setzero_ps(), finite = _mm256_cmp_ps(max, max, _CMP_EQ_OQ);
	float lanes[STRIP], all = 0;

	for (size_t i = 0; i < n_blocks * PACKED_BLOCK; i += STRIP) {
		__m256 v = _mm256_andnot_ps(sign, _mm256_loadu_ps(x + i));
		finite = _mm256_and_ps(finite, _mm256_cmp_ps(v, most, _CMP_LE_OQ));
		max = _mm256_max_ps(max, v);
	}
	_mm256_storeu_ps(lanes, max);
	for (size_t i = 0; i < STRIP; i++)
		all = lanes[i] > all ? lanes[i] : all;
	return _mm256_movemask_ps(finite) == 0xff ? all : NAN;
}

/* 16 codes, and their sum. */
ALWAYS int32_t round_half(const float *x, __m256 factor, int8_t *q)
{
	__m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), factor));
	__m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), factor));
	__m256i halves = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
	__m128i sum = _mm_add_epi32(_mm256_castsi256_si128(_mm256_add_epi32(a, b)),
		_mm256_extracti128_si256(_mm256_add_epi32(a, b), 1));

	_mm_storeu_si128((__m128i *)q, _mm_packs_epi16(_mm256_castsi256_si128(halves),
					       _mm256_extracti128_si256(halves, 1)));
	sum = _mm_hadd_epi32(sum, sum);
	return _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
}

ALWAYS void round_block(const float *x, float factor, struct packed_place p)
{
	const __m256 f = _mm256_set1_ps(factor);
	int32_t lo = round_half(x, f, p.q), hi = round_half(x + 16, f, p.q + 16);

	packed_note_sums(p, lo, hi);
}

static void packed_round(const struct packed_round *a)
{
	packed_round_with(a, largest, round_block);
}

void avx2_packed_fill(struct kernels *k)
{
	k->packed_round = packed_round;
	k->packed_mul = packed_mul;
}

#else

void avx2_packed_fill(struct kernels *k)
{
	(void)k;
}
#endif
