/* tok_cases.h - strings.json and expected.json, as the tokenizer tests read them. */
#ifndef TESTS_WORKER_TOK_CASES_H
#define TESTS_WORKER_TOK_CASES_H
#include "protocol/buf.h"
#include "protocol/json_scan.h"
#include "worker/text/tokenizer.h"

/* The whole file, terminated; an empty buffer if it is not there. */
void tok_cases_read(const char *path, struct buf *out);

struct tok_case {
	struct buf text;
	struct tok_ids ids;     /* without the post-processor */
	struct tok_ids special; /* with it */
	struct buf decoded;     /* of ids */
	struct buf skipped;     /* of ids, control tokens skipped */
	bool is_refused;        /* the reference gives no answer */
};

/* The next case of a pair of files; false at the end. `decoded_skips`: expected.json's text
 * is decoded without control tokens (tests/data), else `skip` holds that text (shared). */
struct tok_cases {
	struct buf strings_text, expected_text;
	struct json_cursor strings, cases;
	bool decoded_skips;
	unsigned flags; /* of encoding; TOK_PARSE_SPECIAL unless changed */
	struct tok_case now;
	size_t n;
};
bool tok_cases_open(
	struct tok_cases *c, const char *strings, const char *expected, bool decoded_skips);
bool tok_cases_next(struct tok_cases *c);
void tok_cases_close(struct tok_cases *c);

/* Check every case against t, with messages that name `name` and the case. */
void tok_cases_check(struct tok_cases *c, const struct tokenizer *t, const char *name);
#endif
