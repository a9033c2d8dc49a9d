/* json_keys.h - the keys of every object that json_scan() has open, to find duplicates.
 *
 * Keys are pushed as they are read and judged when their object closes: pairwise while
 * few, sorted by digest when many, so that neither a token frame nor an object of a
 * million keys is slow. A digest match is confirmed on the text, so no input can make
 * two different keys look equal, nor the work quadratic. */
#ifndef PROTOCOL_JSON_KEYS_H
#define PROTOCOL_JSON_KEYS_H
#include "protocol/json_scan.h"

struct json_key {
	uint64_t digest;         /* of the unescaped text */
	struct json_span quoted; /* borrowed from the scanned text */
	bool is_escaped;
};

#define JSON_KEYS_INLINE 32

struct json_keys {
	struct json_key *at; /* `first` until it is full, then owned */
	size_t n, cap;
	struct json_key first[JSON_KEYS_INLINE];
	struct buf decoded; /* scratch */
};

void json_keys_init(struct json_keys *k);
void json_keys_release(struct json_keys *k);
void json_keys_push(struct json_keys *k, struct json_span quoted, bool is_escaped);

/* Forget the keys from `start` on, the members of the object that closes. Returns one that
 * occurred twice (still borrowed), or an absent span. Reorders those keys. */
struct json_span json_keys_close(struct json_keys *k, size_t start);
#endif
