/* prefix.c - KV blocks of earlier prompts, found again by their tokens. */
#include "worker/engine/prefix.h"
#include "protocol/mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>
#include <xxhash.h>

#define NONE (-1)

struct prefix_scope {
	char *name;
	size_t n_users; /* entries, and places of sequences */
	UT_hash_handle hh;
};

/* What is known of pool block i is entry i. */
struct entry {
	uint64_t digest;
	uint64_t age; /* unique to this use of the block; 0 = not cached */
	struct prefix_scope *scope;
	int32_t parent; /* the block before it, NONE for a prompt's first */
	uint64_t parent_age;
	int32_t ids[KV_BLOCK_TOKENS];
	struct entry *prev, *next; /* by use, the longest unused first (utlist) */
	UT_hash_handle hh;
};

struct prefix_cache {
	struct kv_pool *pool;
	prefix_digest *digest;
	struct entry *entries; /* [kv_pool_blocks] */
	struct entry *table;   /* by digest */
	struct entry *by_use;
	struct prefix_scope *scopes;
	size_t n_cached;
	uint64_t clock; /* of ages */
};

static uint64_t xxh3(const void *bytes, size_t n_bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes, n_bytes, seed);
}

struct prefix_cache *prefix_cache_new(struct kv_pool *pool, prefix_digest *digest, struct fault *f)
{
	struct prefix_cache *c = xcalloc(1, sizeof *c);
	c->pool = pool;
	c->digest = digest ? digest : xxh3;
	c->entries = mem_try_array(kv_pool_blocks(pool), sizeof *c->entries);
	if (c->entries)
		return c;
	free(c);
	fault_set(f, ERR_NOMEM, "no memory for a prefix cache of %zu blocks", kv_pool_blocks(pool));
	return NULL;
}

/* -- scopes --------------------------------------------------------------------------------- */

static struct prefix_scope *scope_take(struct prefix_cache *c, const char *name)
{
	struct prefix_scope *s;
	HASH_FIND_STR(c->scopes, name, s);
	if (!s) {
		s = xcalloc(1, sizeof *s);
		s->name = xstrdup(name);
		HASH_ADD_KEYPTR(hh, c->scopes, s->name, strlen(s->name), s);
	}
	s->n_users++;
	return s;
}

static void scope_drop(struct prefix_cache *c, struct prefix_scope *s)
{
	if (--s->n_users > 0)
		return;
	HASH_DEL(c->scopes, s);
	free(s->name);
	free(s);
}

void prefix_enter(struct prefix_place *at, struct prefix_cache *c, const char *scope)
{
	*at = (struct prefix_place) { .cache = c, .scope = scope_take(c, scope), .last = NONE };
}

void prefix_leave(struct prefix_place *at)
{
	if (at->cache)
		scope_drop(at->cache, at->scope);
	*at = (struct prefix_place) { .last = NONE };
}

/* -- entries -------------------------------------------------------------------------------- */

static int32_t block_of(const struct prefix_cache *c, const struct entry *e)
{
	return (int32_t)(e - c->entries);
}

/* The digest of a block goes on from that of the block before it. */
static uint64_t digest_of(const struct prefix_place *at, const int32_t *ids)
{
	const struct prefix_cache *c = at->cache;
	uint64_t seed = at->last == NONE ? c->digest(at->scope->name, strlen(at->scope->name), 0)
					 : c->entries[at->last].digest;
	return c->digest(ids, KV_BLOCK_TOKENS * sizeof *ids, seed);
}

static bool is_next(const struct prefix_place *at, const struct entry *e, const int32_t *ids)
{
	return e->scope == at->scope && e->parent == at->last && e->parent_age == at->age &&
	       memcmp(e->ids, ids, sizeof e->ids) == 0;
}

static void move_on(struct prefix_place *at, struct entry *e)
{
	struct prefix_cache *c = at->cache;
	if (e->next) { /* not the last already */
		DL_DELETE(c->by_use, e);
		DL_APPEND(c->by_use, e);
	}
	at->last = block_of(c, e);
	at->age = e->age;
	at->n_blocks++;
}

static void forget(struct prefix_cache *c, struct entry *e)
{
	HASH_DEL(c->table, e);
	DL_DELETE(c->by_use, e);
	scope_drop(c, e->scope);
	e->age = 0;
	c->n_cached--;
	kv_block_drop(c->pool, block_of(c, e));
}

void prefix_cache_free(struct prefix_cache *c)
{
	if (!c)
		return;
	while (c->by_use)
		forget(c, c->by_use);
	assert(!c->scopes);
	free(c->entries);
	free(c);
}

void prefix_yield(struct prefix_cache *c, size_t n_free)
{
	while (c->by_use && kv_pool_free_blocks(c->pool) < n_free)
		forget(c, c->by_use);
}

size_t prefix_blocks(const struct prefix_cache *c)
{
	return c->n_cached;
}

static void remember(struct prefix_place *at, int32_t block, const int32_t *ids, uint64_t digest)
{
	struct prefix_cache *c = at->cache;
	struct entry *e = &c->entries[block];
	e->digest = digest;
	e->age = ++c->clock;
	e->scope = at->scope;
	e->scope->n_users++;
	e->parent = at->last;
	e->parent_age = at->age;
	memcpy(e->ids, ids, sizeof e->ids);
	HASH_ADD(hh, c->table, digest, sizeof e->digest, e);
	DL_APPEND(c->by_use, e);
	c->n_cached++;
	kv_block_keep(c->pool, block);
}

/* -- what sequences ask --------------------------------------------------------------------- */

/* The block before may have been evicted since, and be another prompt's by now. */
static bool is_lost(const struct prefix_place *at)
{
	return at->last != NONE && at->cache->entries[at->last].age != at->age;
}

/* Of blocks whose digests agree, only the first one is cached. */
static struct entry *look_up(const struct prefix_place *at, uint64_t digest)
{
	struct entry *e;
	HASH_FIND(hh, at->cache->table, &digest, sizeof digest, e);
	return e;
}

/* The beginning of a prompt is needed by whoever needs its end. So it counts as used later,
 * and a block is never forgotten before those that follow it. */
static void touch_back(const struct prefix_place *at)
{
	struct prefix_cache *c = at->cache;
	int32_t block = at->last;
	uint64_t age = at->age;
	while (block != NONE && c->entries[block].age == age) {
		struct entry *e = &c->entries[block];
		DL_DELETE(c->by_use, e);
		DL_APPEND(c->by_use, e);
		block = e->parent;
		age = e->parent_age;
	}
}

size_t prefix_find(struct prefix_place *at, struct kv_seq *s, const int32_t *ids, size_t n_max)
{
	if (!at->cache)
		return 0;
	for (; (at->n_blocks + 1) * KV_BLOCK_TOKENS <= n_max; ids += KV_BLOCK_TOKENS) {
		struct entry *e = look_up(at, digest_of(at, ids));
		if (!e || !is_next(at, e, ids))
			break;
		kv_append_shared(s, block_of(at->cache, e));
		move_on(at, e);
	}
	touch_back(at);
	return at->n_blocks * KV_BLOCK_TOKENS;
}

/* False when another block already goes by this digest. Of two that computed the same, the
 * first one's is kept. */
static bool publish_one(struct prefix_place *at, int32_t block, const int32_t *ids)
{
	uint64_t digest = digest_of(at, ids);
	struct entry *e = look_up(at, digest);
	if (e && !is_next(at, e, ids))
		return false;
	if (!e) {
		remember(at, block, ids, digest);
		e = &at->cache->entries[block];
	}
	move_on(at, e);
	return true;
}

void prefix_publish(
	struct prefix_place *at, const struct kv_seq *s, const int32_t *ids, size_t n_prompt)
{
	size_t n = (s->n_tokens < n_prompt ? s->n_tokens : n_prompt) / KV_BLOCK_TOKENS;
	if (!at->cache || at->n_blocks >= n)
		return;
	for (size_t i = at->n_blocks; i < n; i++)
		if (is_lost(at) || !publish_one(at, s->blocks[i], ids + i * KV_BLOCK_TOKENS)) {
			touch_back(at);
			prefix_leave(at);
			return;
		}
	touch_back(at);
}
