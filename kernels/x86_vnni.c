/* x86_vnni.c - int8 products with AVX-512 VNNI: sixteen outputs by up to sixteen rows at once.
 *
 * The codes of a block are unpacked into eight registers once and meet every row of the tile;
 * each row's four activations are broadcast from memory into vpdpbusd. */
#include "kernels/isa.h"

#if defined(__AVX512VNNI__)
#include "kernels/packed_kinds.h"
#include <float.h>
#include <immintrin.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))
/* Row tiles that pass over a panel while both stay in the second-level cache. */
#define TILES_AT_ONCE 8

ALWAYS __m512i low_nibbles(__m512i v)
{
	return _mm512_and_si512(v, _mm512_set1_epi8(15));
}

/* What follows is read the same way, panel after panel: codes and scales alike are asked for one
 * panel ahead. The processor's own prefetch would begin anew at each of the two. */
ALWAYS void load_codes(enum packed_kind kind, const uint8_t *codes, size_t ahead, __m512i w[8])
{
	for (size_t g = 0; g < 8; g++) {
		if (packed_is_narrow(kind) && g >= 4)
			break;
		__m512i v = _mm512_load_si512(codes + g * 64);
		_mm_prefetch((const char *)codes + g * 64 + ahead, _MM_HINT_T1);
		if (!packed_is_narrow(kind)) {
			w[g] = v;
			continue;
		}
		w[g] = low_nibbles(v);
		w[g + 4] = low_nibbles(_mm512_srli_epi16(v, 4));
	}
}

ALWAYS __m512 load_f16(const uint8_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

struct worth {
	__m512 s, s_hi, m;
};

ALWAYS struct worth load_worth(enum packed_kind kind, const uint8_t *scales, size_t b)
{
	if (packed_is_affine(kind)) {
		scales += b * 4 * PACKED_SCALE_BYTES;
		__m512 s = _mm512_loadu_ps((const float *)scales);
		__m512 m = _mm512_loadu_ps((const float *)(scales + 2 * PACKED_SCALE_BYTES));
		return (struct worth) { s, s, m };
	}
	if (!packed_is_super(kind)) {
		__m512 s = load_f16(scales + b * PACKED_SCALE_BYTES);
		return (struct worth) { s, s, s };
	}
	scales += b / PACKED_SUPER_BLOCKS * PACKED_SUPER_BYTES;
	const uint8_t *small = scales + (2 + b % PACKED_SUPER_BLOCKS) * PACKED_SCALE_BYTES;
	__m512 d = load_f16(scales);
	__m128i first = _mm_loadu_si128((const __m128i *)small);
	__m128i second = _mm_loadu_si128((const __m128i *)(small + PACKED_OUTS));
	if (kind == PACKED_Q6_K) {
		__m512 lo = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(first));
		__m512 hi = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(second));
		return (struct worth) { _mm512_mul_ps(d, lo), _mm512_mul_ps(d, hi), d };
	}
	__m512 dmin = load_f16(scales + PACKED_SCALE_BYTES);
	__m512 s = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(first)));
	__m512 m = _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(second)));
	return (struct worth) { s, s, m };
}

ALWAYS __m512i dot4(__m512i acc, __m512i w, const int8_t *q)
{
	int32_t four;

	memcpy(&four, q, sizeof four);
	return _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(four));
}

/* Half a block less its zero code, or the whole. */
ALWAYS __m512i dot_groups(enum packed_kind kind, const __m512i w[8], const int8_t *q, int begin,
	int end, int32_t minus)
{
	__m512i acc = _mm512_setzero_si512();

	if (!packed_has_min(kind))
		acc = _mm512_slli_epi32(_mm512_set1_epi32(minus), packed_zero_shift(kind));
	for (int g = begin; g < end; g++)
		acc = dot4(acc, w[g], q + (size_t)g * 4);
	return acc;
}

ALWAYS __m512 add_row(enum packed_kind kind, const __m512i w[8], const struct worth *s,
	const struct packed_codes *x, size_t r, __m512 acc)
{
	const int8_t *q = x->q + r * PACKED_BLOCK;
	__m512 d = _mm512_set1_ps(x->d[r]);

	if (kind == PACKED_Q6_K) {
		__m512i lo = dot_groups(kind, w, q, 0, 4, x->lo[r]);
		__m512i hi = dot_groups(kind, w, q, 4, 8, x->hi[r]);
		acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(lo), _mm512_mul_ps(s->s, d), acc);
		return _mm512_fmadd_ps(_mm512_cvtepi32_ps(hi), _mm512_mul_ps(s->s_hi, d), acc);
	}
	__m512i all = dot_groups(kind, w, q, 0, 8, x->lo[r] + x->hi[r]);
	acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), _mm512_mul_ps(s->s, d), acc);
	if (packed_has_min(kind))
		acc = _mm512_fmadd_ps(s->m, _mm512_set1_ps(x->e[r]), acc);
	return acc;
}

/* One panel by one tile: its constants are known where this is inlined. */
struct patch {
	const uint8_t *panel;
	const void *tile;
	size_t n_blocks, n_rows, height;
	size_t ahead; /* bytes to the next panel */
	float *out;
	size_t out_stride;
	__mmask16 mask; /* of the panel's outputs */
};

ALWAYS void run_patch(enum packed_kind kind, const struct patch *p, size_t height)
{
	const size_t n_codes = packed_code_bytes_of(kind);
	const size_t n_scales = packed_scale_bytes_of(kind);
	const uint8_t *scales = p->panel + p->n_blocks * n_codes;
	__m512 acc[PACKED_ROWS];

	for (size_t r = 0; r < height; r++)
		acc[r] = _mm512_setzero_ps();
	for (size_t b = 0; b < p->n_blocks; b++) {
		const struct packed_codes x = packed_codes_of(p->tile, height, b);
		const struct worth s = load_worth(kind, scales, b);
		__m512i w[8];
		load_codes(kind, p->panel + b * n_codes, p->ahead, w);
		for (size_t i = 0; i < n_scales; i += 64)
			_mm_prefetch(
				(const char *)scales + b * n_scales + p->ahead + i, _MM_HINT_T1);
		for (size_t r = 0; r < height; r++)
			acc[r] = add_row(kind, w, &s, &x, r, acc[r]);
	}
	for (size_t r = 0; r < height; r++)
		if (r < p->n_rows)
			_mm512_mask_storeu_ps(p->out + r * p->out_stride, p->mask, acc[r]);
}

ALWAYS void run_height(enum packed_kind kind, const struct patch *p)
{
	switch (p->height) {
	case 1: run_patch(kind, p, 1); break;
	case 2: run_patch(kind, p, 2); break;
	case 4: run_patch(kind, p, 4); break;
	case 8: run_patch(kind, p, 8); break;
	case 16: run_patch(kind, p, 16); break;
	}
}

ALWAYS void run_tiles(enum packed_kind kind, const struct packed_mul *m, size_t o, size_t first)
{
	size_t last = first + (size_t)TILES_AT_ONCE * PACKED_ROWS;
	size_t n_outs = m->o_end - o < PACKED_OUTS ? m->o_end - o : PACKED_OUTS;
	struct patch p = {
		.panel =
			(const uint8_t *)m->w + o / PACKED_OUTS * packed_panel_bytes(kind, m->n_in),
		.n_blocks = m->n_in / PACKED_BLOCK,
		.ahead = packed_panel_bytes(kind, m->n_in),
		.out_stride = m->out_stride,
		.mask = (__mmask16)((1u << n_outs) - 1),
	};

	for (size_t r = first; r < m->n_rows && r < last; r += PACKED_ROWS) {
		p.tile = (const char *)m->x + packed_rows_bytes(r, m->n_in);
		p.n_rows = m->n_rows - r < PACKED_ROWS ? m->n_rows - r : PACKED_ROWS;
		p.height = packed_height(p.n_rows);
		p.out = m->out + r * m->out_stride + o;
		run_height(kind, &p);
	}
}

ALWAYS void run_kind(enum packed_kind kind, const struct packed_mul *m)
{
	for (size_t r = 0; r < m->n_rows; r += (size_t)TILES_AT_ONCE * PACKED_ROWS)
		for (size_t o = m->o_begin; o < m->o_end; o += PACKED_OUTS)
			run_tiles(kind, m, o, r);
}

static void packed_mul(const struct packed_mul *m)
{
	switch (m->kind) {
	case PACKED_Q4_0: run_kind(PACKED_Q4_0, m); break;
	case PACKED_Q8_0: run_kind(PACKED_Q8_0, m); break;
	case PACKED_Q4_K: run_kind(PACKED_Q4_K, m); break;
	case PACKED_Q5_K: run_kind(PACKED_Q5_K, m); break;
	case PACKED_Q6_K: run_kind(PACKED_Q6_K, m); break;
	case PACKED_AFFINE_4: run_kind(PACKED_AFFINE_4, m); break;
	case PACKED_AFFINE_8: run_kind(PACKED_AFFINE_8, m); break;
	case PACKED_NONE:
	case PACKED_KINDS: break;
	}
}

static void round_block(const float *x, struct packed_places p, size_t r)
{
	const __m512 most = _mm512_set1_ps(FLT_MAX);
	__m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
	__m512 abs_a = _mm512_abs_ps(a), abs_b = _mm512_abs_ps(b);
	__mmask16 finite = _mm512_cmp_ps_mask(abs_a, most, _CMP_LE_OQ) &
			   _mm512_cmp_ps_mask(abs_b, most, _CMP_LE_OQ);
	float max = _mm512_reduce_max_ps(_mm512_max_ps(abs_a, abs_b));

	if (finite != 0xffff || max < PACKED_TINY) {
		packed_no_codes(p, r, finite != 0xffff);
		return;
	}
	__m512 factor = _mm512_set1_ps(127 / max);
	__m512i qa = _mm512_cvtps_epi32(_mm512_mul_ps(a, factor));
	__m512i qb = _mm512_cvtps_epi32(_mm512_mul_ps(b, factor));
	_mm_storeu_si128((__m128i *)(p.q + r * PACKED_BLOCK), _mm512_cvtepi32_epi8(qa));
	_mm_storeu_si128((__m128i *)(p.q + r * PACKED_BLOCK + 16), _mm512_cvtepi32_epi8(qb));
	packed_note_codes(p, r, max, _mm512_reduce_add_epi32(qa), _mm512_reduce_add_epi32(qb));
}

static void packed_round(const struct packed_round *a)
{
	packed_round_with(a, round_block);
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
