/* tok_cache.c - a direct-mapped table of words. */
#include "worker/text/tok_cache.h"
#include "protocol/mem.h"
#include <assert.h>
#include <string.h>

#define ENTRIES ((size_t)1 << 15) /* 2 MiB */

static_assert(sizeof(struct word_entry) == 64, "one cache line");

struct word_cache {
	struct word_entry entries[ENTRIES];
};

struct word_cache *word_cache_new(void)
{
	struct word_cache *c = xmalloc(sizeof *c);
	/* All of it resident from the start: a worker does not grow by the words that it meets. */
	explicit_bzero(c, sizeof *c);
	return c;
}

static uint64_t load(const char *s, size_t n)
{
	uint64_t v = 0;
	memcpy(&v, s, n < 8 ? n : 8);
	return v;
}

struct word_entry *word_cache_at(struct word_cache *c, const char *s, size_t n)
{
	uint64_t h = load(s, n) ^ n << 56;
	for (size_t at = 8; at < n; at += 8)
		h = (h ^ h >> 29) * 0xff51afd7ed558ccdu ^ load(s + at, n - at);
	h *= 0x9e3779b97f4a7c15u;
	return &c->entries[(h >> 40 ^ h >> 17) % ENTRIES];
}

bool word_entry_is(const struct word_entry *e, const char *s, size_t n)
{
	return e->n_bytes == n && memcmp(e->bytes, s, n) == 0;
}

void word_entry_set(struct word_entry *e, const char *s, size_t n, const int32_t *ids, size_t n_ids)
{
	e->n_bytes = (uint8_t)n;
	e->n_ids = (uint8_t)n_ids;
	memcpy(e->bytes, s, n);
	memcpy(e->ids, ids, n_ids * sizeof *ids);
}
