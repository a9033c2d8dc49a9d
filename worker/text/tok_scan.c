/* tok_scan.c - the published Split patterns as code: an order of magnitude faster than the
 * regex engine, and linear whatever the text. test_tok_scan holds each against PCRE2. */
#include "worker/text/tok_scan.h"
#include "worker/text/tok_unicode.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

enum kind { OTHER, LETTER, NUMBER, SPACE, NEWLINE, END };

/* clang-format off */
static const uint8_t ascii[128] = {
	['\t'] = SPACE, ['\n'] = NEWLINE, ['\v'] = SPACE, ['\f'] = SPACE, ['\r'] = NEWLINE, [' '] = SPACE,
	['0'] = NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER,
	['A'] = LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER,
	LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER,
	LETTER, LETTER, LETTER,
	['a'] = LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER,
	LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER, LETTER,
	LETTER, LETTER, LETTER,
};
/* clang-format on */

static enum kind class_beyond_ascii(const char *s, size_t n, size_t *at)
{
	uint32_t cp = uni_next(s, n, at);
	if (uni_is_space(cp))
		return SPACE;
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO)
		return LETTER;
	return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO ? NUMBER : OTHER;
}

/* The class of the character at *at, which is moved past it. */
static inline enum kind take(const char *s, size_t n, size_t *at)
{
	if (*at >= n)
		return END;
	unsigned char c = (unsigned char)s[*at];
	if (c >= 0x80)
		return class_beyond_ascii(s, n, at);
	++*at;
	return (enum kind)ascii[c];
}

static inline size_t run_of(const char *s, size_t n, size_t at, enum kind want)
{
	for (size_t next = at; take(s, n, &next) == want;)
		at = next;
	return at;
}

enum folding { EXACT, ASCII_FOLD, UNICODE_FOLD };

static char folded(char c, enum folding fold)
{
	return fold != EXACT && c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* End of 's 't 're 've 'm 'll 'd at the apostrophe `at`, or `at`. */
static size_t contraction(const char *s, size_t n, size_t at, enum folding fold)
{
	if (at + 1 >= n)
		return at;
	char a = folded(s[at + 1], fold);
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return at + 2;
	if (at + 2 >= n)
		return at;
	char b = folded(s[at + 2], fold);
	if ((b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l'))
		return at + 3;
	/* U+017F is a long s to a caseless match. */
	if (fold == UNICODE_FOLD && a == '\xc5' && b == '\xbf')
		return at + 3;
	return at;
}

/* \s*[\r\n]+ (if `lines`), else \s+(?!\S), else \s+ at the white space `at`. */
static size_t white_space(const char *s, size_t n, size_t at, bool lines)
{
	size_t end = at, last = at, behind_line = 0;
	for (size_t next = at;;) {
		enum kind c = take(s, n, &next);
		if (c != SPACE && c != NEWLINE)
			break;
		last = end;
		end = next;
		if (c == NEWLINE)
			behind_line = end;
	}
	if (lines && behind_line)
		return behind_line;
	return end < n && last > at ? last : end;
}

static size_t run_of_other(const char *s, size_t n, size_t at, bool lines)
{
	at = run_of(s, n, at, OTHER);
	while (lines && at < n && (s[at] == '\r' || s[at] == '\n'))
		at++;
	return at;
}

static size_t numbers(const char *s, size_t n, size_t at, int max)
{
	size_t next = at;
	for (int k = 0; k < max && take(s, n, &next) == NUMBER; k++)
		at = next;
	return at;
}

/* contractions | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,max} | ' '?[^\s\p{L}\p{N}]+[\r\n]* | white
 * space: the family of cl100k, Llama 3 and Qwen. */
static inline size_t scan_family(const char *s, size_t n, size_t at, int max, enum folding fold)
{
	size_t next = at, end;
	enum kind c = take(s, n, &next);
	if (c == LETTER)
		return run_of(s, n, next, LETTER);
	if (c == NUMBER)
		return numbers(s, n, at, max);
	if (s[at] == '\'' && (end = contraction(s, n, at, fold)) > at)
		return end;
	if (c != NEWLINE && (end = run_of(s, n, next, LETTER)) > next)
		return end;
	if (c == OTHER)
		return run_of_other(s, n, at, true);
	if (s[at] == ' ' && (end = run_of_other(s, n, next, false)) > next)
		return run_of_other(s, n, end, true);
	return white_space(s, n, at, true);
}

static size_t scan_llama3(const char *s, size_t n, size_t at)
{
	return scan_family(s, n, at, 3, UNICODE_FOLD);
}

static size_t scan_qwen2(const char *s, size_t n, size_t at)
{
	return scan_family(s, n, at, 1, UNICODE_FOLD);
}

static size_t scan_llama3_gguf(const char *s, size_t n, size_t at)
{
	return scan_family(s, n, at, 3, ASCII_FOLD);
}

static size_t scan_qwen2_gguf(const char *s, size_t n, size_t at)
{
	return scan_family(s, n, at, 1, ASCII_FOLD);
}

/* contractions | ' '?\p{L}+ | ' '?\p{N}+ | ' '?[^\s\p{L}\p{N}]+ | white space */
static size_t scan_gpt2(const char *s, size_t n, size_t at)
{
	size_t next = at, start = at, end;
	enum kind c = take(s, n, &next);
	if (s[at] == '\'' && (end = contraction(s, n, at, EXACT)) > at)
		return end;
	if (s[at] == ' ') {
		start = next;
		c = take(s, n, &next);
	}
	if (c == LETTER || c == NUMBER || c == OTHER)
		return run_of(s, n, start, c);
	return white_space(s, n, at, false);
}

#define FOLDED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPELT  "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define TAIL   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS  "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define GPT2   "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"

static const struct tok_scan rows[] = {
	{ FOLDED WORDS "\\p{N}{1,3}" TAIL, scan_llama3 },
	{ FOLDED WORDS "\\p{N}" TAIL, scan_qwen2 },
	{ SPELT WORDS "\\p{N}{1,3}" TAIL, scan_llama3_gguf },
	{ SPELT WORDS "\\p{N}" TAIL, scan_qwen2_gguf },
	{ GPT2 "|\\s+", scan_gpt2 },
	/* What \s+(?!\S) leaves is one character, a stretch of its own either way. */
	{ GPT2, scan_gpt2 },
};

const struct tok_scan *tok_scan_at(size_t i)
{
	return i < sizeof rows / sizeof rows[0] ? &rows[i] : NULL;
}

tok_scan_fn tok_scan_find(const char *pattern, size_t n_pattern)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strlen(rows[i].pattern) == n_pattern &&
			memcmp(rows[i].pattern, pattern, n_pattern) == 0)
			return rows[i].scan;
	return NULL;
}
