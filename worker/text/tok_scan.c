/* tok_scan.c - hand-written scanners equal to the published Split patterns. */
#include "worker/text/tok_scan.h"

tok_scan_fn tok_scan_find(const char *pattern, size_t n_pattern)
{
	(void)pattern;
	(void)n_pattern;
	return NULL;
}
