/* kv.h - the paged KV cache: a pool of fixed-size blocks, a block table per sequence.
 *
 * One block holds K and V of KV_BLOCK_TOKENS consecutive positions for all layers. Blocks are
 * reference counted, so that sequences can share a common prefix; a shared block is never
 * written (kv_reserve copies the last, partly filled one first). Owned by the compute
 * thread; no locks. Positions are dense: a sequence of length n holds 0..n-1. */
#ifndef WORKER_MODEL_KV_H
#define WORKER_MODEL_KV_H
#include "kernels/dtype.h"
#include "protocol/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_BLOCK_TOKENS 32

enum kv_dtype { KV_F32, KV_F16, KV_BF16, KV_INT8 };

struct kv_shape {
	size_t n_layers, n_kv_heads, head_dim;
	enum kv_dtype dtype;
};

struct kv_pool;
struct pool; /* threads, kernels/pool.h */

struct kv_seq {
	struct kv_pool *pool;
	int32_t *blocks; /* block ids; owned */
	size_t n_blocks, cap_blocks;
	size_t n_tokens; /* positions filled */
	/* Length of the prompt being read into this sequence, set by the caller before its first
	 * row; 0 = unknown. Only models whose rotary frequencies depend on the length of the text
	 * look at it (longrope, dynamic NTK): they must know it before the first chunk, or chunked
	 * and whole prompts would differ. */
	size_t n_prompt;
};

/* At most max_bytes; memory is reserved, and touched only as blocks are used. */
struct kv_pool *kv_pool_new(const struct kv_shape *shape, size_t max_bytes, struct fault *f);
/* Touch the blocks that are used first, n_bytes of them or all there are (huge.h). */
void kv_pool_touch(struct kv_pool *p, size_t n_bytes, struct pool *threads);
void kv_pool_free(struct kv_pool *p); /* every sequence was released before */
size_t kv_pool_blocks(const struct kv_pool *p);
size_t kv_pool_free_blocks(const struct kv_pool *p);
size_t kv_pool_block_bytes(const struct kv_pool *p);

void kv_seq_init(struct kv_seq *s, struct kv_pool *p);
void kv_seq_release(struct kv_seq *s); /* blocks go back; *s as after init */
/* Room for n_more positions after n_tokens. ERR_NOMEM when the pool is short: nothing
 * changed then. */
int kv_reserve(struct kv_seq *s, size_t n_more);
void kv_truncate(struct kv_seq *s, size_t n_tokens); /* n_tokens <= current */
/* *dst (initialised, empty) shares the first n_tokens of src: no copy. */
void kv_share(struct kv_seq *dst, const struct kv_seq *src, size_t n_tokens);
/* One whole block more, which others hold too. s ends with a whole block and owns no room
 * beyond it. */
void kv_append_shared(struct kv_seq *s, int32_t block);
/* Hold a block, or let it go, for somebody who is no sequence. */
void kv_block_keep(struct kv_pool *p, int32_t id);
void kv_block_drop(struct kv_pool *p, int32_t id);

enum dtype kv_element(const struct kv_shape *s);
/* Bytes that a position takes in all layers. */
size_t kv_token_bytes(const struct kv_shape *s);

/* K (or V) of one block and layer: [n_kv_heads], each a tile of kernels/attention.h. */
void *kv_block_k(const struct kv_pool *p, int32_t block, size_t layer);
void *kv_block_v(const struct kv_pool *p, int32_t block, size_t layer);
const struct kv_shape *kv_pool_shape(const struct kv_pool *p);
#endif
