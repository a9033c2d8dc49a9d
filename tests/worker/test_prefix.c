#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/prefix.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* 1 layer × K and V × 32 tokens × 4 floats = 1024 bytes a block. */
static const struct kv_shape SHAPE = {
	.n_layers = 1, .n_kv_heads = 1, .head_dim = 4, .dtype = KV_F32
};
#define N_BLOCKS ((size_t)16)
static struct kv_pool *pool;
static struct prefix_cache *cache;

static void open_with(prefix_digest *digest)
{
	struct fault f = { 0 };
	pool = kv_pool_new(&SHAPE, N_BLOCKS * 1024, &f);
	cr_assert_not_null(pool, "%s", f.text);
	cache = prefix_cache_new(pool, digest, &f);
	cr_assert_not_null(cache, "%s", f.text);
}

static void close_all(void)
{
	prefix_cache_free(cache);
	cr_assert_eq(kv_pool_free_blocks(pool), N_BLOCKS, "blocks leaked");
	kv_pool_free(pool);
}

TestSuite(prefix, .timeout = 60);
TestSuite(prefix_engine, .timeout = 600);

/* A prompt of n tokens goes through a sequence; returns how many of them were found. */
static size_t pass(const char *scope, const int32_t *ids, size_t n)
{
	struct prefix_place at;
	struct kv_seq s;
	kv_seq_init(&s, pool);
	prefix_enter(&at, cache, scope);
	size_t found = prefix_find(&at, &s, ids, n - 1);
	cr_assert_eq(found, s.n_tokens);
	if (kv_reserve(&s, n - found) < 0) {
		prefix_yield(cache, (n - found) / KV_BLOCK_TOKENS + 2);
		cr_assert_eq(kv_reserve(&s, n - found), 0);
	}
	s.n_tokens = n;
	prefix_publish(&at, &s, ids, n);
	prefix_leave(&at);
	kv_seq_release(&s);
	return found;
}

static void fill(int32_t *ids, size_t n, int32_t from)
{
	for (size_t i = 0; i < n; i++)
		ids[i] = from + (int32_t)i;
}

Test(prefix, whole_blocks_before_the_last_token_are_found_again)
{
	int32_t ids[100];
	fill(ids, 100, 0);
	open_with(NULL);
	cr_assert_eq(pass("", ids, 100), 0);
	cr_assert_eq(prefix_blocks(cache), 3);
	cr_assert_eq(pass("", ids, 100), 96);
	cr_assert_eq(pass("", ids, 96), 64, "the last token has to be computed");
	cr_assert_eq(pass("", ids, 33), 32);
	cr_assert_eq(pass("", ids, 32), 0);
	cr_assert_eq(prefix_blocks(cache), 3, "nothing is kept twice");
	close_all();
}

Test(prefix, a_prompt_that_turns_off_shares_what_comes_before)
{
	int32_t ids[100];
	fill(ids, 100, 0);
	open_with(NULL);
	pass("", ids, 100);
	ids[40] = 7777;
	cr_assert_eq(pass("", ids, 100), 32);
	cr_assert_eq(pass("", ids, 100), 96);
	cr_assert_eq(prefix_blocks(cache), 5);
	close_all();
}

Test(prefix, the_same_block_elsewhere_is_another_block)
{
	int32_t ids[65];
	open_with(NULL);
	fill(ids, 32, 0);
	fill(ids + 32, 33, 0);
	pass("", ids, 65);
	cr_assert_eq(prefix_blocks(cache), 2);
	fill(ids, 32, 500);
	cr_assert_eq(pass("", ids, 65), 0);
	close_all();
}

Test(prefix, scopes_share_nothing)
{
	int32_t ids[65];
	fill(ids, 65, 0);
	open_with(NULL);
	cr_assert_eq(pass("a", ids, 65), 0);
	cr_assert_eq(pass("b", ids, 65), 0);
	cr_assert_eq(pass("", ids, 65), 0);
	cr_assert_eq(pass("a", ids, 65), 64);
	cr_assert_eq(pass("b", ids, 65), 64);
	close_all();
}

static uint64_t poisoned(const void *bytes, size_t n_bytes, uint64_t seed)
{
	(void)bytes, (void)n_bytes, (void)seed;
	return 42;
}

Test(prefix, a_digest_that_lies_finds_nobody_elses_block)
{
	int32_t ids[65], other[65];
	fill(ids, 65, 0);
	fill(other, 65, 1000);
	open_with(poisoned);
	cr_assert_eq(pass("", ids, 65), 0);
	cr_assert_eq(pass("", other, 65), 0, "other tokens");
	cr_assert_eq(pass("x", ids, 65), 0, "another scope");
	cr_assert_eq(pass("", ids, 65), 32, "only the first block went by its digest");
	close_all();
}

Test(prefix, what_was_not_used_for_longest_goes_first_and_ends_before_beginnings)
{
	int32_t a[97], b[97];
	fill(a, 97, 0);
	fill(b, 97, 1000);
	open_with(NULL);
	pass("", a, 97);
	pass("", b, 97);
	pass("", a, 97);
	prefix_yield(cache, N_BLOCKS - 5);
	cr_assert_eq(pass("", a, 97), 96);
	prefix_yield(cache, N_BLOCKS - 5);
	cr_assert_eq(pass("", b, 97), 64, "its end was the oldest");
	close_all();
}

Test(prefix, an_evicted_place_publishes_nothing_more)
{
	int32_t ids[97];
	struct prefix_place at;
	struct kv_seq s;
	fill(ids, 97, 0);
	open_with(NULL);
	kv_seq_init(&s, pool);
	prefix_enter(&at, cache, "");
	cr_assert_eq(kv_reserve(&s, 97), 0);
	s.n_tokens = 40;
	prefix_publish(&at, &s, ids, 97);
	cr_assert_eq(prefix_blocks(cache), 1);
	prefix_yield(cache, N_BLOCKS);
	cr_assert_eq(prefix_blocks(cache), 0);
	s.n_tokens = 97;
	prefix_publish(&at, &s, ids, 97);
	cr_assert_eq(prefix_blocks(cache), 0);
	prefix_leave(&at);
	kv_seq_release(&s);
	close_all();
}

/* One of 12 documents, cut anywhere, so that prefixes are shared and the pool overflows. */
static void random_prompt(uint64_t i, int32_t *ids, size_t *n)
{
	int32_t document = (int32_t)(sampler_uniform(1, i) * 12);
	*n = 1 + (size_t)(sampler_uniform(2, i) * 200);
	fill(ids, *n, document * 1000);
	if (sampler_uniform(3, i) < 0.3)
		ids[(size_t)(sampler_uniform(4, i) * (double)*n)] = 99999;
}

Test(prefix, ten_thousand_random_sequences_and_cancels_leak_no_block)
{
	static const char *const scopes[] = { "", "a", "b" };
	int32_t ids[256];
	size_t n, n_found = 0;
	open_with(NULL);
	for (uint64_t i = 0; i < 10000; i++) {
		random_prompt(i, ids, &n);
		n_found += pass(scopes[i % 3], ids, n);
		cr_assert_eq(kv_pool_free_blocks(pool) + prefix_blocks(cache), N_BLOCKS);
	}
	cr_assert_gt(n_found, 0);
	close_all();
}

/* -- in the engine -------------------------------------------------------------------------- */

static struct job *cached_job(struct rig *r, const int32_t *ids, size_t n, const char *scope)
{
	struct job *j = rig_job(r, ids, n);
	j->cache_prompt = true;
	j->cache_scope = scope ? xstrdup(scope) : NULL;
	j->sampling.temperature = 0.8f;
	j->sampling.seed = 5;
	return j;
}

/* Run it; n_cached is what the result must report. */
static void must_be(struct rig *r, struct job *j, const struct heard *want, size_t n_cached)
{
	struct heard *h = rig_run(r, j);
	heard_must_equal(&want->choices[0], &h->choices[0], "from the cache");
	cr_assert_eq(h->choices[0].result.cached_tokens, n_cached, "%zu cached",
		h->choices[0].result.cached_tokens);
	heard_free(h);
}

Test(prefix_engine, a_hit_is_bit_for_bit_what_computing_gives)
{
	static const size_t lengths[] = { 1, 31, 32, 33, 64, 65, 200, 300 };
	struct rig *r = rig_new();
	int32_t ids[300];
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		size_t n = lengths[i];
		rig_prompt(ids, n, 900 + n);
		struct job *plain = cached_job(r, ids, n, NULL);
		plain->cache_prompt = false;
		struct heard *want = rig_run(r, plain);
		must_be(r, cached_job(r, ids, n, NULL), want, 0);
		must_be(r, cached_job(r, ids, n, NULL), want, (n - 1) / 32 * 32);
		must_be(r, cached_job(r, ids, n, "tenant"), want, 0);
		heard_free(want);
	}
	rig_free(r);
}

Test(prefix_engine, who_asks_for_no_cache_neither_reads_nor_fills_it)
{
	struct rig *r = rig_new();
	int32_t ids[100];
	rig_prompt(ids, 100, 77);
	struct job *j = cached_job(r, ids, 100, NULL);
	j->cache_prompt = false;
	struct heard *want = rig_run(r, j);
	must_be(r, cached_job(r, ids, 100, NULL), want, 0);
	j = cached_job(r, ids, 100, NULL);
	j->cache_prompt = false;
	must_be(r, j, want, 0);
	heard_free(want);
	rig_free(r);
}

Test(prefix_engine, a_resumption_finds_its_prompt_too)
{
	struct rig *r = rig_new();
	int32_t ids[70];
	rig_prompt(ids, 70, 8);
	struct heard *whole = rig_run(r, cached_job(r, ids, 64, NULL));
	memcpy(ids + 64, whole->choices[0].ids, 6 * sizeof *ids);
	struct job *j = cached_job(r, ids, 70, NULL);
	j->n_resumed = 6;
	struct heard *rest = rig_run(r, j);
	cr_assert_eq(rest->choices[0].result.cached_tokens, 64);
	cr_assert_eq(rest->choices[0].n, whole->choices[0].n - 6);
	cr_assert_arr_eq(
		rest->choices[0].ids, whole->choices[0].ids + 6, rest->choices[0].n * sizeof *ids);
	cr_assert_arr_eq(rest->choices[0].logprobs, whole->choices[0].logprobs + 6,
		rest->choices[0].n * sizeof(float));
	heard_free(rest);
	heard_free(whole);
	rig_free(r);
}

Test(prefix_engine, a_small_pool_gives_the_cache_up_before_anybody_waits_for_it)
{
	struct fault f = { 0 };
	struct rig *r = rig_new();
	struct kv_pool *p = model_kv_pool(model_ref_model(r->model), RIG_KV, &f);
	size_t block_bytes = kv_pool_block_bytes(p);
	kv_pool_free(p);
	struct rig *small = rig_open(1, 12 * block_bytes, 4);
	rig_start(small);
	struct heard *runs[40];
	int32_t ids[290];
	for (size_t i = 0; i < 40; i++) {
		size_t n = 20 + (i * 67) % 270;
		rig_prompt(ids, n, 3 + i % 5);
		runs[i] = rig_submit(small, cached_job(small, ids, n, NULL));
		if (i % 7 == 3)
			engine_cancel(small->engine, runs[i]->key);
	}
	for (size_t i = 0; i < 40; i++) {
		size_t n = 20 + (i * 67) % 270;
		rig_prompt(ids, n, 3 + i % 5);
		rig_wait(runs[i]);
		struct heard *alone = rig_run(r, cached_job(r, ids, n, NULL));
		if (i % 7 != 3)
			heard_must_equal(&alone->choices[0], &runs[i]->choices[0], "crowded");
		heard_free(alone);
		heard_free(runs[i]);
	}
	rig_free(small);
	rig_free(r);
}

Test(prefix_engine, a_draft_check_finds_what_generate_left)
{
	struct rig *r = rig_new();
	int32_t ids[80], draft[4];
	rig_prompt(ids, 80, 21);
	struct heard *text = rig_run(r, cached_job(r, ids, 80, NULL));
	memcpy(draft, text->choices[0].ids, sizeof draft);
	struct job *j = rig_check_job(r, ids, 80, draft, 4);
	j->sampling.temperature = 0.8f;
	j->sampling.seed = 5;
	j->cache_prompt = true;
	struct heard *check = rig_run(r, j);
	cr_assert_eq(check->choices[0].result.cached_tokens, 64);
	cr_assert_eq(check->choices[0].result.accepted, 4);
	cr_assert_eq(check->verdicts[4].id, text->choices[0].ids[4]);
	heard_free(check);
	heard_free(text);
	rig_free(r);
}
