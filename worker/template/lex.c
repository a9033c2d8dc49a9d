/* lex.c - template source to tokens. */
#include "worker/template/lex.h"
#include "protocol/utf8.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lexer {
	struct arena *arena;
	const char *at, *end;
	int line;
	bool line_start; /* the last thing consumed ended a line */
	int brackets;    /* open ( [ { inside a tag: `}}` closes only at 0 */
	struct token *items;
	size_t n, cap;
	struct fault *fault;
	bool failed;
};

static void lex_fail(struct lexer *x, const char *what)
{
	if (!x->failed)
		fault_set(
			x->fault, ERR_INVALID_PARAMS, "chat template: line %d: %s", x->line, what);
	x->failed = true;
}

static struct token *push(struct lexer *x, enum token_kind kind, const char *at, size_t n)
{
	if (x->n == x->cap) {
		size_t cap = x->cap ? x->cap * 2 : 256;
		struct token *items = arena_alloc(x->arena, cap * sizeof *items);
		if (x->n)
			memcpy(items, x->items, x->n * sizeof *items);
		x->items = items;
		x->cap = cap;
	}
	struct token *t = &x->items[x->n++];
	*t = (struct token) { .kind = kind, .line = x->line, .text = { at, n, NULL } };
	return t;
}

static void advance(struct lexer *x, const char *to)
{
	for (const char *p = x->at; p < to; p++)
		x->line += *p == '\n';
	if (to > x->at)
		x->line_start = to[-1] == '\n';
	x->at = to;
}

static bool starts(const struct lexer *x, const char *at, const char *with)
{
	size_t n = strlen(with);
	return (size_t)(x->end - at) >= n && !memcmp(at, with, n);
}

static const char *find(const struct lexer *x, const char *at, const char *what)
{
	return memmem(at, (size_t)(x->end - at), what, strlen(what));
}

/* The next `{{`, `{%` or `{#`, or the end. */
static const char *next_tag(const struct lexer *x)
{
	const char *p = x->at;
	while ((p = memchr(p, '{', (size_t)(x->end - p)))) {
		if (p + 1 < x->end && (p[1] == '{' || p[1] == '%' || p[1] == '#'))
			return p;
		p++;
	}
	return x->end;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Text up to a tag, shortened as the tag's marker and lstrip_blocks ask. */
static void push_data(struct lexer *x, const char *tag)
{
	const char *begin = x->at, *end = tag;
	bool line_start = x->line_start;
	char mark = tag < x->end && tag + 2 < x->end ? tag[2] : 0;
	if (tag < x->end && mark == '-') {
		while (end > begin && is_blank(end[-1]))
			end--;
	} else if (tag < x->end && mark != '+' && tag[1] != '{') {
		const char *p = end;
		while (p > begin && is_blank(p[-1]) && p[-1] != '\n')
			p--;
		if (p > begin ? p[-1] == '\n' : line_start)
			end = p;
	}
	if (end > begin)
		push(x, T_DATA, begin, (size_t)(end - begin));
	advance(x, tag);
}

/* After a closing marker at p: `-` eats blank space, trim_blocks eats one newline. */
static void after_tag(struct lexer *x, const char *p, char mark, bool trims)
{
	if (mark == '-') {
		while (p < x->end && is_blank(*p))
			p++;
	} else if (trims && mark != '+' && p < x->end && *p == '\n') {
		p++;
	}
	advance(x, p);
}

static void lex_comment(struct lexer *x)
{
	const char *p = find(x, x->at + 2, "#}");
	if (!p) {
		lex_fail(x, "a comment {# is never closed");
		return;
	}
	char mark = p > x->at + 2 ? p[-1] : 0;
	after_tag(x, p + 2, mark == '-' || mark == '+' ? mark : 0, true);
}

/* {% raw %} … {% endraw %}; false if this tag is something else. */
static bool lex_raw(struct lexer *x)
{
	const char *p = x->at + 2;
	if (p < x->end && (*p == '-' || *p == '+'))
		p++;
	while (p < x->end && is_blank(*p))
		p++;
	if (!starts(x, p, "raw"))
		return false;
	p += 3;
	while (p < x->end && is_blank(*p))
		p++;
	char mark = 0;
	if (p < x->end && (*p == '-' || *p == '+'))
		mark = *p++;
	if (!starts(x, p, "%}"))
		return false;
	after_tag(x, p + 2, mark, true);
	for (const char *q = x->at; (q = find(x, q, "{%")); q += 2) {
		const char *e = q + 2;
		if (e < x->end && (*e == '-' || *e == '+'))
			e++;
		while (e < x->end && is_blank(*e))
			e++;
		if (!starts(x, e, "endraw"))
			continue;
		push_data(x, q);
		const char *close = find(x, e, "%}");
		if (!close)
			break;
		after_tag(x, close + 2, close[-1] == '-' || close[-1] == '+' ? close[-1] : 0, true);
		return true;
	}
	lex_fail(x, "{% raw %} is never closed");
	return true;
}

static void put_code_point(struct strbuf *b, uint32_t cp)
{
	char out[4];
	if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		cp = 0xfffd;
	strbuf_addm(b, out, (size_t)utf8_encode(cp, out), false);
}

/* One backslash escape at p (after the backslash), Python's rules; returns what follows. */
static const char *unescape(struct strbuf *b, const char *p, const char *end)
{
	static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
	const char *hit = *p ? strchr(from, *p) : NULL;
	if (hit) {
		strbuf_addm(b, &to[hit - from], 1, false);
		return p + 1;
	}
	int digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
	if (digits && end - p > digits) {
		char hex[9] = { 0 };
		memcpy(hex, p + 1, (size_t)digits);
		char *stop;
		unsigned long cp = strtoul(hex, &stop, 16);
		if (*stop == '\0' && isxdigit((unsigned char)hex[0])) {
			put_code_point(b, (uint32_t)cp);
			return p + 1 + digits;
		}
	}
	if (*p == '\n')
		return p + 1;
	strbuf_adds(b, "\\");
	strbuf_addm(b, p, 1, false);
	return p + 1;
}

static void lex_string(struct lexer *x)
{
	char quote = *x->at;
	const char *p = x->at + 1;
	struct strbuf b = { 0 };
	while (p < x->end && *p != quote) {
		if (*p == '\\' && p + 1 < x->end) {
			p = unescape(&b, p + 1, x->end);
		} else {
			strbuf_addm(&b, p, 1, false);
			p++;
		}
	}
	struct str s = strbuf_done(x->arena, &b);
	if (p >= x->end)
		lex_fail(x, "a string is never closed");
	else
		push(x, T_STRING, s.at, s.n_bytes);
	advance(x, p < x->end ? p + 1 : x->end);
}

static void lex_number(struct lexer *x)
{
	char text[64];
	size_t n = 0;
	bool is_float = false;
	const char *p = x->at;
	for (; p < x->end && n < sizeof text - 1; p++) {
		bool exponent_sign =
			(*p == '+' || *p == '-') && n && (text[n - 1] == 'e' || text[n - 1] == 'E');
		if (*p == '_')
			continue;
		char next = p + 1 < x->end ? p[1] : 0;
		bool is_digit_next = isdigit((unsigned char)next) != 0;
		bool is_point = *p == '.' && is_digit_next && !is_float;
		bool is_exponent =
			(*p == 'e' || *p == 'E') && (is_digit_next || next == '-' || next == '+');
		if (is_point || is_exponent)
			is_float = true;
		else if (!isdigit((unsigned char)*p) && !exponent_sign)
			break;
		text[n++] = *p;
	}
	text[n] = '\0';
	struct token *t = push(x, is_float ? T_FLOAT : T_INT, x->at, (size_t)(p - x->at));
	errno = 0;
	if (is_float)
		t->f = strtod(text, NULL);
	else
		t->i = strtoll(text, NULL, 10);
	if (errno)
		lex_fail(x, "a number is out of range");
	advance(x, p);
}

static void lex_operator(struct lexer *x)
{
	static const char *const two[] = { "==", "!=", "<=", ">=", "//", "**" };
	size_t n = 1;
	for (size_t i = 0; i < sizeof two / sizeof *two; i++)
		if (starts(x, x->at, two[i]))
			n = 2;
	if (!strchr("+-*/%~<>=!()[]{}|.,:;", *x->at) || (*x->at == '!' && n == 1)) {
		lex_fail(x, "an unexpected character inside a tag");
		return;
	}
	x->brackets += strchr("([{", *x->at) != NULL;
	x->brackets -= strchr(")]}", *x->at) != NULL && x->brackets > 0;
	push(x, T_OP, x->at, n);
	advance(x, x->at + n);
}

/* The inside of a tag up to its end marker. */
static void lex_tag(struct lexer *x, const char *close, enum token_kind end_kind)
{
	x->brackets = 0;
	while (!x->failed) {
		while (x->at < x->end && is_blank(*x->at))
			advance(x, x->at + 1);
		if (x->at >= x->end) {
			lex_fail(x, "a tag is never closed");
			return;
		}
		char mark = *x->at == '-' || *x->at == '+' ? *x->at : 0;
		const char *p = x->at + (mark != 0);
		if (!x->brackets && starts(x, p, close)) {
			push(x, end_kind, p, 2);
			after_tag(x, p + 2, mark, end_kind == T_BLOCK_END);
			return;
		}
		if (*x->at == '"' || *x->at == '\'') {
			lex_string(x);
		} else if (isdigit((unsigned char)*x->at)) {
			lex_number(x);
		} else if (isalpha((unsigned char)*x->at) || *x->at == '_' || (*x->at & 0x80)) {
			for (p = x->at; p < x->end &&
					(isalnum((unsigned char)*p) || *p == '_' || (*p & 0x80));
				p++)
				;
			push(x, T_NAME, x->at, (size_t)(p - x->at));
			advance(x, p);
		} else {
			lex_operator(x);
		}
	}
}

/* Jinja reads \r\n and \r as \n, and drops one newline at the very end. */
static char *normalize(struct arena *a, const char *source, size_t n, size_t *n_out)
{
	char *copy = arena_copy(a, source, n);
	size_t w = 0;
	for (size_t i = 0; i < n; i++) {
		if (source[i] == '\r') {
			copy[w++] = '\n';
			i += i + 1 < n && source[i + 1] == '\n';
		} else {
			copy[w++] = source[i];
		}
	}
	if (w && copy[w - 1] == '\n')
		w--;
	*n_out = w;
	return copy;
}

int lex(struct arena *a, const char *source, size_t n, struct tokens *out, struct fault *f)
{
	size_t n_text;
	const char *text = normalize(a, source, n, &n_text);
	struct lexer x = { .arena = a,
		.at = text,
		.end = text + n_text,
		.line = 1,
		.line_start = true,
		.fault = f };
	while (x.at < x.end && !x.failed) {
		const char *tag = next_tag(&x);
		push_data(&x, tag);
		if (x.at >= x.end)
			break;
		if (tag[1] == '#') {
			lex_comment(&x);
		} else if (tag[1] == '{' || !lex_raw(&x)) {
			bool block = tag[1] == '%';
			push(&x, block ? T_BLOCK_BEGIN : T_VAR_BEGIN, tag, 2);
			const char *p = tag + 2;
			advance(&x, p < x.end && (*p == '-' || *p == '+') ? p + 1 : p);
			lex_tag(&x, block ? "%}" : "}}", block ? T_BLOCK_END : T_VAR_END);
		}
	}
	push(&x, T_END, x.end, 0);
	*out = (struct tokens) { x.items, x.n };
	return x.failed ? ERR_INVALID_PARAMS : 0;
}
