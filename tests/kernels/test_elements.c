/* Every element-wise slot and reduction on every instruction set, bit for bit against plain C,
 * between guard pages, at any address. */
#include "kernels/half.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

typedef void unary(const struct kernels *k, float *out, const float *a, const float *b, size_t n);

static void do_silu(const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	k->silu(out, a, b, n);
}
static void do_silu_alone(
	const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	(void)b;
	k->silu(out, a, NULL, n);
}
static void do_gelu_tanh(
	const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	k->gelu_tanh(out, a, b, n);
}
static void do_gelu_erf(
	const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	k->gelu_erf(out, a, b, n);
}
static void do_add(const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	k->add(out, a, b, n);
}
static void do_add_scaled(
	const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	k->add_scaled(out, a, b, 1.7f, n);
}
static void do_scale(const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	(void)b;
	k->scale(out, a, -0.3f, n);
}
static void do_softcap(
	const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	(void)b;
	k->softcap(out, a, 30, n);
}
static void do_exp(const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	(void)b;
	k->exp(out, a, n);
}
static void do_softmax(
	const struct kernels *k, float *out, const float *a, const float *b, size_t n)
{
	(void)b;
	for (size_t i = 0; i < n; i++)
		out[i] = a[i];
	k->softmax(out, n);
}

static const struct {
	const char *name;
	unary *run;
} unaries[] = {
	{ "silu", do_silu },
	{ "silu without up", do_silu_alone },
	{ "gelu_tanh", do_gelu_tanh },
	{ "gelu_erf", do_gelu_erf },
	{ "add", do_add },
	{ "add_scaled", do_add_scaled },
	{ "scale", do_scale },
	{ "softcap", do_softcap },
	{ "exp", do_exp },
	{ "softmax", do_softmax },
};
#define N_UNARIES (sizeof unaries / sizeof *unaries)

static void compare_unary(size_t u, size_t n, bool front)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	float *a = guard_floats(n, front), *b = guard_floats(n, front);
	float *want = guard_floats(n, front), *got = guard_floats(n, front);

	fill_random(a, n, 11 + n);
	fill_random(b, n, 12 + n);
	unaries[u].run(&paths[0].k, want, a, b, n);
	for (size_t i = 1; i < n_paths; i++) {
		unaries[u].run(&paths[i].k, got, a, b, n);
		long at = first_difference(want, got, n);
		cr_assert(at < 0, "%s %s n=%zu: [%ld] of (%a, %a) is %a, want %a", paths[i].name,
			unaries[u].name, n, at, a[at], b[at], got[at], want[at]);
	}
}

Test(elements, have_the_same_bits_on_every_path_and_stay_inside, .timeout = 60)
{
	for (size_t u = 0; u < N_UNARIES; u++)
		for (const size_t *n = odd_sizes; *n != SIZE_MAX; n++) {
			compare_unary(u, *n, false);
			compare_unary(u, *n, true);
		}
}

Test(elements, may_be_written_over_their_input)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths), n = 77;
	float a[77], b[77], apart[77];

	for (size_t i = 0; i < n_paths; i++)
		for (size_t u = 0; u < N_UNARIES; u++) {
			fill_random(a, n, 3);
			fill_random(b, n, 4);
			unaries[u].run(&paths[i].k, apart, a, b, n);
			unaries[u].run(&paths[i].k, a, a, b, n);
			cr_assert(first_difference(apart, a, n) < 0, "%s %s", paths[i].name,
				unaries[u].name);
		}
}

/* Every finite float in steps, both signs, beside infinities and NaN. */
Test(elements, agree_on_numbers_of_every_size, .timeout = 120)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths), n = 4096;
	float *a = guard_floats(n, false), *b = guard_floats(n, false);
	float *want = guard_floats(n, false), *got = guard_floats(n, false);

	for (uint64_t from = 0; from < (1ull << 32); from += 1ull << 28) {
		for (size_t i = 0; i < n; i++) {
			a[i] = f32_of_bits((uint32_t)(from + (i << 16) + i * 13));
			b[i] = 1.25f;
		}
		for (size_t u = 0; u < N_UNARIES; u++) {
			unaries[u].run(&paths[0].k, want, a, b, n);
			for (size_t i = 1; i < n_paths; i++) {
				unaries[u].run(&paths[i].k, got, a, b, n);
				long at = first_difference(want, got, n);
				cr_assert(at < 0, "%s %s(%a) is %a, want %a", paths[i].name,
					unaries[u].name, a[at], got[at], want[at]);
			}
		}
	}
}

static void compare_reductions(
	const struct path *ref, const struct path *p, const float *x, size_t n)
{
	float a = ref->k.max(x, n), b = p->k.max(x, n);

	cr_assert(a == b || (isnan(a) && isnan(b)), "%s max of %zu: %a, want %a", p->name, n, b, a);
	cr_assert_eq(p->k.argmax(x, n), ref->k.argmax(x, n), "%s argmax of %zu", p->name, n);
	a = ref->k.sum_exp(x, 1.5f, n);
	b = p->k.sum_exp(x, 1.5f, n);
	cr_assert(first_difference(&a, &b, 1) < 0, "%s sum_exp of %zu: %a, want %a", p->name, n, b,
		a);
}

Test(elements, reduce_alike_on_every_path, .timeout = 60)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (const size_t *n = odd_sizes; *n != SIZE_MAX; n++)
		for (int variant = 0; variant < 8; variant++) {
			float *x = guard_floats(*n, variant & 1);
			fill_random(x, *n, (uint64_t)variant + *n);
			for (size_t i = 0; i < *n; i++) {
				if (variant == 2 || (variant == 3 && i % 3))
					x[i] = NAN;
				if (variant == 4)
					x[i] = -INFINITY;
				if (variant == 5)
					x[i] = i % 2 ? 0.0f : -0.0f;
				if (variant == 6)
					x[i] = 5;
			}
			for (size_t p = 1; p < n_paths; p++)
				compare_reductions(&paths[0], &paths[p], x, *n);
		}
}

Test(elements, find_the_first_of_equal_largest_values)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	float x[100] = { 0 };

	for (size_t p = 0; p < n_paths; p++)
		for (size_t at = 0; at < 100; at++) {
			x[at] = 3;
			x[99] = 3;
			cr_assert_eq(paths[p].k.argmax(x, 100), at);
			x[at] = 0;
		}
}

/* All 65536 patterns through every path, and back. */
Test(elements, widen_every_half_exactly_and_narrow_it_back, .timeout = 60)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	static uint16_t in[65536], back[65536];
	static float wide[65536];

	for (size_t i = 0; i < 65536; i++)
		in[i] = (uint16_t)i;
	for (size_t p = 0; p < n_paths; p++) {
		paths[p].k.f32_from_f16(wide, in, 65536);
		paths[p].k.f16_from_f32(back, wide, 65536);
		for (size_t i = 0; i < 65536; i++) {
			bool nan = (i & 0x7fff) > 0x7c00;
			double m = (double)(i & 0x3ff), e = (double)(i >> 10 & 31);
			double want = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, (int)e - 25);
			if ((i & 0x7fff) < 0x7c00)
				cr_assert_eq(wide[i], (float)(i & 0x8000 ? -want : want), "%zx", i);
			cr_assert(
				back[i] == in[i] || (nan && (back[i] & 0x7fff) > 0x7c00), "%zx", i);
		}
		paths[p].k.f32_from_bf16(wide, in, 65536);
		paths[p].k.bf16_from_f32(back, wide, 65536);
		for (size_t i = 0; i < 65536; i++) {
			bool nan = (i & 0x7fff) > 0x7f80;
			cr_assert(nan ? isnan(wide[i]) : bits_of_f32(wide[i]) == (uint32_t)i << 16);
			cr_assert(
				back[i] == in[i] || (nan && (back[i] & 0x7fff) > 0x7f80), "%zx", i);
		}
	}
}

static void compare_narrowing(
	const struct path *ref, const struct path *p, const float *x, size_t n)
{
	uint16_t *want = guard_bytes(2 * n, false), *got = guard_bytes(2 * n, false);

	ref->k.f16_from_f32(want, x, n);
	p->k.f16_from_f32(got, x, n);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(
			got[i], want[i], "%s f16 of %a: %x %x", p->name, x[i], got[i], want[i]);
	ref->k.bf16_from_f32(want, x, n);
	p->k.bf16_from_f32(got, x, n);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(
			got[i], want[i], "%s bf16 of %a: %x %x", p->name, x[i], got[i], want[i]);
}

Test(elements, narrow_alike_on_every_path, .timeout = 60)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);
	static float x[1 << 16];

	for (size_t i = 0; i < 1 << 16; i++) /* around every f16 tie, and everywhere else */
		x[i] = f32_of_bits(
			(uint32_t)(i << 16 | (i % 3 ? 0x1000 + i % 5 - 2 : i * 40503 % 65536)));
	for (size_t p = 1; p < n_paths; p++) {
		compare_narrowing(&paths[0], &paths[p], x, 1 << 16);
		for (const size_t *n = odd_sizes; *n != SIZE_MAX; n++)
			compare_narrowing(&paths[0], &paths[p], x + 777, *n);
	}
}

Test(elements, read_and_write_halves_at_odd_addresses_inside_guard_pages)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (size_t p = 0; p < n_paths; p++)
		for (const size_t *n = odd_sizes; *n != SIZE_MAX; n++) {
			unsigned char *h = guard_bytes(2 * *n + 1, true);
			float *wide = guard_floats(*n, false), *want = guard_floats(*n, false);
			fill_bf16(h + 1, *n, *n);
			for (size_t i = 0; i < *n; i++)
				want[i] = f32_of_bf16(load_u16(h + 1 + 2 * i));
			paths[p].k.f32_from_bf16(wide, h + 1, *n);
			cr_assert(first_difference(want, wide, *n) < 0);
			paths[p].k.f16_from_f32(h + 1, wide, *n);
			paths[p].k.f32_from_f16(wide, h + 1, *n);
			for (size_t i = 0; i < *n; i++)
				cr_assert(fabsf(wide[i] - want[i]) <= fabsf(want[i]) * 0x1p-11f);
		}
}
