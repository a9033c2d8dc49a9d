/* Norms and rotations: bits against plain C on every path, and plain C against the formula. */
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>

static struct norm norm_case(size_t n, size_t n_rows, int variant)
{
	bool front = variant & 1;
	float *x = guard_floats(n * n_rows, front), *w = guard_floats(n, front);
	float *b = guard_floats(n, front);

	fill_random(x, n * n_rows, 21);
	fill_random(w, n, 22);
	fill_random(b, n, 23);
	return (struct norm) { .x = x,
		.out = guard_floats(n * n_rows, front),
		.n_rows = n_rows,
		.n = n,
		.x_stride = n,
		.out_stride = n,
		.weight = variant & 2 ? w : NULL,
		.bias = variant & 4 ? b : NULL,
		.eps = 1e-5f,
		.offset = variant & 8 ? 1 : 0 };
}

Test(rows, norms_have_the_same_bits_on_every_path, .timeout = 60)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (const size_t *n = odd_sizes; *n != SIZE_MAX; n++)
		for (int variant = 0; variant < 16; variant++) {
			struct norm a = norm_case(*n, 3, variant), b = a;
			b.out = guard_floats(3 * *n, variant & 1);
			for (size_t p = 1; p < n_paths; p++) {
				paths[0].k.rmsnorm(&a);
				paths[p].k.rmsnorm(&b);
				cr_assert(first_difference(a.out, b.out, 3 * *n) < 0,
					"%s rmsnorm %zu variant %d", paths[p].name, *n, variant);
				paths[0].k.layernorm(&a);
				paths[p].k.layernorm(&b);
				cr_assert(first_difference(a.out, b.out, 3 * *n) < 0,
					"%s layernorm %zu variant %d", paths[p].name, *n, variant);
			}
		}
}

Test(rows, norms_follow_their_formula_and_leave_padding_between_rows_alone)
{
	enum { n = 50, stride = 53 };
	struct kernels k;
	float x[2][stride], out[2][stride], w[n], b[n];

	kernels_select(&k, KERNELS_ALL);
	for (int i = 0; i < 2 * stride; i++) {
		x[i / stride][i % stride] = sinf((float)i) + 0.5f;
		out[i / stride][i % stride] = 99;
	}
	for (int i = 0; i < n; i++) {
		w[i] = 1 + 0.01f * (float)i;
		b[i] = 0.1f;
	}
	struct norm a = { x[0], out[0], 2, n, stride, stride, w, b, 1e-5f, 1 };
	k.layernorm(&a);
	for (int r = 0; r < 2; r++) {
		double mean = 0, var = 0;
		for (int i = 0; i < n; i++)
			mean += x[r][i] / n;
		for (int i = 0; i < n; i++)
			var += (x[r][i] - mean) * (x[r][i] - mean) / n;
		for (int i = 0; i < n; i++) {
			double want = (x[r][i] - mean) / sqrt(var + 1e-5) * (w[i] + 1) + 0.1;
			cr_assert(fabs(out[r][i] - want) < 1e-5, "%d %d", r, i);
		}
		for (int i = n; i < stride; i++)
			cr_assert_eq(out[r][i], 99);
	}
	a.bias = NULL;
	a.offset = 0;
	k.rmsnorm(&a);
	double mean = 0;
	for (int i = 0; i < n; i++)
		mean += x[1][i] * x[1][i] / n;
	for (int i = 0; i < n; i++)
		cr_assert(fabs(out[1][i] - x[1][i] / sqrt(mean + 1e-5) * w[i]) < 1e-5);
}

Test(rows, rotation_has_the_same_bits_on_every_path_and_leaves_the_rest_alone, .timeout = 60)
{
	static const size_t dims[][2] = { { 2, 2 }, { 8, 8 }, { 16, 4 }, { 64, 64 }, { 80, 20 },
		{ 96, 96 }, { 128, 128 }, { 66, 34 } };
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
		for (size_t p = 1; p < n_paths; p++) {
			size_t dim = dims[d][0], n_rot = dims[d][1], n = 3 * dim;
			float *x = guard_floats(n, d & 1), *y = guard_floats(n, d & 1);
			float *cos = guard_floats(n_rot / 2, d & 1),
			      *sin = guard_floats(n_rot / 2, d & 1);
			fill_random(x, n, 1);
			fill_random(y, n, 1);
			fill_random(cos, n_rot / 2, 2);
			fill_random(sin, n_rot / 2, 3);
			struct rope a = { x, 3, dim, n_rot, cos, sin },
				    b = { y, 3, dim, n_rot, cos, sin };
			paths[0].k.rope_half(&a);
			paths[p].k.rope_half(&b);
			cr_assert(first_difference(x, y, n) < 0, "%s half %zu", paths[p].name, dim);
			paths[0].k.rope_pairs(&a);
			paths[p].k.rope_pairs(&b);
			cr_assert(
				first_difference(x, y, n) < 0, "%s pairs %zu", paths[p].name, dim);
		}
}

Test(rows, rotation_turns_pairs_by_the_angle)
{
	struct kernels k;
	float x[4] = { 1, 2, 3, 4 }, y[4] = { 1, 2, 3, 4 };
	const float cos[2] = { 0.6f, 0 }, sin[2] = { 0.8f, 1 };
	const float half[4] = { 0.6f - 2.4f, -4, 1.8f + 0.8f, 2 };
	const float pairs[4] = { 0.6f - 1.6f, 1.2f + 0.8f, -4, 3 };

	kernels_select(&k, KERNELS_ALL);
	k.rope_half(&(struct rope) { x, 1, 4, 4, cos, sin });
	k.rope_pairs(&(struct rope) { y, 1, 4, 4, cos, sin });
	for (int i = 0; i < 4; i++) {
		cr_assert_float_eq(x[i], half[i], 1e-6);
		cr_assert_float_eq(y[i], pairs[i], 1e-6);
	}
}
