/* json_scan.c - strict RFC 8259, walked once without recursion. Stop 3; next: jsonrpc.c */
#include "protocol/json_scan.h"
#include "protocol/json_keys.h"
#include "protocol/utf8.h"
#include <string.h>

struct level {
	bool is_object;
	size_t first_key; /* where its keys start in scan.keys */
};

struct scan {
	const char *text;
	size_t n;
	size_t at;
	size_t depth;
	bool nul_keys; /* \u0000 may stand in a key */
	struct level levels[JSON_DEPTH_MAX];
	struct json_keys keys;
	struct fault *f;
};

static int fail(struct scan *s, size_t at, const char *what)
{
	fault_set(s->f, ERR_PARSE, "Parse error: %s at byte %zu", what, at);
	fault_add_int(s->f, "offset", (int64_t)at);
	return ERR_PARSE;
}

/* 0 past the end. A NUL in the text reads the same, and is as wrong in every place that
 * looks: nothing here accepts it. */
static char peek(const struct scan *s)
{
	return s->at < s->n ? s->text[s->at] : '\0';
}

static void skip_space(struct scan *s)
{
	while (s->at < s->n && (s->text[s->at] == ' ' || s->text[s->at] == '\n' ||
				       s->text[s->at] == '\t' || s->text[s->at] == '\r'))
		s->at++;
}

/* -- strings ---------------------------------------------------------------------------- */

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))

/* A high bit for each byte of w that may need a look: below 0x20, '"', '\\' or above 0x7e.
 * The subtractions may borrow into a byte after a hit, never before the first one. */
static uint64_t marks(uint64_t w)
{
	uint64_t quote = w ^ EACH('"'), slash = w ^ EACH('\\');
	uint64_t low = (w - EACH(0x20)) | (quote - EACH(1)) | (slash - EACH(1));
	return (low | w) & EACH(0x80);
}

static bool is_plain(char c)
{
	return (unsigned char)c >= 0x20 && c != '"' && c != '\\' && (unsigned char)c < 0x80;
}

static void skip_plain(struct scan *s)
{
	uint64_t w;
	while (s->n - s->at >= sizeof w) {
		memcpy(&w, s->text + s->at, sizeof w);
		if (marks(w))
			break;
		s->at += sizeof w;
	}
	while (s->at < s->n && is_plain(s->text[s->at]))
		s->at++;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits after `\u` at s->at; -1 if they are not there. */
static int hex4(struct scan *s)
{
	if (s->n - s->at < 4)
		return -1;
	int v = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(s->text[s->at + (size_t)i]);
		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	s->at += 4;
	return v;
}

static int scan_unicode_escape(struct scan *s, bool *has_nul)
{
	size_t start = s->at - 2;
	int unit = hex4(s);
	if (unit < 0)
		return fail(s, start, "\\u needs four hexadecimal digits");
	if (unit == 0)
		*has_nul = true;
	if (unit < 0xd800 || unit > 0xdfff)
		return 0;
	if (unit <= 0xdbff && s->n - s->at >= 2 && memcmp(s->text + s->at, "\\u", 2) == 0) {
		s->at += 2;
		int second = hex4(s);
		if (second >= 0xdc00 && second <= 0xdfff)
			return 0;
	}
	return fail(s, start, "half of a surrogate pair");
}

static int scan_escape(struct scan *s, bool *has_nul)
{
	s->at++;
	char c = peek(s);
	if (c == '\0' || !strchr("\"\\/bfnrtu", c))
		return fail(s, s->at - 1, "unknown escape in a string");
	s->at++;
	return c == 'u' ? scan_unicode_escape(s, has_nul) : 0;
}

static int scan_utf8(struct scan *s)
{
	do {
		uint32_t cp;
		int len = utf8_decode(s->text + s->at, s->n - s->at, &cp);
		if (len <= 0)
			return fail(s, s->at, "bytes that are not UTF-8");
		s->at += (size_t)len;
	} while (s->at < s->n && (unsigned char)s->text[s->at] >= 0x80);
	return 0;
}

/* A string at s->at, its quotes included. */
static int scan_string(struct scan *s, bool *is_escaped, bool *has_nul)
{
	size_t start = s->at++;
	*is_escaped = *has_nul = false;
	for (;;) {
		skip_plain(s);
		if (s->at == s->n)
			return fail(s, start, "a string without an end");
		char c = s->text[s->at];
		int rc = 0;
		if (c == '"') {
			s->at++;
			return 0;
		}
		if (c == '\\') {
			*is_escaped = true;
			rc = scan_escape(s, has_nul);
		} else if ((unsigned char)c >= 0x80) {
			rc = scan_utf8(s);
		} else {
			rc = fail(s, s->at, "a control character in a string");
		}
		if (rc < 0)
			return rc;
	}
}

/* -- numbers and words ------------------------------------------------------------------ */

static bool skip_digits(struct scan *s)
{
	size_t start = s->at;
	while (peek(s) >= '0' && peek(s) <= '9')
		s->at++;
	return s->at > start;
}

static int scan_number(struct scan *s)
{
	size_t start = s->at;
	if (peek(s) == '-')
		s->at++;
	if (peek(s) == '0')
		s->at++;
	else if (!skip_digits(s))
		return fail(s, start, "not a JSON value");
	if (peek(s) == '.') {
		s->at++;
		if (!skip_digits(s))
			return fail(s, start, "a number without digits after its point");
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		if (!skip_digits(s))
			return fail(s, start, "a number without digits in its exponent");
	}
	return 0;
}

static int scan_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);
	if (s->n - s->at < n || memcmp(s->text + s->at, word, n) != 0)
		return fail(s, s->at, "not a JSON value");
	s->at += n;
	return 0;
}

/* -- containers ------------------------------------------------------------------------- */

/* A key and its colon. */
static int scan_key(struct scan *s)
{
	skip_space(s);
	size_t start = s->at;
	bool is_escaped, has_nul;
	if (peek(s) != '"')
		return fail(s, start, "expected a key in double quotes");
	if (scan_string(s, &is_escaped, &has_nul) < 0)
		return ERR_PARSE;
	if (has_nul && !s->nul_keys)
		return fail(s, start, "a key with \\u0000 in it");
	json_keys_push(&s->keys, (struct json_span) { s->text + start, s->at - start }, is_escaped);
	skip_space(s);
	if (peek(s) != ':')
		return fail(s, s->at, "expected ':' after a key");
	s->at++;
	return 0;
}

/* The closing bracket at s->at. */
static int close_level(struct scan *s)
{
	struct level *l = &s->levels[--s->depth];
	s->at++;
	if (!l->is_object)
		return 0;
	struct json_span twice = json_keys_close(&s->keys, l->first_key);
	if (!twice.at)
		return 0;
	return fail(s, (size_t)(twice.at - s->text), "a key that its object already has");
}

/* Sets *want_value to whether a value must follow. */
static int open_level(struct scan *s, bool is_object, bool *want_value)
{
	if (s->depth == JSON_DEPTH_MAX)
		return fail(s, s->at, "nesting deeper than 256 levels");
	s->levels[s->depth++] = (struct level) { is_object, s->keys.n };
	s->at++;
	skip_space(s);
	*want_value = peek(s) != (is_object ? '}' : ']');
	if (!*want_value)
		return close_level(s);
	return is_object ? scan_key(s) : 0;
}

static int scan_value(struct scan *s, bool *want_value)
{
	bool is_escaped, has_nul;
	skip_space(s);
	*want_value = false;
	switch (peek(s)) {
	case '{': return open_level(s, true, want_value);
	case '[': return open_level(s, false, want_value);
	case '"': return scan_string(s, &is_escaped, &has_nul);
	case 't': return scan_word(s, "true");
	case 'f': return scan_word(s, "false");
	case 'n': return scan_word(s, "null");
	default: break;
	}
	if (s->at == s->n)
		return fail(s, s->at, "the text ends where a value was expected");
	return scan_number(s);
}

/* What follows a value inside a container: a comma or its end. */
static int scan_after_value(struct scan *s, bool *want_value)
{
	bool is_object = s->levels[s->depth - 1].is_object;
	skip_space(s);
	if (peek(s) == (is_object ? '}' : ']'))
		return close_level(s);
	if (peek(s) != ',')
		return fail(s, s->at, is_object ? "expected ',' or '}'" : "expected ',' or ']'");
	s->at++;
	*want_value = true;
	return is_object ? scan_key(s) : 0;
}

static int scan_text(struct scan *s)
{
	bool want_value = true;
	while (want_value || s->depth > 0) {
		int rc = want_value ? scan_value(s, &want_value) : scan_after_value(s, &want_value);
		if (rc < 0)
			return rc;
	}
	skip_space(s);
	return s->at == s->n ? 0 : fail(s, s->at, "something after the end of the value");
}

static int scan_all(const char *text, size_t n, bool nul_keys, struct fault *f)
{
	struct scan s;
	s.nul_keys = nul_keys;
	s.text = text;
	s.n = n;
	s.at = s.depth = 0;
	s.f = f;
	json_keys_init(&s.keys);
	int rc = scan_text(&s);
	json_keys_release(&s.keys);
	return rc;
}

int json_scan(const char *text, size_t n, struct fault *f)
{
	return scan_all(text, n, false, f);
}

int json_scan_vocab(const char *text, size_t n, struct fault *f)
{
	return scan_all(text, n, true, f);
}
