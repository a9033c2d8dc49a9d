/* The products: bits against plain C on every path, and independent of company. */
#include "kernels/dtype.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

typedef void mul_slot(const struct mul *m);

static mul_slot *slot_of(const struct kernels *k, enum dtype type)
{
	return type == DTYPE_F32 ? k->mul_f32 : type == DTYPE_F16 ? k->mul_f16 : k->mul_bf16;
}

static const char *const type_names[] = { "f32", "f16", "bf16" };

static size_t bytes_of(enum dtype type)
{
	return type == DTYPE_F32 ? 4 : 2;
}

static void fill_weights(void *w, size_t n, enum dtype type, uint64_t seed)
{
	if (type == DTYPE_F16)
		fill_f16(w, n, seed);
	else if (type == DTYPE_BF16)
		fill_bf16(w, n, seed);
	else
		for (size_t i = 0; i < n; i++)
			memcpy((char *)w + 4 * i,
				&(float) { (float)(int)next_random(&seed) * 0x1p-31f }, 4);
}

/* One product between guard pages: x and out flush against the page behind, weights too or,
 * with front, at an odd address after the page before. */
static float *product(
	const struct kernels *k, enum dtype type, size_t n_rows, size_t n_in, size_t n_out)
{
	bool front = n_in & 1;
	float *x = guard_floats(n_rows * n_in, front), *out = guard_floats(n_rows * n_out, front);
	char *w = guard_bytes(n_out * n_in * bytes_of(type), front);

	fill_random(x, n_rows * n_in, 5);
	fill_weights(w, n_out * n_in, type, 6);
	slot_of(k, type)(&(struct mul) { .x = x,
		.n_rows = n_rows,
		.x_stride = n_in,
		.w = w,
		.n_in = n_in,
		.w_stride = n_in * bytes_of(type),
		.o_begin = 0,
		.o_end = n_out,
		.out = out,
		.out_stride = n_out });
	return out;
}

static void compare_paths(enum dtype type)
{
	static const size_t rows[] = { 0, 1, 2, 3, 4, 6, 7, 13 }, outs[] = { 0, 1, 3, 4, 9, 17 };
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (const size_t *n = odd_sizes; *n < 300; n++)
		for (size_t c = 0; c < (size_t)8 * 6; c++) {
			size_t n_rows = rows[c % 8], n_out = outs[c / 8];
			float *want = product(&paths[0].k, type, n_rows, *n, n_out);
			for (size_t p = 1; p < n_paths; p++) {
				float *got = product(&paths[p].k, type, n_rows, *n, n_out);
				long at = first_difference(want, got, n_rows * n_out);
				cr_assert(at < 0, "%s %s %zu x %zu x %zu: [%ld] %a, want %a",
					paths[p].name, type_names[type], n_rows, *n, n_out, at,
					got[at], want[at]);
			}
		}
}

/* A test each: a process may have only so many guarded buffers. */
Test(mul, of_f32_has_the_same_bits_on_every_path_and_stays_inside, .timeout = 120)
{
	compare_paths(DTYPE_F32);
}

Test(mul, of_f16_has_the_same_bits_on_every_path_and_stays_inside, .timeout = 120)
{
	compare_paths(DTYPE_F16);
}

Test(mul, of_bf16_has_the_same_bits_on_every_path_and_stays_inside, .timeout = 120)
{
	compare_paths(DTYPE_BF16);
}

Test(mul, is_the_dot_product)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths), n = 999;
	float x[999], w[999], out;
	double want = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		x[i] = sinf((float)i);
		w[i] = cosf((float)i * 1.3f);
		want += (double)x[i] * w[i];
		size += fabs((double)x[i] * w[i]);
	}
	for (size_t p = 0; p < n_paths; p++) {
		paths[p].k.mul_f32(&(struct mul) { x, 1, n, w, n, 4 * n, 0, 1, &out, 1 });
		cr_assert(fabs(out - want) < 1e-6 * size, "%s: %g, want %g", paths[p].name, out,
			want);
	}
}

#define ROWS ((size_t)33)
#define N_IN ((size_t)203)
#define OUTS ((size_t)29)

struct case_ {
	float x[ROWS][N_IN + 3], all[ROWS][OUTS], part[ROWS][OUTS];
	char w[OUTS * (N_IN * 4 + 1) + 1];
	struct mul m;
	mul_slot *slot;
};

static void set_up(struct case_ *c, const struct path *p, enum dtype type)
{
	size_t stride = N_IN * bytes_of(type) + 1; /* rows at odd addresses */

	fill_random(c->x[0], ROWS * (N_IN + 3), 7);
	for (size_t o = 0; o < OUTS; o++)
		fill_weights(c->w + 1 + o * stride, N_IN, type, o);
	c->slot = slot_of(&p->k, type);
	c->m = (struct mul) { c->x[0], ROWS, N_IN + 3, c->w + 1, N_IN, stride, 0, OUTS, c->all[0],
		OUTS };
	c->slot(&c->m);
	c->m.out = c->part[0];
}

Test(mul, gives_a_row_the_same_bits_in_any_company_of_rows, .timeout = 60)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	static struct case_ c;

	for (size_t p = 0; p < n_paths; p++)
		for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16; type++) {
			set_up(&c, &paths[p], type);
			for (size_t n = 1; n <= ROWS; n++)
				for (size_t at = 0; at + n <= ROWS; at += n) {
					c.m.x = c.x[at];
					c.m.n_rows = n;
					c.slot(&c.m);
					cr_assert(first_difference(c.all[at], c.part[0], n * OUTS) <
							  0,
						"%s %s: rows %zu..%zu", paths[p].name,
						type_names[type], at, at + n);
				}
		}
}

/* What [begin, end) wrote, and nothing else, equals the whole. */
static void check_chunk(struct case_ *c, const char *name, size_t begin, size_t end)
{
	float untouched;

	memset(&untouched, 0x55, sizeof untouched);
	memset(c->part, 0x55, sizeof c->part);
	c->m.o_begin = begin;
	c->m.o_end = end;
	c->m.n_rows = 1 + begin % 5;
	c->slot(&c->m);
	for (size_t r = 0; r < ROWS; r++)
		for (size_t o = 0; o < OUTS; o++) {
			bool in = r < c->m.n_rows && o >= begin && o < end;
			float want = in ? c->all[r][o] : untouched;
			cr_assert(first_difference(&want, &c->part[r][o], 1) < 0,
				"%s [%zu, %zu) at row %zu, output %zu", name, begin, end, r, o);
		}
}

Test(mul, gives_an_output_the_same_bits_in_any_chunk_and_touches_no_other, .timeout = 60)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	static struct case_ c;

	for (size_t p = 0; p < n_paths; p++)
		for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16; type++) {
			set_up(&c, &paths[p], type);
			for (size_t begin = 0; begin <= OUTS; begin++)
				for (size_t end = begin; end <= OUTS; end += 3)
					check_chunk(&c, paths[p].name, begin, end);
		}
}

/* Deep enough that rows and weights no longer fit the cache blocks of vec_mul.h. */
Test(mul, keeps_its_bits_across_cache_blocks, .timeout = 60)
{
	const size_t rows = 40, n_in = 4111, outs = 70;
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	float *x = guard_floats(rows * n_in, false), *one = guard_floats(outs, false);
	float *all = guard_floats(rows * outs, false);
	char *w = guard_bytes(outs * n_in * 2, false);

	fill_random(x, rows * n_in, 1);
	fill_bf16(w, outs * n_in, 2);
	for (size_t p = 1; p < n_paths; p++) {
		struct mul m = { x, rows, n_in, w, n_in, n_in * 2, 0, outs, all, outs };
		paths[p].k.mul_bf16(&m);
		m.n_rows = 1;
		m.out = one;
		for (size_t r = 0; r < rows; r++) {
			m.x = x + r * n_in;
			paths[p].k.mul_bf16(&m);
			cr_assert(first_difference(all + r * outs, one, outs) < 0, "%s row %zu",
				paths[p].name, r);
		}
	}
}
