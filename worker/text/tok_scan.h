/* tok_scan.h - hand-written scanners equal to the published Split patterns. */
#ifndef WORKER_TEXT_TOK_SCAN_H
#define WORKER_TEXT_TOK_SCAN_H
#include <stddef.h>

/* The end of the match that begins at `at` < n. The pattern matches, or leaves one stretch,
 * everywhere, so the ends cut the whole text. s is valid UTF-8. */
typedef size_t (*tok_scan_fn)(const char *s, size_t n, size_t at);

struct tok_scan {
	const char *pattern; /* as files write it, to the byte */
	tok_scan_fn scan;
};
const struct tok_scan *tok_scan_at(size_t i); /* NULL past the last */

/* The scanner of exactly this pattern, or NULL. */
tok_scan_fn tok_scan_find(const char *pattern, size_t n_pattern);
#endif
