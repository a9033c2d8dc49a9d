#include "kernels/pool.h"
#include "tests/worker/model_fixture.h"
#include "worker/model/kv.h"
#include <criterion/criterion.h>
#include <string.h>

static const struct kv_shape SHAPE = {
	.n_layers = 2, .n_kv_heads = 2, .head_dim = 4, .dtype = KV_F32
};
static struct kv_pool *pool;

static void open_pool(void)
{
	struct fault f = { 0 };

	/* 2 layers × K and V × 32 tokens × 8 floats = 4096 bytes a block. */
	pool = kv_pool_new(&SHAPE, 8 * 4096 + 100, &f);
	cr_assert_not_null(pool, "%s", f.text);
}

static void close_pool(void)
{
	cr_assert_eq(kv_pool_free_blocks(pool), kv_pool_blocks(pool), "blocks leaked");
	kv_pool_free(pool);
}

TestSuite(kv, .init = open_pool, .fini = close_pool);

static void grow(struct kv_seq *s, size_t n)
{
	cr_assert_eq(kv_reserve(s, n), 0);
	s->n_tokens += n;
}

static float *first_k(const struct kv_seq *s, size_t block)
{
	return kv_block_k(pool, s->blocks[block], 0);
}

Test(kv, a_pool_is_cut_into_whole_blocks)
{
	cr_assert_eq(kv_pool_block_bytes(pool), 4096);
	cr_assert_eq(kv_pool_blocks(pool), 8);
}

Test(kv, a_pool_too_small_for_one_block_is_refused)
{
	struct fault f = { 0 };

	cr_assert_null(kv_pool_new(&SHAPE, 4095, &f));
	cr_assert_eq(f.err, ERR_NOMEM);
}

Test(kv, a_shape_that_overflows_is_refused)
{
	const struct kv_shape huge = { SIZE_MAX / 8, SIZE_MAX / 8, 128, KV_F32 };
	struct fault f = { 0 };

	cr_assert_null(kv_pool_new(&huge, 1 << 20, &f));
	cr_assert_eq(f.err, ERR_NOMEM);
}

Test(kv, of_int8_takes_little_more_than_half_of_f16)
{
	struct kv_shape halves = SHAPE, bytes = SHAPE;

	halves.dtype = KV_F16;
	bytes.dtype = KV_INT8;
	for (size_t dim = 32; dim <= 256; dim *= 2) {
		halves.head_dim = bytes.head_dim = dim;
		cr_expect_eq(kv_token_bytes(&halves), 16 * dim);
		cr_expect_leq(100 * kv_token_bytes(&bytes), 55 * kv_token_bytes(&halves));
	}
}

Test(kv, planes_of_blocks_and_layers_do_not_touch)
{
	struct kv_seq s;
	const size_t n = (size_t)32 * 8;

	kv_seq_init(&s, pool);
	grow(&s, 64);
	for (size_t b = 0; b < 2; b++)
		for (size_t l = 0; l < 2; l++) {
			memset(kv_block_k(pool, s.blocks[b], l), (int)(4 * b + 2 * l + 1), n * 4);
			memset(kv_block_v(pool, s.blocks[b], l), (int)(4 * b + 2 * l + 2), n * 4);
		}
	for (size_t b = 0; b < 2; b++)
		for (size_t l = 0; l < 2; l++) {
			const uint8_t *k = kv_block_k(pool, s.blocks[b], l);
			const uint8_t *v = kv_block_v(pool, s.blocks[b], l);
			cr_assert(k[0] == 4 * b + 2 * l + 1 && k[n * 4 - 1] == k[0]);
			cr_assert(v[0] == 4 * b + 2 * l + 2 && v[n * 4 - 1] == v[0]);
		}
	kv_seq_release(&s);
}

Test(kv, reserving_takes_blocks_only_when_the_last_is_full)
{
	struct kv_seq s;

	kv_seq_init(&s, pool);
	grow(&s, 31);
	cr_assert_eq(s.n_blocks, 1);
	grow(&s, 1);
	cr_assert_eq(s.n_blocks, 1);
	grow(&s, 1);
	cr_assert_eq(s.n_blocks, 2);
	kv_seq_release(&s);
}

Test(kv, a_reservation_that_does_not_fit_changes_nothing)
{
	struct kv_seq s;

	kv_seq_init(&s, pool);
	grow(&s, 40);
	cr_assert_eq(kv_reserve(&s, (size_t)8 * 32), ERR_NOMEM);
	cr_assert_eq(kv_reserve(&s, SIZE_MAX), ERR_NOMEM);
	cr_assert(s.n_tokens == 40 && s.n_blocks == 2 && kv_pool_free_blocks(pool) == 6);
	kv_seq_release(&s);
}

Test(kv, truncating_gives_whole_blocks_back)
{
	struct kv_seq s;

	kv_seq_init(&s, pool);
	grow(&s, 100);
	kv_truncate(&s, 33);
	cr_assert(s.n_tokens == 33 && s.n_blocks == 2);
	kv_truncate(&s, 32);
	cr_assert_eq(s.n_blocks, 1);
	kv_truncate(&s, 0);
	cr_assert_eq(kv_pool_free_blocks(pool), 8);
	kv_seq_release(&s);
}

Test(kv, sharing_copies_nothing_until_the_partly_filled_block_is_written)
{
	struct kv_seq a, b;

	kv_seq_init(&a, pool);
	kv_seq_init(&b, pool);
	grow(&a, 40);
	first_k(&a, 1)[0] = 7;
	kv_share(&b, &a, 40);
	cr_assert_eq(kv_pool_free_blocks(pool), 6);
	cr_assert(a.blocks[0] == b.blocks[0] && a.blocks[1] == b.blocks[1]);
	grow(&b, 1);
	cr_assert(a.blocks[0] == b.blocks[0] && a.blocks[1] != b.blocks[1]);
	cr_assert_eq(first_k(&b, 1)[0], 7, "the copy lacks what was there");
	first_k(&b, 1)[0] = 8;
	cr_assert_eq(first_k(&a, 1)[0], 7, "the copy writes through");
	/* a is the block's only user now and writes in place. */
	int32_t own = a.blocks[1];
	grow(&a, 1);
	cr_assert_eq(a.blocks[1], own);
	kv_seq_release(&a);
	cr_assert_eq(kv_pool_free_blocks(pool), 6);
	kv_seq_release(&b);
}

Test(kv, sharing_part_of_a_block_protects_the_source_when_it_grows)
{
	struct kv_seq a, b;

	kv_seq_init(&a, pool);
	kv_seq_init(&b, pool);
	grow(&a, 20);
	kv_share(&b, &a, 10);
	cr_assert_eq(b.n_tokens, 10);
	int32_t shared = a.blocks[0];
	grow(&a, 1);
	cr_assert_neq(a.blocks[0], shared, "a wrote to a block b still reads");
	cr_assert_eq(b.blocks[0], shared);
	kv_seq_release(&b);
	kv_seq_release(&a);
}

Test(kv, sharing_at_a_block_boundary_needs_no_copy)
{
	struct kv_seq a, b;

	kv_seq_init(&a, pool);
	kv_seq_init(&b, pool);
	grow(&a, 64);
	kv_share(&b, &a, 32);
	grow(&b, 32);
	cr_assert(b.blocks[0] == a.blocks[0] && b.blocks[1] != a.blocks[1]);
	cr_assert_eq(kv_pool_free_blocks(pool), 5);
	kv_seq_release(&a);
	kv_seq_release(&b);
}

Test(kv, a_copy_that_does_not_fit_is_refused_before_anything_changes)
{
	struct kv_seq a, b;

	kv_seq_init(&a, pool);
	kv_seq_init(&b, pool);
	grow(&a, 8 * 32 - 1);
	kv_share(&b, &a, 8 * 32 - 1);
	cr_assert_eq(kv_reserve(&b, 1), ERR_NOMEM);
	cr_assert_eq(b.blocks[7], a.blocks[7]);
	kv_seq_release(&a);
	cr_assert_eq(kv_reserve(&b, 1), 0, "b is alone now and needs no copy");
	kv_seq_release(&b);
}

Test(kv, ten_thousand_random_lives_leak_no_block)
{
	struct kv_seq s[6];
	uint32_t r = 1;

	for (size_t i = 0; i < 6; i++)
		kv_seq_init(&s[i], pool);
	for (size_t i = 0; i < 10000; i++) {
		r = r * 1664525 + 1013904223;
		struct kv_seq *x = &s[r >> 8 & 3], *y = &s[4 + (r >> 10 & 1)];
		switch (r >> 29) {
		case 0: kv_seq_release(x); break;
		case 1: kv_truncate(x, x->n_tokens / 2); break;
		case 2:
			kv_seq_release(y);
			kv_share(y, x, x->n_tokens / 2);
			break;
		default:
			if (kv_reserve(x, r >> 12 & 31) == 0)
				x->n_tokens += r >> 12 & 31;
		}
	}
	for (size_t i = 0; i < 6; i++)
		kv_seq_release(&s[i]);
}

/* Blocks of 12 KiB, which large pages are not asked for, and sizes that end within a page. */
Test(kv, touched_blocks_are_in_memory_with_what_they_held)
{
	const struct kv_shape shape = { 3, 2, 8, KV_F32 };
	const size_t n_bytes = ((size_t)5 << 20) + 4097;
	struct fault f = { 0 };

	for (size_t n_threads = 1; n_threads <= 3; n_threads++) {
		struct kv_pool *p = kv_pool_new(&shape, (size_t)9 << 20, &f);
		struct pool *threads = pool_new(n_threads);
		uint8_t *base = kv_block_k(p, 0, 0);
		memset(base + 4096, 7, 4096);
		cr_assert_lt(fixture_resident(base, n_bytes), n_bytes, "before it is touched");
		kv_pool_touch(p, n_bytes, threads);
		cr_expect_eq(fixture_resident(base, n_bytes), n_bytes);
		for (size_t i = 0; i < (size_t)3 * 4096; i++)
			cr_assert_eq(base[i], i / 4096 == 1 ? 7 : 0);
		kv_pool_touch(p, SIZE_MAX, threads);
		const size_t n_all = kv_pool_blocks(p) * kv_pool_block_bytes(p);
		cr_expect_eq(fixture_resident(base, n_all), n_all);
		kv_pool_touch(p, 0, threads);
		kv_pool_free(p);
		pool_free(threads);
	}
}
