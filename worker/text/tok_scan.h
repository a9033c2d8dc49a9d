/* tok_scan.h - hand-written scanners equal to the published Split patterns. */
#ifndef WORKER_TEXT_TOK_SCAN_H
#define WORKER_TEXT_TOK_SCAN_H
#include <stddef.h>

/* The scanner of exactly this pattern, or NULL. scan(s, n, at) returns the end of the match
 * that begins at `at` < n; the pattern matches everywhere. */
typedef size_t (*tok_scan_fn)(const char *s, size_t n, size_t at);
tok_scan_fn tok_scan_find(const char *pattern, size_t n_pattern);
#endif
