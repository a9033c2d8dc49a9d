/* Ten thousand sequences come, grow and go in one pool: nothing leaks, nothing that is there is
 * moved, and hardly any memory lies idle in blocks that are not full. */
#include "worker/engine/sampling.h"
#include "worker/model/kv.h"
#include <criterion/criterion.h>

/* 1 layer × K and V × 32 tokens × 2 floats = 512 bytes a block. */
static const struct kv_shape SHAPE = {
	.n_layers = 1, .n_kv_heads = 1, .head_dim = 2, .dtype = KV_F32
};
#define N_BLOCKS    ((size_t)1024)
#define N_SEQUENCES 10000
#define N_LIVE      ((size_t)32)
#define LONGEST     2048

struct live {
	struct kv_seq kv;
	size_t n_end; /* tokens it wants; 0 = nobody here */
	float tag;
};

static struct kv_pool *pool;
static struct live live[N_LIVE];
static uint64_t n_drawn;
static size_t n_begun, n_finished, n_cancelled;
static double waste_sum;
static size_t n_waste;

TestSuite(kv_churn, .timeout = 60);

static double draw(void)
{
	return sampler_uniform(11, n_drawn++);
}

static float *k_at(const struct live *l, size_t pos)
{
	float *block = kv_block_k(pool, l->kv.blocks[pos / KV_BLOCK_TOKENS], 0);
	return block + pos % KV_BLOCK_TOKENS * 2;
}

static float mark(const struct live *l, size_t pos)
{
	return l->tag + (float)pos;
}

static void leave(struct live *l)
{
	for (size_t i = 0; i < l->kv.n_tokens; i++)
		cr_assert_eq(*k_at(l, i), mark(l, i), "token %zu is another's", i);
	kv_seq_release(&l->kv);
	l->n_end = 0;
}

static void come(struct live *l)
{
	kv_seq_init(&l->kv, pool);
	l->n_end = 1 + (size_t)(draw() * LONGEST);
	l->tag = (float)(n_begun % 4000) * 4000;
	n_begun++;
}

/* A chunk of the prompt, or some tokens; false where the pool is short. What is there stays
 * where it is. */
static bool grow(struct live *l)
{
	static int32_t before[LONGEST / KV_BLOCK_TOKENS + 1];
	size_t n_blocks = l->kv.n_blocks, left = l->n_end - l->kv.n_tokens;
	size_t n = 1 + (size_t)(draw() * (l->kv.n_tokens < l->n_end / 2 ? 256 : 8));
	n = n < left ? n : left;
	for (size_t i = 0; i < n_blocks; i++)
		before[i] = l->kv.blocks[i];
	if (kv_reserve(&l->kv, n) < 0)
		return false;
	for (size_t i = 0; i < n_blocks; i++)
		cr_assert_eq(l->kv.blocks[i], before[i], "block %zu was moved", i);
	for (size_t i = 0; i < n; i++)
		*k_at(l, l->kv.n_tokens + i) = mark(l, l->kv.n_tokens + i);
	l->kv.n_tokens += n;
	return true;
}

static void take_stock(void)
{
	size_t n_held = 0, n_tokens = 0;
	for (size_t i = 0; i < N_LIVE; i++) {
		n_held += live[i].n_end ? live[i].kv.n_blocks : 0;
		n_tokens += live[i].n_end ? live[i].kv.n_tokens : 0;
	}
	cr_assert_eq(n_held + kv_pool_free_blocks(pool), N_BLOCKS, "a block is nobody's");
	if (n_held == 0)
		return;
	waste_sum += 1 - (double)n_tokens / (double)(n_held * KV_BLOCK_TOKENS);
	n_waste++;
}

static void turn(struct live *l)
{
	if (l->n_end == 0) {
		if (n_begun < N_SEQUENCES)
			come(l);
		return;
	}
	if (draw() < 0.001 || !grow(l)) {
		leave(l);
		n_cancelled++;
	} else if (l->kv.n_tokens == l->n_end) {
		leave(l);
		n_finished++;
	}
}

Test(kv_churn, ten_thousand_sequences_leak_move_and_waste_nothing)
{
	struct fault f = { 0 };
	pool = kv_pool_new(&SHAPE, N_BLOCKS * 512, &f);
	cr_assert_not_null(pool, "%s", f.text);
	for (size_t step = 0; n_finished + n_cancelled < N_SEQUENCES; step++) {
		turn(&live[step % N_LIVE]);
		if (step % 64 == 0)
			take_stock();
	}
	cr_assert_eq(kv_pool_free_blocks(pool), N_BLOCKS);
	cr_assert(n_finished > 1000 && n_cancelled > 500, "%zu finished, %zu cancelled", n_finished,
		n_cancelled);
	double waste = waste_sum / (double)n_waste;
	cr_assert(waste > 0 && waste < 0.04, "%.2f %% of the memory in use lies idle", 100 * waste);
	kv_pool_free(pool);
}

/* Any free block will do, wherever it lies: holes do not add up. */
Test(kv_churn, holes_of_one_block_hold_one_long_sequence)
{
	struct fault f = { 0 };
	struct kv_seq small[N_LIVE], large;
	pool = kv_pool_new(&SHAPE, N_LIVE * 512, &f);
	for (size_t i = 0; i < N_LIVE; i++) {
		kv_seq_init(&small[i], pool);
		cr_assert_eq(kv_reserve(&small[i], KV_BLOCK_TOKENS), 0);
	}
	for (size_t i = 0; i < N_LIVE; i += 2)
		kv_seq_release(&small[i]);
	kv_seq_init(&large, pool);
	cr_assert_eq(kv_reserve(&large, N_LIVE / 2 * KV_BLOCK_TOKENS), 0);
	cr_assert_eq(kv_pool_free_blocks(pool), 0);
	kv_seq_release(&large);
	for (size_t i = 1; i < N_LIVE; i += 2)
		kv_seq_release(&small[i]);
	kv_pool_free(pool);
}
