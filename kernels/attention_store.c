/* attention_store.c - a position's K and V into the tiles that attention reads. */
#include "kernels/attention.h"
#include "kernels/half.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* Elements converted together. */
#define PIECE 64
/* A smaller position is zeros: 1 / d stays finite. */
#define TINY 1e-30f

/* The scale of int8 codes: 0 for zeros, NaN where something is not finite. Rounded up, so that
 * no code is beyond 127. */
static uint16_t scale_of(const float *x, size_t n)
{
	float max = 0;

	for (size_t i = 0; i < n; i++) {
		if (!(fabsf(x[i]) <= FLT_MAX))
			return 0x7fc0;
		max = fmaxf(max, fabsf(x[i]));
	}
	return max < TINY ? 0 : (uint16_t)((bits_of_f32(max / 127) + 0xffff) >> 16);
}

/* Codes of one position, `step` apart. */
static void store_codes(int8_t *out, size_t step, const float *x, size_t n, uint16_t scale)
{
	float d = f32_of_bf16(scale), factor = d > 0 ? 1 / d : 0;

	for (size_t i = 0; i < n; i++)
		out[i * step] = factor > 0 ? (int8_t)lrintf(x[i] * factor) : 0;
}

static void store_int8(const struct attend_entry *e)
{
	const uint16_t scales[2] = { scale_of(e->k, e->head_dim), scale_of(e->v, e->head_dim) };
	const size_t behind = e->head_dim * ATTEND_TILE + 2 * e->at;

	store_codes((int8_t *)e->k_tile + e->at, ATTEND_TILE, e->k, e->head_dim, scales[0]);
	store_codes((int8_t *)e->v_tile + e->at * e->head_dim, 1, e->v, e->head_dim, scales[1]);
	memcpy((char *)e->k_tile + behind, &scales[0], 2);
	memcpy((char *)e->v_tile + behind, &scales[1], 2);
}

static void store_halves(const struct kernels *k, const struct attend_entry *e)
{
	void (*narrow)(void *, const float *, size_t) =
		e->kv_type == DTYPE_F16 ? k->f16_from_f32 : k->bf16_from_f32;
	uint16_t piece[PIECE], *out = e->k_tile;

	for (size_t i = 0, n; i < e->head_dim; i += n) {
		n = e->head_dim - i < PIECE ? e->head_dim - i : PIECE;
		narrow(piece, e->k + i, n);
		for (size_t j = 0; j < n; j++)
			out[(i + j) * ATTEND_TILE + e->at] = piece[j];
	}
	narrow((uint16_t *)e->v_tile + e->at * e->head_dim, e->v, e->head_dim);
}

void attend_store(const struct kernels *k, const struct attend_entry *e)
{
	float *out = e->k_tile;

	if (e->kv_type == DTYPE_INT8) {
		store_int8(e);
		return;
	}
	if (e->kv_type != DTYPE_F32) {
		store_halves(k, e);
		return;
	}
	for (size_t i = 0; i < e->head_dim; i++)
		out[i * ATTEND_TILE + e->at] = e->k[i];
	memcpy((float *)e->v_tile + e->at * e->head_dim, e->v, e->head_dim * sizeof *e->v);
}
