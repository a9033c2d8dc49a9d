/* json_scan.h - strict RFC 8259, in front of json-c.
 *
 * json-c 0.16 accepts NaN, -01, single quotes and raw newlines in strings, cuts keys at
 * \u0000 and clamps large integers. So every text from outside is first walked by
 * json_scan(): grammar, UTF-8, depth, duplicate and NUL-carrying keys. After that the
 * cursors below walk it again without checks, giving byte spans, so that the controller
 * can read three members of a request and splice the rest unparsed, and an `id` can be
 * echoed byte for byte. */
#ifndef PROTOCOL_JSON_SCAN_H
#define PROTOCOL_JSON_SCAN_H
#include "protocol/buf.h"
#include "protocol/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 256

struct json_span {
	const char *at; /* borrowed from the scanned text; NULL = absent */
	size_t n;
};

/* 0, or ERR_PARSE with the byte offset and what was wrong in *f. Linear in n, also for
 * objects with many keys. The whole text must be one value (blank space around it). */
int json_scan(const char *text, size_t n, struct fault *f);
/* The same, but keys may hold \u0000: vocabularies have such pieces. Only for text that is
 * read through the cursors below, never given to json-c. */
int json_scan_vocab(const char *text, size_t n, struct fault *f);

/* All below: only on text that json_scan() accepted. */

/* The text's one value, without the blank space around it: where reading a whole text starts,
 * since every other span here is exact. */
struct json_span json_whole(const char *text, size_t n);

/* First byte of a value tells its kind: { [ " t f n or a number. */
char json_kind(struct json_span v); /* '{' '[' '"' 't' 'f' 'n' '0' (any number), 0 absent */

struct json_cursor {
	const char *at;
	const char *end;
};
struct json_cursor json_iterate(struct json_span object_or_array);
bool json_next_member(struct json_cursor *c, struct json_span *key, struct json_span *value);
bool json_next_element(struct json_cursor *c, struct json_span *value);
/* For lists of large objects, which the above would walk once to find their ends and again
 * for their members: json_enter steps into the next element, an object, and *inside then gives
 * its members; after the last of them json_leave moves c past it. False: no more elements, or
 * not an object, which json_next_element then gives. */
bool json_enter(struct json_cursor *c, struct json_cursor *inside);
void json_leave(struct json_cursor *c, const struct json_cursor *inside);

/* Member `key` (plain ASCII, compared after unescaping) of an object, or an absent span. */
struct json_span json_find(struct json_span object, const char *key);

/* Decode the escape at p (a backslash) into *out, a surrogate pair as one; returns what follows. */
const char *json_decode_escape(const char *p, struct buf *out);
/* Decode a JSON string into *out (appended). false if v is not a string. */
bool json_get_str(struct json_span v, struct buf *out);
/* The same into a fixed buffer, terminated; false if not a string, too long or has NUL. */
bool json_copy_str(struct json_span v, char *out, size_t cap);
/* false unless v is a number with an exact int64 value (1e2 and 1.0 are). */
bool json_get_int(struct json_span v, int64_t *out);
bool json_get_num(struct json_span v, double *out);
bool json_get_bool(struct json_span v, bool *out);
bool json_str_is(struct json_span v, const char *ascii);
/* Which of n plain ASCII names the string spells; n if none of them. */
size_t json_str_among(struct json_span v, const char *const *names, size_t n);
#endif
