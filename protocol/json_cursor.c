/* json_cursor.c - walking and reading text that json_scan() accepted: no checks here. */
#include "protocol/json_scan.h"
#include "protocol/utf8.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct json_span ABSENT = { NULL, 0 };

char json_kind(struct json_span v)
{
	if (!v.at || v.n == 0)
		return 0;
	switch (v.at[0]) {
	case '{':
	case '[':
	case '"':
	case 't':
	case 'f':
	case 'n': return v.at[0];
	default: return '0';
	}
}

/* -- cursors ---------------------------------------------------------------------------- */

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

struct json_span json_whole(const char *text, size_t n)
{
	const char *at = skip_space(text, text + n), *end = text + n;

	while (end > at && strchr(" \n\t\r", end[-1]))
		end--;
	return (struct json_span) { at, (size_t)(end - at) };
}

/* Most strings are keys and pieces of words: no call is worth its while for these. */
#define SHORT_STRING 16

/* p is at the opening quote. A quote ends the string unless an odd run of backslashes
 * stands before it. */
static const char *skip_string(const char *p, const char *end)
{
	const char *start = ++p;
	const char *near = end - p > SHORT_STRING ? p + SHORT_STRING : end;
	for (; p < near && *p != '\\'; p++)
		if (*p == '"')
			return p + 1;
	while ((p = memchr(p, '"', (size_t)(end - p))) != NULL) {
		const char *run = p;
		while (run > start && run[-1] == '\\')
			run--;
		p++;
		if ((p - 1 - run) % 2 == 0)
			return p;
	}
	return end;
}

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))

/* Not zero if a byte of w may be a quote or a bracket. '[' and '{' differ in one bit only, as
 * do ']' and '}'. A byte after a hit may be reported falsely, none before it. */
static uint64_t has_mark(uint64_t w)
{
	uint64_t lower = w | EACH(0x20);
	uint64_t quote = w ^ EACH('"'), open = lower ^ EACH('{'), close = lower ^ EACH('}');
	return ((quote - EACH(1)) & ~quote & EACH(0x80)) | ((open - EACH(1)) & ~open & EACH(0x80)) |
	       ((close - EACH(1)) & ~close & EACH(0x80));
}

/* Outside strings: to the next quote or bracket, over whole words without one. */
static const char *skip_unmarked(const char *p, const char *end)
{
	uint64_t w;
	for (; end - p >= (ptrdiff_t)sizeof w; p += sizeof w) {
		memcpy(&w, p, sizeof w);
		if (has_mark(w))
			break;
	}
	while (p < end && *p != '"' && (*p | 0x20) != '{' && (*p | 0x20) != '}')
		p++;
	return p;
}

static const char *skip_container(const char *p, const char *end)
{
	size_t depth = 0;
	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			p += p < end && *p == ',';
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		if ((*p == '}' || *p == ']') && --depth == 0)
			return p + 1;
		p = skip_unmarked(p + 1, end);
	}
	return end;
}

/* A number or a word ends before it. */
static bool is_after_value(char c)
{
	return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static const char *skip_value(const char *p, const char *end)
{
	if (p < end && *p == '"')
		return skip_string(p, end);
	if (p < end && (*p == '{' || *p == '['))
		return skip_container(p, end);
	while (p < end && !is_after_value(*p))
		p++;
	return p;
}

/* Past the separator before the next key or element; the closing bracket if none. */
static const char *next_item(const char *p, const char *end)
{
	p = skip_space(p, end);
	return p < end && (*p == ',' || *p == ':') ? skip_space(p + 1, end) : p;
}

struct json_cursor json_iterate(struct json_span object_or_array)
{
	const struct json_span v = object_or_array;
	char kind = json_kind(v);
	if (kind != '{' && kind != '[')
		return (struct json_cursor) { NULL, NULL };
	/* Up to the closing bracket, so that running out of bytes is the end. */
	return (struct json_cursor) { v.at + 1, v.at + v.n - 1 };
}

bool json_next_element(struct json_cursor *c, struct json_span *value)
{
	if (!c->at)
		return false;
	const char *start = next_item(c->at, c->end);
	/* The brackets are the end of what json_enter stepped into. */
	if (start >= c->end || *start == '}' || *start == ']')
		return false;
	c->at = skip_value(start, c->end);
	*value = (struct json_span) { start, (size_t)(c->at - start) };
	return true;
}

bool json_next_member(struct json_cursor *c, struct json_span *key, struct json_span *value)
{
	return json_next_element(c, key) && json_next_element(c, value);
}

bool json_enter(struct json_cursor *c, struct json_cursor *inside)
{
	const char *start = c->at ? next_item(c->at, c->end) : NULL;
	if (!start || start >= c->end || *start != '{')
		return false;
	*inside = (struct json_cursor) { start + 1, c->end };
	return true;
}

void json_leave(struct json_cursor *c, const struct json_cursor *inside)
{
	c->at = skip_space(inside->at, inside->end) + 1;
}

struct json_span json_find(struct json_span object, const char *key)
{
	if (json_kind(object) != '{')
		return ABSENT;
	struct json_cursor c = json_iterate(object);
	struct json_span k, v;
	while (json_next_member(&c, &k, &v))
		if (json_str_is(k, key))
			return v;
	return ABSENT;
}

/* -- strings ---------------------------------------------------------------------------- */

static uint32_t hex4(const char *p)
{
	uint32_t v = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return v;
}

const char *json_decode_escape(const char *p, struct buf *out)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *which = strchr(from, p[1]);
	if (which) {
		buf_addc(out, to[which - from]);
		return p + 2;
	}
	if (p[1] != 'u') {
		buf_addc(out, p[1]);
		return p + 2;
	}
	uint32_t cp = hex4(p + 2);
	p += 6;
	if (cp >= 0xd800 && cp <= 0xdbff) {
		cp = 0x10000 + ((cp - 0xd800) << 10) + (hex4(p + 2) - 0xdc00);
		p += 6;
	}
	char bytes[4];
	buf_add(out, bytes, (size_t)utf8_encode(cp, bytes));
	return p;
}

bool json_get_str(struct json_span v, struct buf *out)
{
	if (json_kind(v) != '"')
		return false;
	const char *p = v.at + 1, *end = v.at + v.n - 1;
	buf_reserve(out, v.n);
	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		buf_add(out, p, (size_t)((slash ? slash : end) - p));
		p = slash ? json_decode_escape(slash, out) : end;
	}
	return true;
}

bool json_copy_str(struct json_span v, char *out, size_t cap)
{
	/* An escape is at most six bytes a character, so a longer one cannot fit either. */
	if (json_kind(v) != '"' || cap == 0 || (v.n - 2) / 6 >= cap)
		return false;
	struct buf text = BUF_INIT;
	json_get_str(v, &text);
	bool fits = text.n_bytes < cap && !memchr(buf_cstr(&text), '\0', text.n_bytes);
	if (fits)
		memcpy(out, text.data, text.n_bytes + 1);
	buf_release(&text);
	return fits;
}

bool json_str_is(struct json_span v, const char *ascii)
{
	size_t n = strlen(ascii);
	/* An escape is longer than what it stands for. */
	if (json_kind(v) != '"' || v.n < n + 2)
		return false;
	if (v.n == n + 2)
		return memcmp(v.at + 1, ascii, n) == 0;
	if (!memchr(v.at, '\\', v.n))
		return false;
	struct buf text = BUF_INIT;
	json_get_str(v, &text);
	bool same = text.n_bytes == n && memcmp(buf_cstr(&text), ascii, n) == 0;
	buf_release(&text);
	return same;
}

size_t json_str_among(struct json_span v, const char *const *names, size_t n)
{
	if (json_kind(v) != '"')
		return n;
	const bool is_escaped = memchr(v.at, '\\', v.n);
	for (size_t i = 0; i < n; i++)
		if ((is_escaped || names[i][0] == v.at[1]) && json_str_is(v, names[i]))
			return i;
	return n;
}

/* -- numbers ---------------------------------------------------------------------------- */

/* A number as digits times a power of ten: the decimal point and exponent taken in. */
struct decimal {
	const char *first; /* first significant digit; NULL for zero */
	const char *last;  /* last non-zero digit */
	int64_t exponent;  /* of the digit `last` */
};

/* Beyond this the exponent no longer matters: no text is long enough to come back. */
#define EXPONENT_MAX ((int64_t)1 << 40)

static int64_t read_exponent(const char *p, const char *end)
{
	bool negative = p < end && *p == '-';
	if (p < end && (*p == '-' || *p == '+'))
		p++;
	int64_t e = 0;
	for (; p < end; p++)
		if (e < EXPONENT_MAX)
			e = e * 10 + (*p - '0');
	return negative ? -e : e;
}

static struct decimal read_decimal(const char *p, const char *end)
{
	struct decimal d = { NULL, NULL, 0 };
	const char *point = NULL;
	int64_t after_last = 0; /* digits seen after `last` */
	int64_t fraction = 0;   /* digits seen after the point */
	for (; p < end && *p != 'e' && *p != 'E'; p++) {
		if (*p == '.') {
			point = p;
			continue;
		}
		fraction += point != NULL;
		after_last++;
		if (*p == '0')
			continue;
		d.first = d.first ? d.first : p;
		d.last = p;
		after_last = 0;
	}
	d.exponent = (p < end ? read_exponent(p + 1, end) : 0) + after_last - fraction;
	return d;
}

/* The magnitude; false when it is no integer or over uint64. */
static bool decimal_to_uint(const struct decimal *d, uint64_t *out)
{
	*out = 0;
	if (!d->first)
		return true;
	if (d->exponent < 0 || d->exponent > 19 || d->last - d->first > 20)
		return false;
	for (const char *p = d->first; p <= d->last; p++)
		if (*p != '.' && (__builtin_mul_overflow(*out, 10, out) ||
					 __builtin_add_overflow(*out, (uint64_t)(*p - '0'), out)))
			return false;
	for (int64_t e = 0; e < d->exponent; e++)
		if (__builtin_mul_overflow(*out, 10, out))
			return false;
	return true;
}

bool json_get_int(struct json_span v, int64_t *out)
{
	if (json_kind(v) != '0')
		return false;
	bool negative = v.at[0] == '-';
	struct decimal d = read_decimal(v.at + negative, v.at + v.n);
	uint64_t magnitude;
	if (!decimal_to_uint(&d, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative)
		return false;
	*out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	return true;
}

bool json_get_num(struct json_span v, double *out)
{
	if (json_kind(v) != '0')
		return false;
	/* strtod wants a terminator, which a span does not have. */
	struct buf text = BUF_INIT;
	buf_add(&text, v.at, v.n);
	double d = strtod(buf_cstr(&text), NULL);
	buf_release(&text);
	if (!isfinite(d))
		return false;
	*out = d;
	return true;
}

bool json_get_bool(struct json_span v, bool *out)
{
	char kind = json_kind(v);
	if (kind != 't' && kind != 'f')
		return false;
	*out = kind == 't';
	return true;
}
