/* int8 products of packed weights: bits against plain C on every path, plain C against the
 * exact product, and a row's bits whatever rows travel with it. */
#include "kernels/half.h"
#include "kernels/packed.h"
#include "kernels/quant.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An affine weight has 4 bits in groups of 64, or with AFFINE_8 8 bits in groups of 32. */
#define AFFINE_8 DTYPE_COUNT
static const enum dtype types[] = { DTYPE_Q4_0, DTYPE_Q8_0, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K,
	DTYPE_AFFINE, AFFINE_8 };
#define N_TYPES (sizeof types / sizeof *types)

static struct weight random_affine(unsigned bits, size_t n_out, size_t n_in, uint64_t seed)
{
	struct weight w = { .type = DTYPE_AFFINE,
		.n_out = n_out,
		.n_in = n_in,
		.row_bytes = weight_packed_bytes(n_in, bits),
		.scale_type = bits == 4 ? DTYPE_BF16 : DTYPE_F32,
		.bits = bits,
		.group = bits == 4 ? 64 : 32 };
	size_t n_pairs = n_out * (n_in / w.group), width = bits == 4 ? 2 : 4;
	void *data = guard_bytes(n_out * w.row_bytes, false);
	void *scales = guard_bytes(n_pairs * width, false);
	void *biases = guard_bytes(n_pairs * width, false);

	fill_bytes(data, n_out * w.row_bytes, seed);
	if (width == 2) {
		fill_bf16(scales, n_pairs, seed + 1);
		fill_bf16(biases, n_pairs, seed + 2);
	} else {
		fill_random(scales, n_pairs, seed + 1);
		fill_random(biases, n_pairs, seed + 2);
	}
	w.data = data;
	w.scales = scales;
	w.biases = biases;
	return w;
}

static const char *type_name(enum dtype type)
{
	return type == AFFINE_8 ? "affine, 8 bits" : quant_type(type)->name;
}

/* Any bits but in the half-float scales, which are of ordinary size. */
static struct weight random_weight(enum dtype type, size_t n_out, size_t n_in, uint64_t seed)
{
	if (type == DTYPE_AFFINE || type == AFFINE_8)
		return random_affine(type == AFFINE_8 ? 8 : 4, n_out, n_in, seed);
	size_t row_bytes = quant_row_bytes(type, n_in), step = quant_type(type)->block_bytes;
	uint8_t *data = guard_bytes(n_out * row_bytes, false);
	size_t n_scales = type == DTYPE_Q4_K || type == DTYPE_Q5_K ? 2 : 1;

	fill_bytes(data, n_out * row_bytes, seed);
	for (size_t at = 0; at < n_out * row_bytes; at += step)
		fill_f16(data + at + (type == DTYPE_Q6_K ? step - 2 : 0), n_scales, seed + at);
	return (struct weight) {
		.type = type, .n_out = n_out, .n_in = n_in, .data = data, .row_bytes = row_bytes
	};
}

static void *packed_of(const struct weight *w)
{
	enum packed_kind kind = packed_kind_of(w);
	size_t panel = packed_panel_bytes(kind, w->n_in), n = packed_bytes(kind, w->n_out, w->n_in);
	char *out = guard_bytes(n, false);

	cr_assert(panel % 64 == 0 && n % panel == 0 && (uintptr_t)out % 64 == 0);
	for (size_t i = 0; i * panel < n; i++)
		packed_fill(w, i, out + i * panel);
	return out;
}

/* x [n_rows][n_in] rounded and multiplied, all between guard pages. */
static float *product(const struct kernels *k, const struct weight *w, const void *packed,
	const float *x, size_t n_rows)
{
	float *out = guard_floats(n_rows * w->n_out, false);
	char *codes = guard_bytes(packed_rows_bytes(n_rows, w->n_in), false);

	for (size_t i = 0; i < packed_tiles(n_rows); i++) {
		size_t r = packed_tile_row(n_rows, i);
		k->packed_round(&(struct packed_round) {
			.x = x + r * w->n_in,
			.n_rows = packed_tile_row(n_rows, i + 1) - r,
			.n_in = w->n_in,
			.x_stride = w->n_in,
			.out = codes + packed_rows_bytes(r, w->n_in),
		});
	}
	k->packed_mul(&(struct packed_mul) {
		.kind = packed_kind_of(w),
		.w = packed,
		.n_out = w->n_out,
		.n_in = w->n_in,
		.x = codes,
		.n_rows = n_rows,
		.o_end = w->n_out,
		.out = out,
		.out_stride = w->n_out,
	});
	return out;
}

static size_t depth(enum dtype type, size_t n_blocks)
{
	bool affine = type == DTYPE_AFFINE || type == AFFINE_8;

	return n_blocks * (affine ? 64 : quant_type(type)->block_elements);
}

Test(packed, has_the_same_bits_on_every_path_and_stays_inside, .timeout = 120)
{
	static const size_t rows[] = { 0, 1, 2, 3, 4, 5, 6, 7, 11, 35 }, outs[] = { 1, 31, 32, 81 };
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (size_t c = 0; c < N_TYPES * 4 * 10; c++) {
		enum dtype type = types[c / 40];
		size_t n_out = outs[c / 10 % 4], n_rows = rows[c % 10];
		struct weight w = random_weight(type, n_out, depth(type, 1 + c % 11), c);
		const void *packed = packed_of(&w);
		float *x = guard_floats(n_rows * w.n_in, false);
		fill_random(x, n_rows * w.n_in, c + 1);
		float *want = product(&paths[0].k, &w, packed, x, n_rows);
		for (size_t p = 1; p < n_paths; p++) {
			float *got = product(&paths[p].k, &w, packed, x, n_rows);
			long at = first_difference(want, got, n_rows * n_out);
			cr_assert(at < 0, "%s %s %zu x %zu x %zu: [%ld] %a, want %a", paths[p].name,
				type_name(type), n_rows, w.n_in, n_out, at, got[at], want[at]);
		}
	}
}

/* Rounding x to d·q moves each element by at most d / 2 (and the last bits of f32). */
Test(packed, differs_from_the_exact_product_by_the_rounding_of_activations_alone)
{
	struct path paths[MOST_PATHS];

	all_paths(paths);
	for (size_t t = 0; t < N_TYPES; t++) {
		struct weight w = random_weight(types[t], 33, depth(types[t], 4), t);
		float *x = guard_floats(w.n_in, false), *row = guard_floats(w.n_in, false);
		for (size_t i = 0; i < w.n_in; i++)
			x[i] = sinf((float)i) + 0.1f;
		float *got = product(&paths[0].k, &w, packed_of(&w), x, 1);
		for (size_t o = 0; o < w.n_out; o++) {
			double want = 0, slack = 0, terms = 0;
			weight_row(&paths[0].k, &w, o, row);
			for (size_t i = 0; i < w.n_in; i++) {
				want += (double)row[i] * x[i];
				slack += fabs(row[i]) * (1.1 / 127 / 2);
				terms += fabs((double)row[i] * x[i]);
			}
			cr_assert(fabs(got[o] - want) <= slack + terms * 1e-4,
				"%s [%zu]: %f, want %f within %f", type_name(types[t]), o, got[o],
				want, slack);
		}
	}
}

Test(packed, gives_a_row_the_same_bits_in_any_company)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (size_t t = 0; t < N_TYPES; t++) {
		struct weight w = random_weight(types[t], 20, depth(types[t], 3), t);
		const void *packed = packed_of(&w);
		float *x = guard_floats(40 * w.n_in, false);
		fill_random(x, 40 * w.n_in, t);
		for (size_t p = 0; p < n_paths; p++) {
			float *all = product(&paths[p].k, &w, packed, x, 40);
			for (size_t r = 0; r < 40; r++) {
				float *one = product(&paths[p].k, &w, packed, x + r * w.n_in, 1);
				cr_assert(first_difference(all + r * w.n_out, one, w.n_out) < 0,
					"%s row %zu", paths[p].name, r);
			}
		}
	}
}

Test(packed, rounds_nothing_to_zeros_and_what_is_not_finite_to_nan)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	static const float bad[] = { NAN, INFINITY, -INFINITY };
	struct weight w = random_weight(DTYPE_Q8_0, 16, 64, 1);
	const void *packed = packed_of(&w);
	float x[64] = { 0 };

	for (size_t p = 0; p < n_paths; p++) {
		memset(x, 0, sizeof x);
		x[40] = 1e-31f;
		cr_expect_eq(product(&paths[p].k, &w, packed, x, 1)[3], 0);
		for (size_t i = 0; i < 3; i++) {
			x[7] = bad[i];
			cr_expect(isnan(product(&paths[p].k, &w, packed, x, 1)[3]), "%s",
				paths[p].name);
		}
		x[7] = 3e38f; /* large, but a number */
		cr_expect(!isnan(product(&paths[p].k, &w, packed, x, 1)[3]), "%s", paths[p].name);
	}
}

Test(packed, leaves_other_formats_to_the_exact_path)
{
	uint8_t byte = 0;
	struct weight w = { .type = DTYPE_BF16, .n_out = 1, .n_in = 32, .data = &byte };

	cr_expect_eq(packed_kind_of(&w), PACKED_NONE);
	w.type = DTYPE_IQ4_NL;
	cr_expect_eq(packed_kind_of(&w), PACKED_NONE);
	w.type = DTYPE_Q8_0;
	w.data = NULL;
	cr_expect_eq(packed_kind_of(&w), PACKED_NONE);
	cr_expect_eq(packed_bytes(PACKED_Q8_0, SIZE_MAX, 1u << 30), SIZE_MAX);
}
