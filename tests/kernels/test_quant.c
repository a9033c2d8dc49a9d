/* Dequantization against the reference's values to the bit, and against hand-made blocks. */
#include "kernels/half.h"
#include "kernels/quant.h"
#include "kernels/weight.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN "../shared/golden/quants/"

/* A safetensors file: u64 length, JSON header, data. Only the offsets are of interest. */
struct golden {
	char *bytes;
	size_t n_bytes, data;
};

static bool golden_open(struct golden *g, const char *name)
{
	char path[256];
	uint64_t n_header;

	snprintf(path, sizeof path, GOLDEN "%s.safetensors", name);
	FILE *f = fopen(path, "rb");
	if (!f)
		return false;
	fseek(f, 0, SEEK_END);
	g->n_bytes = (size_t)ftell(f);
	rewind(f);
	g->bytes = malloc(g->n_bytes + 1);
	cr_assert(fread(g->bytes, 1, g->n_bytes, f) == g->n_bytes);
	fclose(f);
	memcpy(&n_header, g->bytes, 8);
	g->data = 8 + n_header;
	return true;
}

/* Bytes of tensor `key`. */
static const char *golden_tensor(const struct golden *g, const char *key, size_t *n_bytes)
{
	char *header = strndup(g->bytes + 8, g->data - 8);
	char *at = strstr(strstr(header, key), "data_offsets");
	size_t begin = strtoul(strchr(at, '[') + 1, &at, 10), end = strtoul(at + 1, NULL, 10);

	free(header);
	cr_assert(g->data + end <= g->n_bytes);
	*n_bytes = end - begin;
	return g->bytes + g->data + begin;
}

static const struct {
	const char *file;
	enum dtype type;
} goldens[] = {
	{ "f16", DTYPE_F16 },
	{ "bf16", DTYPE_BF16 },
	{ "q4_0", DTYPE_Q4_0 },
	{ "q4_1", DTYPE_Q4_1 },
	{ "q5_0", DTYPE_Q5_0 },
	{ "q5_1", DTYPE_Q5_1 },
	{ "q8_0", DTYPE_Q8_0 },
	{ "q2_k", DTYPE_Q2_K },
	{ "q3_k", DTYPE_Q3_K },
	{ "q4_k", DTYPE_Q4_K },
	{ "q5_k", DTYPE_Q5_K },
	{ "q6_k", DTYPE_Q6_K },
	{ "iq4_nl", DTYPE_IQ4_NL },
	{ "iq4_xs", DTYPE_IQ4_XS },
	{ "mxfp4", DTYPE_MXFP4 },
};
#define N_GOLDENS (sizeof goldens / sizeof *goldens)

/* The blocks again between guard pages, at an odd address every second time. */
static void compare_golden(size_t i, const struct golden *g)
{
	const struct quant_type *t = quant_type(goldens[i].type);
	size_t n_blocks, n_values;
	const char *blocks = golden_tensor(g, "\"blocks\"", &n_blocks);
	const char *values = golden_tensor(g, "\"values\"", &n_values);
	size_t n = n_values / sizeof(float);
	char *copy = guard_bytes(n_blocks + (i & 1), i & 1);
	float *want = guard_floats(n, false), *got = guard_floats(n, false);

	cr_assert_eq(n_blocks, quant_row_bytes(goldens[i].type, n));
	memcpy(copy + (i & 1), blocks, n_blocks);
	memcpy(want, values, n_values);
	t->dequantize(got, copy + (i & 1), n);
	long at = first_difference(want, got, n);
	cr_assert(at < 0, "%s [%ld]: %a, want %a", t->name, at, got[at], want[at]);
}

Test(quant, equals_the_reference_to_the_bit)
{
	size_t n_found = 0;

	for (size_t i = 0; i < N_GOLDENS; i++) {
		struct golden g;
		if (!golden_open(&g, goldens[i].file))
			continue;
		compare_golden(i, &g);
		free(g.bytes);
		n_found++;
	}
	if (n_found == 0)
		cr_skip_test(GOLDEN " is absent");
	cr_assert_geq(n_found, 14, "only %zu golden files", n_found);
}

Test(quant, reads_the_simple_blocks_as_written)
{
	struct block_q4_0 q4 = { .d = { 0x00, 0x3c } };                      /* d = 1 */
	struct block_q5_1 q5 = { .d = { 0x00, 0x38 }, .m = { 0x00, 0x40 } }; /* 0.5, 2 */
	struct block_q8_0 q8 = { .d = { 0x00, 0xc0 } };                      /* -2 */
	float out[32];

	for (int i = 0; i < 16; i++)
		q4.qs[i] = q5.qs[i] = (uint8_t)(i | (15 - i) << 4);
	q5.qh[1] = 0x80; /* element 15 */
	q5.qh[2] = 0x01; /* element 16 */
	quant_type(DTYPE_Q4_0)->dequantize(out, &q4, 32);
	for (int i = 0; i < 16; i++)
		cr_assert(out[i] == (float)(i - 8) && out[i + 16] == (float)(7 - i));
	quant_type(DTYPE_Q5_1)->dequantize(out, &q5, 32);
	cr_assert(out[0] == 2 && out[1] == 2.5f && out[15] == 31 * 0.5f + 2 &&
		  out[16] == 31 * 0.5f + 2);
	for (int i = 0; i < 32; i++)
		q8.qs[i] = (int8_t)(i * 8 - 128);
	quant_type(DTYPE_Q8_0)->dequantize(out, &q8, 32);
	for (int i = 0; i < 32; i++)
		cr_assert_eq(out[i], (float)(256 - 16 * i));
}

Test(quant, fp4_has_its_sixteen_values_at_every_scale)
{
	static const double values[8] = { 0, 0.5, 1, 1.5, 2, 3, 4, 6 };
	struct block_mxfp4 b;
	float out[32];

	for (int e = 0; e < 255; e++) {
		b.e = (uint8_t)e;
		for (int i = 0; i < 16; i++)
			b.qs[i] = (uint8_t)(i | (15 - i) << 4);
		quant_type(DTYPE_MXFP4)->dequantize(out, &b, 32);
		for (int i = 0; i < 16; i++) {
			float want = (float)ldexp(i < 8 ? values[i] : -values[i - 8], e - 127);
			cr_assert(bits_of_f32(out[i]) == bits_of_f32(want), "2^%d: %a", e - 127,
				out[i]);
			cr_assert(bits_of_f32(out[31 - i]) == bits_of_f32(want));
		}
	}
	cr_assert(isnan(quant_fp4(2, 255)));
}

Test(quant, f8_e4m3_has_its_values)
{
	for (unsigned b = 0; b < 256; b++) {
		uint8_t byte = (uint8_t)b;
		unsigned e = b >> 3 & 15, m = b & 7;
		float got, want = (float)ldexp(e ? 8 + m : m, e ? (int)e - 10 : -9);
		quant_type(DTYPE_F8_E4M3)->dequantize(&got, &byte, 1);
		if ((b & 127) == 127)
			cr_assert(isnan(got));
		else
			cr_assert(bits_of_f32(got) == bits_of_f32(b & 128 ? -want : want), "%x: %a",
				b, got);
	}
}

Test(quant, knows_types_by_gguf_number_and_refuses_the_rest)
{
	enum dtype t;

	cr_assert(quant_from_gguf(12, &t) && t == DTYPE_Q4_K);
	cr_assert(quant_from_gguf(0, &t) && t == DTYPE_F32);
	cr_assert(quant_from_gguf(39, &t) && t == DTYPE_MXFP4);
	cr_assert(!quant_from_gguf(4, &t) && !quant_from_gguf(UINT32_MAX, &t));
	cr_assert_eq(quant_row_bytes(DTYPE_Q4_K, 512), 288);
	cr_assert_eq(quant_row_bytes(DTYPE_Q4_K, 500), 0);
	cr_assert_eq(quant_row_bytes(DTYPE_F32, SIZE_MAX / 2), 0);
	cr_assert_eq(quant_row_bytes(DTYPE_AFFINE, 64), 0);
	for (int i = 0; i < DTYPE_COUNT; i++)
		cr_assert(quant_type((enum dtype)i)->name != NULL, "dtype %d has no row", i);
}

/* Any bytes may stand in a file: no block may make us read or index outside it. */
Test(quant, takes_random_blocks_without_touching_a_byte_outside)
{
	float *out = guard_floats(QUANT_SUPER, false);

	for (int i = 0; i < DTYPE_COUNT; i++) {
		const struct quant_type *t = quant_type((enum dtype)i);
		if (!t->dequantize)
			continue;
		size_t n = t->block_elements > 1 ? t->block_elements : 7;
		size_t n_bytes = quant_row_bytes((enum dtype)i, n);
		for (uint64_t seed = 0; seed < 50; seed++) {
			char *in = guard_bytes(n_bytes, seed & 1);
			fill_bytes(in, n_bytes, seed);
			t->dequantize(out + QUANT_SUPER - n, in, n);
		}
	}
}
