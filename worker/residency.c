/* residency.c - the least recently used models leave first. */
#include "worker/residency.h"

static uint64_t more(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static struct resident *oldest(struct resident *r, size_t n)
{
	struct resident *best = NULL;
	for (size_t i = 0; i < n; i++)
		if (!r[i].stays && !r[i].in_use && !r[i].leaves &&
			(!best || r[i].last_used < best->last_used))
			best = &r[i];
	return best;
}

enum residency residency_plan(struct resident *r, size_t n, uint64_t n_bytes, uint64_t budget)
{
	uint64_t held = n_bytes, kept = n_bytes;
	for (size_t i = 0; i < n; i++) {
		r[i].leaves = false;
		held = more(held, r[i].n_bytes);
		if (r[i].stays)
			kept = more(kept, r[i].n_bytes);
	}
	if (budget == 0 || held <= budget)
		return RESIDENCY_FITS;
	if (kept > budget)
		return RESIDENCY_NEVER;
	while (held > budget) {
		struct resident *leaver = oldest(r, n);
		if (!leaver)
			break;
		leaver->leaves = true;
		held -= leaver->n_bytes;
	}
	if (held <= budget)
		return RESIDENCY_FITS;
	for (size_t i = 0; i < n; i++)
		r[i].leaves = false;
	return RESIDENCY_LATER;
}
