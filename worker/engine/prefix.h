/* prefix.h - the prefix cache: KV blocks of earlier prompts, found again by their tokens.
 *
 * A block is cached once it is full of prompt tokens, under its scope, the block before it
 * and its own token ids: a digest finds it, all three confirm it, so that two prompts whose
 * digests agree never see each other's cache. Only prompt rows are kept: a generated token's
 * row is computed by other kernels (model.h), so a hit holds the very bits that computing
 * would give. Blocks stay in their pool, which takes the least recently used ones back when
 * it runs out (prefix_yield). Compute thread only. */
#ifndef WORKER_ENGINE_PREFIX_H
#define WORKER_ENGINE_PREFIX_H
#include "worker/model/kv.h"

struct prefix_cache;
struct prefix_scope; /* what one cache_scope shares */

typedef uint64_t prefix_digest(const void *bytes, size_t n_bytes, uint64_t seed);

/* The pool outlives the cache. digest NULL: XXH3. NULL with ERR_NOMEM in *f. */
struct prefix_cache *prefix_cache_new(struct kv_pool *pool, prefix_digest *digest, struct fault *f);
void prefix_cache_free(struct prefix_cache *c); /* its blocks go back */

/* Where a sequence stands in the cache. */
struct prefix_place {
	struct prefix_cache *cache; /* NULL: this sequence takes no part */
	struct prefix_scope *scope; /* holds a reference */
	size_t n_blocks;            /* of the sequence, known to the cache */
	int32_t last;               /* the last of them, as cached; -1 = none */
	uint64_t age;               /* of `last`: it may have been evicted and reused since */
};

void prefix_enter(struct prefix_place *at, struct prefix_cache *c, const char *scope);
void prefix_leave(struct prefix_place *at);
/* Fill the empty s with the longest cached beginning of ids[0..n_max): whole blocks, shared.
 * Returns how many tokens that are. */
size_t prefix_find(struct prefix_place *at, struct kv_seq *s, const int32_t *ids, size_t n_max);
/* Cache the blocks of s that are full of prompt: ids[n_prompt]. */
void prefix_publish(
	struct prefix_place *at, const struct kv_seq *s, const int32_t *ids, size_t n_prompt);

/* Forget blocks, the least recently used first, until the pool has n_free free ones or the
 * cache is empty. */
void prefix_yield(struct prefix_cache *c, size_t n_free);
size_t prefix_blocks(const struct prefix_cache *c); /* cached */
#endif
