/* json_keys.c - duplicate keys found in linear time for small objects and large. */
#include "protocol/json_keys.h"
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include "protocol/mem.h"
#include <xxhash.h>

/* Up to here comparing every pair of digests is quicker than sorting. */
#define PAIRWISE_MAX 12

void json_keys_init(struct json_keys *k)
{
	k->at = k->first;
	k->n = 0;
	k->cap = JSON_KEYS_INLINE;
	k->decoded = (struct buf)BUF_INIT;
}

void json_keys_release(struct json_keys *k)
{
	if (k->at != k->first)
		free(k->at);
	buf_release(&k->decoded);
}

static void grow(struct json_keys *k)
{
	struct json_key *old = k->at == k->first ? NULL : k->at;
	k->cap *= 2;
	k->at = xreallocarray(old, k->cap, sizeof *k->at);
	if (!old)
		memcpy(k->at, k->first, sizeof k->first);
}

void json_keys_push(struct json_keys *k, struct json_span quoted, bool is_escaped)
{
	struct json_span text = { quoted.at + 1, quoted.n - 2 };
	if (is_escaped) {
		buf_clear(&k->decoded);
		json_get_str(quoted, &k->decoded);
		text = (struct json_span) { buf_cstr(&k->decoded), k->decoded.n_bytes };
	}
	if (k->n == k->cap)
		grow(k);
	k->at[k->n++] = (struct json_key) { XXH3_64bits(text.at, text.n), quoted, is_escaped };
}

static int compare_bytes(struct json_span a, struct json_span b)
{
	if (a.n != b.n)
		return a.n < b.n ? -1 : 1;
	return memcmp(a.at, b.at, a.n);
}

static int compare_text(const struct json_key *a, const struct json_key *b)
{
	if (!a->is_escaped && !b->is_escaped)
		return compare_bytes(a->quoted, b->quoted);
	struct buf ta = BUF_INIT, tb = BUF_INIT;
	json_get_str(a->quoted, &ta);
	json_get_str(b->quoted, &tb);
	int order = compare_bytes((struct json_span) { buf_cstr(&ta), ta.n_bytes },
		(struct json_span) { buf_cstr(&tb), tb.n_bytes });
	buf_release(&ta);
	buf_release(&tb);
	return order;
}

static int compare_keys(const void *a, const void *b)
{
	const struct json_key *ka = a, *kb = b;
	if (ka->digest != kb->digest)
		return ka->digest < kb->digest ? -1 : 1;
	return compare_text(ka, kb);
}

static struct json_span find_pairwise(const struct json_key *keys, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (keys[i].digest == keys[j].digest &&
				compare_text(&keys[i], &keys[j]) == 0)
				return keys[i].quoted;
	return (struct json_span) { NULL, 0 };
}

static struct json_span find_sorted(struct json_key *keys, size_t n)
{
	qsort(keys, n, sizeof *keys, compare_keys);
	for (size_t i = 1; i < n; i++)
		if (compare_keys(&keys[i - 1], &keys[i]) == 0)
			return keys[i].quoted;
	return (struct json_span) { NULL, 0 };
}

struct json_span json_keys_close(struct json_keys *k, size_t start)
{
	struct json_key *keys = k->at + start;
	size_t n = k->n - start;
	k->n = start;
	return n <= PAIRWISE_MAX ? find_pairwise(keys, n) : find_sorted(keys, n);
}
