/* buf.h - a growable run of bytes, and the JSON writer of hot paths.
 *
 * `struct buf b = BUF_INIT;` needs no call to be valid. data[n_bytes] is always
 * writable and kept 0 after buf_cstr(). Growth doubles, so appends are linear in all.
 * The json_out_* half writes tokens, chunks and envelopes in a quarter of the time
 * json-c needs; its caller places commas by construction (see jout below). */
#ifndef PROTOCOL_BUF_H
#define PROTOCOL_BUF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
	char *data; /* owned; NULL until the first append */
	size_t n_bytes;
	size_t cap;
};
#define BUF_INIT           \
	{                  \
		NULL, 0, 0 \
	}

void buf_release(struct buf *b);           /* frees the bytes, leaves *b empty and valid */
void buf_clear(struct buf *b);             /* keeps the memory */
char *buf_detach(struct buf *b);           /* caller frees; terminated; *b empty after */
void buf_grow(struct buf *b, size_t more); /* what buf_reserve does when there is no room */
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* drop n bytes from the front; memmove */
const char *buf_cstr(struct buf *b);       /* borrowed until the next change; never NULL */

/* These three are most of what writing a message is: here, so that they cost no calls. */
static inline void buf_reserve(struct buf *b, size_t more)
{
	if (!b->data || more >= b->cap - b->n_bytes)
		buf_grow(b, more);
}

static inline void buf_add(struct buf *b, const void *bytes, size_t n)
{
	buf_reserve(b, n);
	if (n)
		memcpy(b->data + b->n_bytes, bytes, n);
	b->n_bytes += n;
}

static inline void buf_addc(struct buf *b, char c)
{
	buf_reserve(b, 1);
	b->data[b->n_bytes++] = c;
}

/* JSON values. Strings: bytes that are not UTF-8 become U+FFFD; control characters and
 * U+0085/2028/2029 are escaped (Python's splitlines breaks there); '/' is not. Doubles
 * print the shortest of %.9g/%.17g that reads back; NaN and infinities print null. */
void jout_str(struct buf *b, const char *s, size_t n);
void jout_cstr(struct buf *b, const char *s); /* NULL prints null */
void jout_int(struct buf *b, int64_t v);
void jout_uint(struct buf *b, uint64_t v);
void jout_num(struct buf *b, double v);
void jout_float(struct buf *b, float v); /* shortest text that reads back as this float */
/* At most so many decimals (0..9), without zeros at the end: for what was measured. */
void jout_fixed(struct buf *b, double v, int n_decimals);
void jout_bool(struct buf *b, bool v);

/* Object members: writes `,` first unless the last byte is `{` or `[`, then "key":. Keys
 * are literals of ours and are not escaped. jout_sep writes only the comma. */
void jout_sep(struct buf *b);
void jout_key(struct buf *b, const char *key);
void jout_key_str(struct buf *b, const char *key, const char *s, size_t n);
void jout_key_cstr(struct buf *b, const char *key, const char *s);
void jout_key_int(struct buf *b, const char *key, int64_t v);
void jout_key_num(struct buf *b, const char *key, double v);
void jout_key_fixed(struct buf *b, const char *key, double v, int n_decimals);
void jout_key_bool(struct buf *b, const char *key, bool v);
void jout_key_raw(struct buf *b, const char *key, const char *json, size_t n);
#endif
