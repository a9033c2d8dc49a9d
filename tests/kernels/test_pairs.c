/* Products of bf16 with bf16: bits against plain C on every path, whatever rows and outputs go
 * together, and subnormal numbers. */
#include "kernels/half.h"
#include "kernels/pairs.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* Now and then a subnormal number, or one whose products are. */
static void fill(void *p, size_t n, uint64_t seed)
{
	static const uint16_t small[] = { 0x0001, 0x8013, 0x007f, 0x1f80, 0x9f81, 0x0080, 0x8000 };

	fill_bf16(p, n, seed);
	for (size_t i = seed % 5; i < n; i += 5)
		memcpy((char *)p + 2 * i, &small[(i + seed) % 7], 2);
}

/* Tiles of random rows, which end where a page that may not be touched begins. */
static char *tiles(size_t n_rows, size_t n_in, uint64_t seed)
{
	char *out = guard_bytes(pairs_rows_bytes(n_rows, n_in), false),
	     *row = guard_bytes(2 * n_in, false);

	memset(out, 0, pairs_rows_bytes(n_rows, n_in));
	for (size_t i = 0; i < packed_tiles(n_rows); i++) {
		size_t first = packed_tile_row(n_rows, i);
		size_t height = packed_tile_row(n_rows, i + 1) - first;
		char *tile = out + pairs_rows_bytes(first, n_in);
		for (size_t r = 0; r < height; r++) {
			fill(row, n_in, seed + first + r);
			for (size_t e = 0; e < n_in; e++)
				memcpy(tile + ((e / 32 * height + r) * 32 + e % 32) * 2,
					row + 2 * e, 2);
		}
	}
	return out;
}

/* Between guard pages; with an odd n_in the weights begin behind one, at odd addresses. */
static float *product(const struct kernels *k, size_t n_rows, size_t n_in, size_t n_out)
{
	bool front = n_in & 1;
	char *x = tiles(n_rows, n_in, 1 + n_in), *w = guard_bytes(n_out * n_in * 2, front);
	float *out = guard_floats(n_rows * n_out, front);

	fill(w, n_out * n_in, 2 + n_in);
	k->mul_pairs(&(struct mul_pairs) { .x = x,
		.n_rows = n_rows,
		.w = w,
		.n_in = n_in,
		.w_stride = 2 * n_in,
		.o_end = n_out,
		.out = out,
		.out_stride = n_out });
	return out;
}

Test(pairs, have_the_same_bits_on_every_path_and_stay_inside, .timeout = 120)
{
	static const size_t rows[] = { 0, 1, 2, 3, 4, 5, 6, 7, 13 }, outs[] = { 0, 1, 4, 8, 13 };
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (const size_t *n = odd_sizes; *n < 300; n++)
		for (size_t c = 0; c < (size_t)9 * 5; c++) {
			size_t n_rows = rows[c % 9], n_out = outs[c / 9];
			float *want = product(&paths[0].k, n_rows, *n, n_out);
			for (size_t p = 1; p < n_paths; p++) {
				float *got = product(&paths[p].k, n_rows, *n, n_out);
				long at = first_difference(want, got, n_rows * n_out);
				cr_assert(at < 0, "%s %zu x %zu x %zu: [%ld] %a, want %a",
					paths[p].name, n_rows, *n, n_out, at, got[at], want[at]);
			}
		}
}

Test(pairs, are_the_dot_product_with_subnormal_numbers_as_zeros)
{
	enum { N = 77 };
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	uint16_t x[96] = { 0 }, w[N];
	double want = 0, size = 0;
	float out;

	fill(x, N, 3);
	fill(w, N, 4);
	for (size_t i = 0; i < N; i++) {
		double a = f32_of_bf16(x[i]), b = f32_of_bf16(w[i]);
		want += fabs(a) < 0x1p-126 || fabs(b) < 0x1p-126 ? 0 : a * b;
		size += fabs(a * b);
	}
	for (size_t p = 0; p < n_paths; p++) {
		paths[p].k.mul_pairs(
			&(struct mul_pairs) { x, 1, w, N, 2 * (size_t)N, 0, 1, &out, 1 });
		cr_assert(fabs(out - want) < 1e-6 * size, "%s: %g, want %g", paths[p].name, out,
			want);
	}
	x[0] = 0x7fc0;
	for (size_t p = 0; p < n_paths; p++) {
		paths[p].k.mul_pairs(
			&(struct mul_pairs) { x, 1, w, N, 2 * (size_t)N, 0, 1, &out, 1 });
		cr_assert(isnan(out), "%s", paths[p].name);
	}
}

/* Deep and many enough for several stretches of the depth and several passes of rows. */
Test(pairs, give_a_row_the_same_bits_in_any_company_and_any_chunk_of_outputs, .timeout = 60)
{
	const size_t n_rows = 61, n_in = 8223, n_out = 45;
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	char *x = tiles(n_rows, n_in, 1), *w = guard_bytes(n_out * n_in * 2, false);
	float *all = guard_floats(n_rows * n_out, false), *one = guard_floats(n_out, false);

	fill(w, n_out * n_in, 2);
	for (size_t p = 1; p < n_paths; p++) {
		struct mul_pairs m = { x, n_rows, w, n_in, 2 * n_in, 0, n_out, all, n_out };
		paths[p].k.mul_pairs(&m);
		m.n_rows = 1;
		m.out = one;
		for (size_t r = 0; r < n_rows; r += 1 + r % 4) {
			char *alone = guard_bytes(pairs_rows_bytes(1, n_in), false);
			memset(alone, 0, pairs_rows_bytes(1, n_in));
			fill(alone, n_in, 1 + r);
			m.x = alone;
			for (m.o_begin = 0; m.o_begin < n_out; m.o_begin = m.o_end) {
				size_t end = m.o_begin + 1 + r;
				m.o_end = end < n_out ? end : n_out;
				paths[p].k.mul_pairs(&m);
			}
			m.o_end = n_out;
			cr_assert(first_difference(all + r * n_out, one, n_out) < 0, "%s row %zu",
				paths[p].name, r);
		}
	}
}

Test(pairs, are_rounded_into_tiles_on_every_path, .timeout = 60)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (size_t n_in = 1; n_in < 2200; n_in += n_in < 70 ? 1 : 333)
		for (size_t height = 1; height <= PACKED_ROWS; height++) {
			size_t n_bytes = pairs_rows_bytes(height, n_in);
			float *x = guard_floats(height * n_in, false);
			char *out = guard_bytes(n_bytes, false);
			uint16_t want;
			fill_random(x, height * n_in, n_in);
			for (size_t p = 0; p < n_paths; p++) {
				pairs_round(&paths[p].k,
					&(struct pairs_round) { x, height, n_in, n_in, out });
				for (size_t i = 0; i < n_bytes / 2; i++) {
					size_t e = i / 32 / height * 32 + i % 32;
					float f = e < n_in ? x[i / 32 % height * n_in + e] : 0;
					paths[0].k.bf16_from_f32(&want, &f, 1);
					cr_assert_eq(memcmp(&want, out + 2 * i, 2), 0,
						"%s %zu x %zu [%zu]", paths[p].name, height, n_in,
						i);
				}
			}
		}
}
