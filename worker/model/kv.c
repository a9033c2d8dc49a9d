/* kv.c - the paged KV cache: a pool of blocks, and the block tables of sequences. */
#include "worker/model/kv.h"
#include "kernels/attention.h"
#include "protocol/mem.h"
#include "worker/model/huge.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Blocks from here on fill a large page soon; those of small models would leave it empty. */
#define HUGE_BLOCK (HUGE_PAGE / 8)

struct kv_pool {
	struct kv_shape shape;
	uint8_t *base; /* reserved address space; pages appear as they are written */
	size_t n_reserved;
	size_t block_bytes; /* K and V of all layers */
	size_t plane_bytes; /* K (or V) of one layer */
	size_t n_blocks, n_free;
	int32_t *free_ids; /* [n_blocks], a stack of n_free ids */
	int32_t *n_users;  /* [n_blocks] */
};

enum dtype kv_element(const struct kv_shape *s)
{
	switch (s->dtype) {
	case KV_F32: return DTYPE_F32;
	case KV_F16: return DTYPE_F16;
	case KV_BF16: return DTYPE_BF16;
	case KV_INT8: return DTYPE_INT8;
	}
	return DTYPE_F32;
}

static bool block_size(const struct kv_shape *s, size_t *plane, size_t *block)
{
	size_t n;

	return mem_mul(s->n_kv_heads, attend_tile_bytes(kv_element(s), s->head_dim), plane) &&
	       mem_mul(*plane, 2, &n) && mem_mul(n, s->n_layers, block) && *block > 0;
}

size_t kv_token_bytes(const struct kv_shape *s)
{
	size_t plane, block;

	return block_size(s, &plane, &block) ? block / KV_BLOCK_TOKENS : SIZE_MAX;
}

struct kv_pool *kv_pool_new(const struct kv_shape *shape, size_t max_bytes, struct fault *f)
{
	struct kv_pool *p = xcalloc(1, sizeof *p);

	p->shape = *shape;
	if (!block_size(shape, &p->plane_bytes, &p->block_bytes)) {
		free(p);
		fault_set(f, ERR_NOMEM, "the KV cache's block size overflows");
		return NULL;
	}
	p->n_blocks = max_bytes / p->block_bytes;
	if (p->n_blocks > INT32_MAX)
		p->n_blocks = INT32_MAX;
	if (p->n_blocks == 0) {
		fault_set(f, ERR_NOMEM, "%zu bytes of KV cache hold no block of %zu bytes",
			max_bytes, p->block_bytes);
		free(p);
		return NULL;
	}
	p->n_reserved = p->n_blocks * p->block_bytes;
	p->free_ids = mem_try_array(p->n_blocks, sizeof *p->free_ids);
	p->n_users = mem_try_array(p->n_blocks, sizeof *p->n_users);
	p->base = mmap(NULL, p->n_reserved, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!p->free_ids || !p->n_users || p->base == MAP_FAILED) {
		fault_set(f, ERR_NOMEM, "cannot reserve %zu bytes for the KV cache", p->n_reserved);
		if (p->base == MAP_FAILED)
			p->base = NULL;
		kv_pool_free(p);
		return NULL;
	}
	if (p->block_bytes >= HUGE_BLOCK)
		huge_advise(p->base, p->n_reserved);
	/* Low ids leave the stack first, so that a lightly used pool touches few pages. */
	for (size_t i = 0; i < p->n_blocks; i++)
		p->free_ids[i] = (int32_t)(p->n_blocks - 1 - i);
	p->n_free = p->n_blocks;
	return p;
}

void kv_pool_free(struct kv_pool *p)
{
	if (!p)
		return;
	if (p->base)
		munmap(p->base, p->n_reserved);
	free(p->free_ids);
	free(p->n_users);
	free(p);
}

size_t kv_pool_blocks(const struct kv_pool *p)
{
	return p->n_blocks;
}

size_t kv_pool_free_blocks(const struct kv_pool *p)
{
	return p->n_free;
}

size_t kv_pool_block_bytes(const struct kv_pool *p)
{
	return p->block_bytes;
}

const struct kv_shape *kv_pool_shape(const struct kv_pool *p)
{
	return &p->shape;
}

void kv_pool_touch(struct kv_pool *p, size_t n_bytes, struct pool *threads)
{
	huge_touch(p->base, n_bytes < p->n_reserved ? n_bytes : p->n_reserved, threads);
}

static uint8_t *block_at(const struct kv_pool *p, int32_t block)
{
	assert(block >= 0 && (size_t)block < p->n_blocks);
	return p->base + (size_t)block * p->block_bytes;
}

void *kv_block_k(const struct kv_pool *p, int32_t block, size_t layer)
{
	return block_at(p, block) + 2 * layer * p->plane_bytes;
}

void *kv_block_v(const struct kv_pool *p, int32_t block, size_t layer)
{
	return block_at(p, block) + (2 * layer + 1) * p->plane_bytes;
}

static int32_t take_block(struct kv_pool *p)
{
	int32_t id = p->free_ids[--p->n_free];

	p->n_users[id] = 1;
	return id;
}

void kv_block_keep(struct kv_pool *p, int32_t id)
{
	assert(p->n_users[id] > 0);
	p->n_users[id]++;
}

void kv_block_drop(struct kv_pool *p, int32_t id)
{
	assert(p->n_users[id] > 0);
	if (--p->n_users[id] == 0)
		p->free_ids[p->n_free++] = id;
}

static size_t blocks_for(size_t n_tokens)
{
	return (n_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}

void kv_seq_init(struct kv_seq *s, struct kv_pool *p)
{
	*s = (struct kv_seq) { .pool = p };
}

void kv_seq_release(struct kv_seq *s)
{
	struct kv_pool *p = s->pool;

	for (size_t i = 0; i < s->n_blocks; i++)
		kv_block_drop(p, s->blocks[i]);
	free(s->blocks);
	kv_seq_init(s, p);
}

static void make_table_room(struct kv_seq *s, size_t n_blocks)
{
	if (n_blocks <= s->cap_blocks)
		return;
	while (s->cap_blocks < n_blocks)
		s->cap_blocks = s->cap_blocks ? 2 * s->cap_blocks : 8;
	s->blocks = xreallocarray(s->blocks, s->cap_blocks, sizeof *s->blocks);
}

/* Is there a block that will be written but belongs to somebody else too? Only the last,
 * partly filled one can be: whole blocks are never written again. */
static bool must_copy(const struct kv_seq *s)
{
	size_t at = s->n_tokens / KV_BLOCK_TOKENS;

	return s->n_tokens % KV_BLOCK_TOKENS != 0 && s->pool->n_users[s->blocks[at]] > 1;
}

int kv_reserve(struct kv_seq *s, size_t n_more)
{
	struct kv_pool *p = s->pool;
	size_t total;

	if (!mem_add(s->n_tokens, n_more, &total) || total > p->n_blocks * KV_BLOCK_TOKENS)
		return ERR_NOMEM;
	size_t want = blocks_for(total);
	bool copy = n_more > 0 && must_copy(s);
	size_t n_new = want > s->n_blocks ? want - s->n_blocks : 0;
	if (n_new + copy > p->n_free)
		return ERR_NOMEM;
	make_table_room(s, want);
	if (copy) {
		int32_t *last = &s->blocks[s->n_tokens / KV_BLOCK_TOKENS];
		int32_t own = take_block(p);
		memcpy(block_at(p, own), block_at(p, *last), p->block_bytes);
		kv_block_drop(p, *last);
		*last = own;
	}
	while (s->n_blocks < want)
		s->blocks[s->n_blocks++] = take_block(p);
	return 0;
}

void kv_truncate(struct kv_seq *s, size_t n_tokens)
{
	assert(n_tokens <= s->n_tokens);
	size_t keep = blocks_for(n_tokens);

	while (s->n_blocks > keep)
		kv_block_drop(s->pool, s->blocks[--s->n_blocks]);
	s->n_tokens = n_tokens;
}

void kv_share(struct kv_seq *dst, const struct kv_seq *src, size_t n_tokens)
{
	assert(dst->n_blocks == 0 && n_tokens <= src->n_tokens && dst->pool == src->pool);
	size_t n = blocks_for(n_tokens);

	make_table_room(dst, n);
	for (size_t i = 0; i < n; i++) {
		dst->blocks[i] = src->blocks[i];
		kv_block_keep(src->pool, src->blocks[i]);
	}
	dst->n_blocks = n;
	dst->n_tokens = n_tokens;
}

void kv_append_shared(struct kv_seq *s, int32_t block)
{
	assert(s->n_tokens == s->n_blocks * KV_BLOCK_TOKENS);
	make_table_room(s, s->n_blocks + 1);
	kv_block_keep(s->pool, block);
	s->blocks[s->n_blocks++] = block;
	s->n_tokens += KV_BLOCK_TOKENS;
}
