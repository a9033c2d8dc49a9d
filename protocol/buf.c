/* buf.c - growable bytes, and the JSON writer of hot paths. */
#include "protocol/buf.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_release(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->n_bytes = 0;
}

char *buf_detach(struct buf *b)
{
	buf_cstr(b);
	char *data = b->data;
	*b = (struct buf)BUF_INIT;
	return data;
}

void buf_grow(struct buf *b, size_t more)
{
	size_t need;
	/* One more than asked: the terminator of buf_cstr. */
	if (!mem_add(b->n_bytes, more, &need) || !mem_add(need, 1, &need))
		log_fatal("buffer of %zu + %zu bytes overflows", b->n_bytes, more);
	size_t cap = b->cap <= SIZE_MAX / 2 ? b->cap * 2 : need;
	if (cap < need)
		cap = need;
	b->cap = cap < 64 ? 64 : cap;
	b->data = xrealloc(b->data, b->cap);
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	buf_reserve(b, 127);
	size_t room = b->cap - b->n_bytes;
	int n = vsnprintf(b->data + b->n_bytes, room, fmt, ap);
	if (n < 0)
		log_fatal("cannot format '%s'", fmt);
	if ((size_t)n >= room) {
		buf_reserve(b, (size_t)n);
		vsnprintf(b->data + b->n_bytes, (size_t)n + 1, fmt, again);
	}
	b->n_bytes += (size_t)n;
	va_end(again);
	va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->n_bytes) {
		b->n_bytes = 0;
		return;
	}
	memmove(b->data, b->data + n, b->n_bytes - n);
	b->n_bytes -= n;
}

const char *buf_cstr(struct buf *b)
{
	buf_reserve(b, 0);
	b->data[b->n_bytes] = '\0';
	return b->data;
}

/* -- JSON ------------------------------------------------------------------------------- */

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\' && c < 0x7f;
}

static void add_escape(struct buf *b, uint32_t cp)
{
	static const char short_of[] = { ['\b'] = 'b',
		['\t'] = 't',
		['\n'] = 'n',
		['\f'] = 'f',
		['\r'] = 'r',
		['"'] = '"',
		['\\'] = '\\' };
	if (cp < sizeof short_of && short_of[cp]) {
		buf_addc(b, '\\');
		buf_addc(b, short_of[cp]);
	} else {
		buf_addf(b, "\\u%04x", (unsigned)cp);
	}
}

/* The character at s, which is not plain; returns the bytes it took. */
static size_t add_special(struct buf *b, const char *s, size_t n)
{
	uint32_t cp;
	int len = utf8_decode(s, n, &cp);
	if (len <= 0) {
		buf_add(b, "\xef\xbf\xbd", 3);
		return 1;
	}
	if (cp < 0xa0 || cp == 0x2028 || cp == 0x2029)
		add_escape(b, cp);
	else
		buf_add(b, s, (size_t)len);
	return (size_t)len;
}

void jout_str(struct buf *b, const char *s, size_t n)
{
	buf_reserve(b, n < SIZE_MAX - 2 ? n + 2 : n);
	buf_addc(b, '"');
	size_t at = 0;
	while (at < n) {
		size_t run = at;
		while (run < n && is_plain((unsigned char)s[run]))
			run++;
		buf_add(b, s + at, run - at);
		at = run < n ? run + add_special(b, s + run, n - run) : run;
	}
	buf_addc(b, '"');
}

void jout_cstr(struct buf *b, const char *s)
{
	if (s)
		jout_str(b, s, strlen(s));
	else
		buf_add(b, "null", 4);
}

void jout_int(struct buf *b, int64_t v)
{
	if (v < 0)
		buf_addc(b, '-');
	jout_uint(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void jout_uint(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t at = sizeof digits;
	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	buf_reserve(b, sizeof digits);
	while (at < sizeof digits)
		b->data[b->n_bytes++] = digits[at++];
}

void jout_num(struct buf *b, double v)
{
	char text[32];
	if (!isfinite(v)) {
		buf_add(b, "null", 4);
		return;
	}
	int n = snprintf(text, sizeof text, "%.9g", v);
	if (strtod(text, NULL) != v)
		n = snprintf(text, sizeof text, "%.17g", v);
	buf_add(b, text, (size_t)n);
}

void jout_fixed(struct buf *b, double v, int n_decimals)
{
	/* Beyond 2^53 there are no decimals to print, and %f has no bound. */
	char text[40];
	if (!isfinite(v) || fabs(v) > 9007199254740992.0) {
		jout_num(b, v);
		return;
	}
	int n = snprintf(text, sizeof text, "%.*f", n_decimals, v);
	if (memchr(text, '.', (size_t)n)) {
		while (text[n - 1] == '0')
			n--;
		n -= text[n - 1] == '.';
	}
	const bool is_zero = n == 2 && text[0] == '-' && text[1] == '0';
	buf_add(b, text + is_zero, (size_t)(n - is_zero));
}

void jout_float(struct buf *b, float v)
{
	char text[32];
	if (!isfinite(v)) {
		buf_add(b, "null", 4);
		return;
	}
	/* 6 digits always survive float → text → float, 9 always suffice (C11 5.2.4.2.2). */
	int n = 0;
	for (int digits = 6; digits <= 9; digits++) {
		n = snprintf(text, sizeof text, "%.*g", digits, (double)v);
		if (strtof(text, NULL) == v)
			break;
	}
	buf_add(b, text, (size_t)n);
}

void jout_bool(struct buf *b, bool v)
{
	buf_adds(b, v ? "true" : "false");
}

void jout_sep(struct buf *b)
{
	if (b->n_bytes && b->data[b->n_bytes - 1] != '{' && b->data[b->n_bytes - 1] != '[')
		buf_addc(b, ',');
}

void jout_key(struct buf *b, const char *key)
{
	size_t n = strlen(key);
	jout_sep(b);
	buf_reserve(b, n + 3);
	buf_addc(b, '"');
	buf_add(b, key, n);
	buf_add(b, "\":", 2);
}

void jout_key_str(struct buf *b, const char *key, const char *s, size_t n)
{
	jout_key(b, key);
	jout_str(b, s, n);
}

void jout_key_cstr(struct buf *b, const char *key, const char *s)
{
	jout_key(b, key);
	jout_cstr(b, s);
}

void jout_key_int(struct buf *b, const char *key, int64_t v)
{
	jout_key(b, key);
	jout_int(b, v);
}

void jout_key_num(struct buf *b, const char *key, double v)
{
	jout_key(b, key);
	jout_num(b, v);
}

void jout_key_fixed(struct buf *b, const char *key, double v, int n_decimals)
{
	jout_key(b, key);
	jout_fixed(b, v, n_decimals);
}

void jout_key_bool(struct buf *b, const char *key, bool v)
{
	jout_key(b, key);
	jout_bool(b, v);
}

void jout_key_raw(struct buf *b, const char *key, const char *json, size_t n)
{
	jout_key(b, key);
	buf_add(b, json, n);
}
