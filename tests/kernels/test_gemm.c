/* Panels through OpenBLAS: right, and row-exact where they say so. */
#include "kernels/gemm.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define MOST_ROWS ((size_t)70)
#define OUTS      ((size_t)150)

static void reference(const float *x, const float *w, size_t n_in, size_t n_rows, double *out)
{
	for (size_t r = 0; r < n_rows; r++)
		for (size_t o = 0; o < OUTS; o++) {
			out[r * OUTS + o] = 0;
			for (size_t i = 0; i < n_in; i++)
				out[r * OUTS + o] += (double)x[r * n_in + i] * w[o * n_in + i];
		}
}

Test(gemm, multiplies, .timeout = 60)
{
	static const size_t depths[] = { 1, 17, 256, 515 };
	static double want[MOST_ROWS * OUTS];
	struct kernels k;

	gemm_init();
	kernels_select(&k, KERNELS_ALL);
	for (size_t d = 0; d < 4; d++) {
		size_t n_in = depths[d];
		float *x = guard_floats(MOST_ROWS * n_in, false),
		      *w = guard_floats(OUTS * n_in, false);
		float *out = guard_floats(MOST_ROWS * OUTS, false);
		float *scratch = guard_floats(gemm_scratch(n_in), false);
		char *narrow = guard_bytes(OUTS * n_in * 2, false);
		fill_random(x, MOST_ROWS * n_in, 1);
		fill_bf16(narrow, OUTS * n_in, 2);
		k.f32_from_bf16(w, narrow, OUTS * n_in);
		reference(x, w, n_in, MOST_ROWS, want);
		struct mul m = { x, MOST_ROWS, n_in, narrow, n_in, n_in * 2, 0, OUTS, out, OUTS };
		gemm_panel(&k, DTYPE_BF16, &m, scratch);
		for (size_t i = 0; i < MOST_ROWS * OUTS; i++)
			cr_assert(fabs(out[i] - want[i]) <= 1e-5 * (fabs(want[i]) + 3000),
				"%zu deep [%zu]", n_in, i);
	}
}

/* Random rows at every place among random neighbours, any number of rows, both halves of the
 * outputs apart: the same bits, wherever gemm_is_row_exact() said so. */
static void check_exact(const struct kernels *k, size_t n_in)
{
	float *x = guard_floats(MOST_ROWS * n_in, false), *w = guard_floats(OUTS * n_in, false);
	float *all = guard_floats(MOST_ROWS * OUTS, false),
	      *part = guard_floats(MOST_ROWS * OUTS, false);
	float *scratch = guard_floats(gemm_scratch(n_in), false);

	fill_random(x, MOST_ROWS * n_in, 3);
	fill_random(w, OUTS * n_in, 4);
	struct mul m = { x, MOST_ROWS, n_in, w, n_in, n_in * 4, 0, OUTS, all, OUTS };
	gemm_panel(k, DTYPE_F32, &m, scratch);
	m.out = part;
	for (size_t n = 1; n <= 40; n++) {
		size_t at = n * 7 % (MOST_ROWS - n);
		m.x = x + at * n_in;
		m.n_rows = n;
		m.o_begin = n % 2 ? 0 : GEMM_OUTS;
		m.o_end = n % 3 ? OUTS : (size_t)2 * GEMM_OUTS;
		gemm_panel(k, DTYPE_F32, &m, scratch);
		for (size_t r = 0; r < n; r++)
			cr_assert(first_difference(all + (at + r) * OUTS + m.o_begin,
					  part + r * OUTS + m.o_begin, m.o_end - m.o_begin) < 0,
				"depth %zu: row %zu among %zu on %s", n_in, at + r, n,
				gemm_core_name());
	}
}

Test(gemm, gives_a_row_the_same_bits_at_every_place_beside_any_neighbours, .timeout = 120)
{
	static const size_t depths[] = { 1, 7, 64, 256, 384, 1000, 1024, 3000 };
	struct kernels k;
	size_t n_exact = 0;

	gemm_init();
	kernels_select(&k, KERNELS_ALL);
	for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
		float *scratch = guard_floats(gemm_scratch(depths[d]), false);
		if (!gemm_is_row_exact(depths[d], GEMM_OUTS, scratch) ||
			!gemm_is_row_exact(depths[d], OUTS % GEMM_OUTS, scratch))
			continue;
		n_exact++;
		check_exact(&k, depths[d]);
	}
	if (n_exact == 0)
		cr_skip_test(
			"OpenBLAS is not row-exact on this CPU: the kernels' own product serves");
}
