/* tok_cache.h - the ids of words met before, in one thread's working memory.
 *
 * A fixed table that each word has one place in; a newcomer takes the place. So memory is
 * bounded and a lookup is one cache line. */
#ifndef WORKER_TEXT_TOK_CACHE_H
#define WORKER_TEXT_TOK_CACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORD_BYTES_MAX 30 /* longer words are not kept */
#define WORD_IDS_MAX   8

struct word_entry {      /* 64 bytes */
	uint8_t n_bytes; /* 0: empty */
	uint8_t n_ids;
	char bytes[WORD_BYTES_MAX];
	int32_t ids[WORD_IDS_MAX];
};
struct word_cache;

struct word_cache *word_cache_new(void); /* freed with free() */
/* The place of a word of 1..WORD_BYTES_MAX bytes, whoever is in it. */
struct word_entry *word_cache_at(struct word_cache *c, const char *s, size_t n);
bool word_entry_is(const struct word_entry *e, const char *s, size_t n);
void word_entry_set(
	struct word_entry *e, const char *s, size_t n, const int32_t *ids, size_t n_ids);
#endif
