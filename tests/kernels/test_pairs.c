/* Products of bf16 with bf16: bits against plain C on every path, whatever rows and outputs go
 * together, and subnormal numbers. */
#include "kernels/half.h"
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

/* Between guard pages; with an odd n_in the operands begin behind one, at odd addresses. */
static float *product(const struct kernels *k, size_t n_rows, size_t n_in, size_t n_out)
{
	bool front = n_in & 1;
	char *x = guard_bytes(n_rows * n_in * 2, front), *w = guard_bytes(n_out * n_in * 2, front);
	float *out = guard_floats(n_rows * n_out, front);

	fill(x, n_rows * n_in, 1 + n_in);
	fill(w, n_out * n_in, 2 + n_in);
	k->mul_pairs(&(struct mul_pairs) { .x = x,
		.n_rows = n_rows,
		.x_stride = n_in,
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
	uint16_t x[N], w[N];
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
			&(struct mul_pairs) { x, 1, N, w, N, 2 * (size_t)N, 0, 1, &out, 1 });
		cr_assert(fabs(out - want) < 1e-6 * size, "%s: %g, want %g", paths[p].name, out,
			want);
	}
	x[0] = 0x7fc0;
	for (size_t p = 0; p < n_paths; p++) {
		paths[p].k.mul_pairs(
			&(struct mul_pairs) { x, 1, N, w, N, 2 * (size_t)N, 0, 1, &out, 1 });
		cr_assert(isnan(out), "%s", paths[p].name);
	}
}

/* Deep and many enough for several cache blocks of rows and of weights. */
Test(pairs, give_a_row_the_same_bits_in_any_company_and_any_chunk_of_outputs, .timeout = 60)
{
	const size_t n_rows = 29, n_in = 8223, n_out = 45;
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	char *x = guard_bytes(n_rows * n_in * 2, false), *w = guard_bytes(n_out * n_in * 2, false);
	float *all = guard_floats(n_rows * n_out, false), *one = guard_floats(n_out, false);

	fill(x, n_rows * n_in, 1);
	fill(w, n_out * n_in, 2);
	for (size_t p = 1; p < n_paths; p++) {
		struct mul_pairs m = { x, n_rows, n_in, w, n_in, 2 * n_in, 0, n_out, all, n_out };
		paths[p].k.mul_pairs(&m);
		for (size_t r = 0; r < n_rows; r++) {
			m.x = x + r * n_in * 2;
			m.n_rows = 1;
			m.out = one;
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
