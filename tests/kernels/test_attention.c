/* Attention: against the formula in double, and the same bits in any company and cut. */
#include "kernels/attention.h"
#include "kernels/half.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define KV_HEADS 2
#define HEAD     1
#define N_TYPES  4

static const enum dtype types[N_TYPES] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_INT8 };

/* A paged cache of n positions, each block between guard pages; positions of the last block that
 * were never written are NaN. */
struct cache {
	const void **k, **v;
	enum dtype type;
	size_t dim, n;
};

static size_t head_at(const struct cache *c)
{
	return HEAD * attend_tile_bytes(c->type, c->dim);
}

static void *make_block(const struct cache *c)
{
	size_t n_bytes = KV_HEADS * attend_tile_bytes(c->type, c->dim);

	return memset(guard_bytes(n_bytes, false), 0xff, n_bytes);
}

static void store(const struct cache *c, size_t pos, const float *k, const float *v)
{
	size_t block = pos / ATTEND_TILE;
	struct kernels plain;

	kernels_select(&plain, KERNELS_SCALAR);
	attend_store(&plain, &(struct attend_entry) { c->type, c->dim, pos % ATTEND_TILE, k, v,
				     (char *)(uintptr_t)c->k[block] + head_at(c),
				     (char *)(uintptr_t)c->v[block] + head_at(c) });
}

static struct cache make_cache(enum dtype type, size_t dim, size_t n)
{
	size_t n_blocks = (n + ATTEND_TILE - 1) / ATTEND_TILE;
	struct cache c = { .type = type, .dim = dim, .n = n };
	float *k = guard_floats(dim, false), *v = guard_floats(dim, false);
	uint64_t seed = 1;

	c.k = guard_bytes(n_blocks * sizeof *c.k, false);
	c.v = guard_bytes(n_blocks * sizeof *c.v, false);
	for (size_t i = 0; i < n_blocks; i++) {
		c.k[i] = make_block(&c);
		c.v[i] = make_block(&c);
	}
	for (size_t pos = 0; pos < n; pos++) {
		for (size_t d = 0; d < dim; d++) {
			k[d] = (float)(int32_t)next_random(&seed) * 0x1p-30f;
			v[d] = (float)(int32_t)next_random(&seed) * 0x1p-30f;
		}
		store(&c, pos, k, v);
	}
	return c;
}

/* Number i of a tile, whose position is j. */
static double stored(const struct cache *c, const void *block, size_t i, size_t j)
{
	const char *b = (const char *)block + head_at(c);
	float f;

	if (c->type == DTYPE_INT8)
		return (signed char)b[i] *
		       (double)f32_of_bf16(load_u16(b + ATTEND_TILE * c->dim + 2 * j));
	if (c->type == DTYPE_F16)
		return f32_of_f16(load_u16(b + 2 * i));
	if (c->type == DTYPE_BF16)
		return f32_of_bf16(load_u16(b + 2 * i));
	memcpy(&f, b + 4 * i, 4);
	return f;
}

static double key(const struct cache *c, size_t pos, size_t d)
{
	size_t j = pos % ATTEND_TILE;

	return stored(c, c->k[pos / ATTEND_TILE], d * ATTEND_TILE + j, j);
}

static double value(const struct cache *c, size_t pos, size_t d)
{
	size_t j = pos % ATTEND_TILE;

	return stored(c, c->v[pos / ATTEND_TILE], j * c->dim + d, j);
}

static struct attend make_attend(
	const struct cache *c, const struct attend_row *rows, size_t n_rows, size_t n_group)
{
	return (struct attend) { .rows = rows,
		.n_rows = n_rows,
		.n_group = n_group,
		.head_dim = c->dim,
		.k = c->k,
		.v = c->v,
		.kv_type = c->type,
		.kv_offset = head_at(c),
		.scale = 0.3f };
}

/* softmax(q·K)·V as the textbook has it. */
static void formula(
	const struct attend *a, const struct cache *c, size_t row, size_t head, double *out)
{
	const struct attend_row *r = &a->rows[row];
	const float *q = r->q + head * c->dim;
	double sum = a->sinks ? exp((double)a->sinks[head]) : 0;

	memset(out, 0, c->dim * sizeof *out);
	for (size_t j = r->begin; j < r->end; j++) {
		double s = 0;
		for (size_t d = 0; d < c->dim; d++)
			s += q[d] * key(c, j, d);
		s *= (double)a->scale;
		if (a->softcap > 0)
			s = a->softcap * tanh(s / a->softcap);
		double p = exp(s);
		sum += p;
		for (size_t d = 0; d < c->dim; d++)
			out[d] += p * value(c, j, d);
	}
	for (size_t d = 0; d < c->dim; d++)
		out[d] = sum > 0 ? out[d] / sum : 0;
}

static const float sinks[8] = { 0.5f, -1, 3, 20, 0, 1, 2, 3 };

static void check_formula(const struct path *p, const struct attend *a, const struct cache *c)
{
	double want[256];

	for (size_t row = 0; row < a->n_rows; row++)
		for (size_t head = 0; head < a->n_group; head++) {
			formula(a, c, row, head, want);
			for (size_t d = 0; d < c->dim; d++) {
				float got = a->rows[row].out[head * c->dim + d];
				cr_assert(fabs(got - want[d]) < 2e-5,
					"%s dim %zu row %zu head %zu of %zu..%zu: %g, want %g",
					p->name, c->dim, row, head, a->rows[row].begin,
					a->rows[row].end, got, want[d]);
			}
		}
}

Test(attention, follows_the_formula_on_every_path, .timeout = 120)
{
	static const size_t dims[] = { 1, 8, 20, 64, 100 },
			    ends[] = { 0, 1, 31, 32, 33, 100, 1025, 2100 };
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (size_t i = 0; i < (size_t)5 * 8; i++) {
		size_t dim = dims[i % 5], end = ends[i / 5], n_group = 1 + i % 4;
		struct cache c = make_cache(types[i % 3 + i % 2], dim, end);
		struct attend_row row = { guard_floats(n_group * dim, false),
			guard_floats(n_group * dim, false), i % 2 ? end / 3 : 0, end };
		struct attend a = make_attend(&c, &row, 1, n_group);
		a.softcap = i % 4 == 1 ? 5 : 0;
		a.sinks = i % 3 ? sinks : NULL;
		fill_bf16((void *)row.q, 2 * n_group * dim, 9);
		for (size_t d = 0; d < n_group * dim; d++)
			((float *)(uintptr_t)row.q)[d] = sinf((float)d + (float)i);
		float *scratch = guard_floats(attend_scratch(1, n_group, dim), false);
		for (size_t p = 0; p < n_paths; p++) {
			attend(&paths[p].k, &a, scratch);
			check_formula(&paths[p], &a, &c);
		}
	}
}

Test(attention, rounds_a_position_to_int8_by_its_own_scale)
{
	float x[3][40] = { { 0 } }, *k = x[0];
	struct cache c = { .k = (const void *[1]) { NULL },
		.v = (const void *[1]) { NULL },
		.type = DTYPE_INT8,
		.dim = 40 };

	c.k[0] = make_block(&c);
	c.v[0] = make_block(&c);
	for (size_t d = 0; d < c.dim; d++) {
		k[d] = (float)(d + 1) * (d % 2 ? 1e-3f : -1e-3f);
		x[1][d] = d == 7 ? 1e30f : d == 8 ? -3e38f : 0;
	}
	store(&c, 3, k, x[1]);
	store(&c, 4, x[2], k);
	k[9] = INFINITY;
	store(&c, 31, k, x[1]);
	k[9] = 10e-3f;
	for (size_t d = 0; d < c.dim; d++) {
		cr_expect(fabs(key(&c, 3, d) - k[d]) <= 0.51 * 40e-3 / 126, "element %zu", d);
		cr_expect(fabs(value(&c, 3, d) - x[1][d]) <= 0.51 * 3e38 / 126, "large %zu", d);
		cr_expect_eq(key(&c, 4, d), 0, "zeros stay zeros");
		cr_expect(isnan(key(&c, 31, d)), "what is not finite shows");
	}
	cr_expect_eq(attend_tile_bytes(DTYPE_INT8, 64), (size_t)ATTEND_TILE * 66);
	cr_expect_eq(attend_tile_bytes(DTYPE_F16, 64), (size_t)ATTEND_TILE * 128);
	cr_expect_eq(attend_tile_bytes(DTYPE_INT8, SIZE_MAX / 32), SIZE_MAX);
}

struct chunk {
	struct attend_row *rows;
	float *q, *out;
	size_t n_rows;
};

/* Rows at positions at.. of a prompt, each seeing `window` positions at most. */
static struct chunk make_chunk(size_t at, size_t n_rows, size_t width, size_t window)
{
	struct chunk c = { guard_bytes(n_rows * sizeof *c.rows, false),
		guard_floats(n_rows * width, false), guard_floats(n_rows * width, false), n_rows };

	for (size_t i = 0; i < n_rows; i++) {
		size_t end = at + i + 1;
		for (size_t d = 0; d < width; d++)
			c.q[i * width + d] = sinf((float)(end * 31 + d));
		c.rows[i] = (struct attend_row) { c.q + i * width, c.out + i * width,
			end > window ? end - window : 0, end };
	}
	return c;
}

#define LONGEST 1200

static void check_company(
	const struct path *paths, size_t n_paths, const struct cache *c, size_t n_group)
{
	static const size_t cuts[] = { 1, 7, 40, LONGEST };
	size_t width = n_group * c->dim, window = c->dim == 64 ? 300 : 4000, from = LONGEST - 120;
	struct chunk whole = make_chunk(from, 120, width, window);
	struct attend a = make_attend(c, whole.rows, 120, n_group);
	float *scratch = guard_floats(attend_scratch(LONGEST, n_group, c->dim), false);

	attend(&paths[0].k, &a, scratch);
	for (size_t p = 0; p < n_paths; p++)
		for (size_t i = 0; i < 4; i++)
			for (size_t at = from; at < LONGEST; at += cuts[i]) {
				size_t n = LONGEST - at < cuts[i] ? LONGEST - at : cuts[i];
				struct chunk part = make_chunk(at, n, width, window);
				a = make_attend(c, part.rows, n, n_group);
				attend(&paths[p].k, &a, scratch);
				cr_assert(first_difference(whole.out + (at - from) * width,
						  part.out, n * width) < 0,
					"%s: rows %zu..%zu, type %d", paths[p].name, at, at + n,
					(int)c->type);
			}
}

Test(attention, gives_a_row_the_same_bits_in_any_chunk_on_any_path, .timeout = 120)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (size_t i = 0; i < N_TYPES; i++) {
		struct cache c = make_cache(types[i], i % 2 ? 64 : 24, LONGEST);
		check_company(paths, n_paths, &c, types[i] == DTYPE_BF16 ? 3 : 4);
	}
}

Test(attention, gives_the_same_bits_span_by_span_in_any_order, .timeout = 120)
{
	const size_t n = 3 * ATTEND_SPAN + 77, dim = 40, n_group = 5;
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths), n_state = attend_state_floats(n_group, dim);
	struct cache c = make_cache(DTYPE_F16, dim, n);
	float *scratch = guard_floats(attend_scratch(1, n_group, dim), false);

	for (size_t p = 0; p < n_paths; p++)
		for (size_t begin = 0; begin < n; begin += 1500) {
			struct chunk whole = make_chunk(n - 1, 1, n_group * dim, n - begin);
			struct chunk parts = make_chunk(n - 1, 1, n_group * dim, n - begin);
			struct attend a = make_attend(&c, whole.rows, 1, n_group);
			a.sinks = begin ? sinks : NULL;
			attend(&paths[p].k, &a, scratch);
			a.rows = parts.rows;
			size_t first = attend_first_span(&a), last = attend_last_span(&a);
			cr_assert(first == begin / ATTEND_SPAN && last == (n - 1) / ATTEND_SPAN);
			float *states = guard_floats((last - first + 1) * n_state, false);
			for (size_t s = last + 1; s-- > first;)
				attend_span(&paths[p].k, &a, s, states + (s - first) * n_state,
					scratch);
			attend_join(&paths[p].k, &a, states);
			cr_assert(first_difference(whole.out, parts.out, n_group * dim) < 0,
				"%s from %zu", paths[p].name, begin);
		}
}

Test(attention, is_not_poisoned_by_what_a_row_does_not_see)
{
	const size_t n = 50, dim = 32, n_group = 4;
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	for (size_t p = 0; p < n_paths; p++) {
		struct cache c = make_cache(types[p % N_TYPES], dim, n);
		float bad[2][32];
		struct chunk want = make_chunk(n - 6, 6, n_group * dim, 1000);
		struct chunk got = make_chunk(n - 6, 6, n_group * dim, 1000);
		struct attend a = make_attend(&c, want.rows, 5, n_group);
		float *scratch = guard_floats(attend_scratch(6, n_group, dim), false);
		attend(&paths[p].k, &a, scratch);
		/* The last position turns bad; only the row that sees it may notice. */
		for (size_t d = 0; d < dim; d++) {
			bad[0][d] = NAN;
			bad[1][d] = INFINITY;
		}
		store(&c, n - 1, bad[0], bad[1]);
		a = make_attend(&c, got.rows, 6, n_group);
		attend(&paths[p].k, &a, scratch);
		cr_assert(first_difference(want.out, got.out, 5 * n_group * dim) < 0, "%s",
			paths[p].name);
		cr_assert(isnan(got.out[5 * n_group * dim]));
	}
}
