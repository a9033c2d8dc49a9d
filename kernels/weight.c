/* weight.c - rows and products of weights in any stored format. */
#include "kernels/weight.h"
#include "kernels/half.h"
#include "kernels/quant.h"
#include <assert.h>

#define ROWS_AT_ONCE 16 /* weight rows widened together: the scratch stays in cache */

size_t weight_packed_bytes(size_t n_in, unsigned bits)
{
	size_t n_bits;

	if (__builtin_mul_overflow(n_in, (size_t)bits, &n_bits) || n_bits % 32 != 0)
		return 0;
	return n_bits / 8;
}

float weight_scale(const struct weight *w, const void *scales, size_t i)
{
	const uint8_t *p = scales;
	float f;

	if (w->scale_type == DTYPE_F16)
		return f32_of_f16(load_u16(p + 2 * i));
	if (w->scale_type == DTYPE_BF16)
		return f32_of_bf16(load_u16(p + 2 * i));
	memcpy(&f, p + 4 * i, sizeof f);
	return f;
}

/* Element i of a low-bits-first stream. Reads the second byte only where the element reaches
 * into it, so never past the row. */
static unsigned stream_at(const uint8_t *stream, size_t i, unsigned bits)
{
	size_t at = i * bits;
	unsigned shift = at % 8, v = stream[at / 8] >> shift;

	if (shift + bits > 8)
		v |= (unsigned)stream[at / 8 + 1] << (8 - shift);
	return v & ((1u << bits) - 1);
}

/* n codes from element `at` on as floats. The common widths are loops a compiler vectorizes. */
static void codes_at(const uint8_t *stream, size_t at, size_t n, unsigned bits, float *out)
{
	if (bits == 8) {
		for (size_t i = 0; i < n; i++)
			out[i] = (float)stream[at + i];
	} else if (bits == 4) {
		for (size_t i = 0; i < n / 2; i++) {
			uint8_t two = stream[at / 2 + i];
			out[2 * i] = (float)(two & 15);
			out[2 * i + 1] = (float)(two >> 4);
		}
	} else {
		for (size_t i = 0; i < n; i++)
			out[i] = (float)stream_at(stream, at + i, bits);
	}
}

static void affine_row(const struct weight *w, size_t row, float *out)
{
	const uint8_t *stream = (const uint8_t *)w->data + row * w->row_bytes;
	size_t n_groups = w->n_in / w->group;

	for (size_t g = 0; g < n_groups; g++, out += w->group) {
		float scale = weight_scale(w, w->scales, row * n_groups + g);
		float bias = weight_scale(w, w->biases, row * n_groups + g);
		codes_at(stream, g * w->group, w->group, w->bits, out);
		for (size_t i = 0; i < w->group; i++)
			out[i] = scale * out[i] + bias;
	}
}

static void pairs_row(const struct weight *w, size_t row, float *out)
{
	const uint8_t *q = (const uint8_t *)w->data + row * w->row_bytes;
	const uint8_t *scales = (const uint8_t *)w->scales + row * (w->n_in / w->group);

	for (size_t i = 0; i < w->n_in; i++)
		out[i] = quant_fp4(q[i / 2] >> (i % 2 * 4) & 15u, scales[i / w->group]);
}

void weight_row(const struct kernels *k, const struct weight *w, size_t row, float *out)
{
	const char *data = (const char *)w->data + row * w->row_bytes;

	assert(row < w->n_out);
	if (w->type == DTYPE_AFFINE)
		affine_row(w, row, out);
	else if (w->type == DTYPE_MXFP4_PAIRS)
		pairs_row(w, row, out);
	else if (w->type == DTYPE_F16)
		k->f32_from_f16(out, data, w->n_in);
	else if (w->type == DTYPE_BF16)
		k->f32_from_bf16(out, data, w->n_in);
	else
		quant_type(w->type)->dequantize(out, data, w->n_in);
}

size_t weight_scratch(const struct weight *w)
{
	return w->type <= DTYPE_BF16 ? 0 : ROWS_AT_ONCE * w->n_in;
}

static void mul_widened(
	const struct kernels *k, const struct weight *w, struct mul m, float *scratch)
{
	size_t end = m.o_end;
	float *out = m.out;

	m.w = scratch;
	m.w_stride = w->n_in * sizeof *scratch;
	for (size_t o = m.o_begin; o < end; o += ROWS_AT_ONCE) {
		size_t n = end - o < ROWS_AT_ONCE ? end - o : ROWS_AT_ONCE;
		for (size_t i = 0; i < n; i++)
			weight_row(k, w, o + i, scratch + i * w->n_in);
		m.o_begin = 0;
		m.o_end = n;
		m.out = out + o;
		k->mul_f32(&m);
	}
}

void weight_mul(
	const struct kernels *k, const struct weight *w, const struct mul *m, float *scratch)
{
	struct mul own = *m;

	own.n_in = w->n_in;
	own.w = w->data;
	own.w_stride = w->row_bytes;
	if (w->type == DTYPE_F32)
		k->mul_f32(&own);
	else if (w->type == DTYPE_F16)
		k->mul_f16(&own);
	else if (w->type == DTYPE_BF16)
		k->mul_bf16(&own);
	else
		mul_widened(k, w, own, scratch);
}
