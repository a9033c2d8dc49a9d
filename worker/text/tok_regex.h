/* tok_regex.h - the regexes of tokenizer.json, on PCRE2 with its JIT.
 *
 * They are written for Oniguruma (Ruby syntax), whose \s, \w, \h, ^, $, (?m) and character
 * class operators differ from PCRE2's; tok_regex_new translates. A pattern comes from a
 * file and is not trusted: its size, nesting and the steps of one match are limited. */
#ifndef WORKER_TEXT_TOK_REGEX_H
#define WORKER_TEXT_TOK_REGEX_H
#include "protocol/buf.h"
#include "protocol/err.h"

struct tok_regex; /* immutable; shared by threads */

/* 0, or ERR_TOKENIZER with a reason (no path) in *f. */
int tok_regex_new(const char *pattern, size_t n, struct tok_regex **out, struct fault *f);
void tok_regex_free(struct tok_regex *re);

/* The translated pattern; ERR_TOKENIZER with a reason. For tok_regex_new and its test. */
int tok_regex_translate(const char *pattern, size_t n, struct buf *out, struct fault *f);

struct regex_work { /* of one thread; zero-initialised is valid */
	void *match, *context, *stack;
};
void regex_work_release(struct regex_work *w);

/* The first match of re in s[0..n) at or after `from`: 1 and its bounds, 0 if there is
 * none, ERR_TOKENIZER if a limit was hit. s is valid UTF-8, from a character boundary. */
struct tok_span {
	size_t start, end;
};
int tok_regex_find(const struct tok_regex *re, struct regex_work *w, struct tok_span text,
	const char *s, struct tok_span *out);
#endif
