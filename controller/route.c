/* route.c - choosing a worker. */
#include "controller/route.h"
#include <stdbool.h>

static bool is_better(const struct route_candidate *a, const struct route_candidate *b)
{
	if (a->n_missing != b->n_missing)
		return a->n_missing < b->n_missing;
	if (a->outstanding != b->outstanding)
		return a->outstanding < b->outstanding;
	return a->last_us < b->last_us;
}

int route_pick(const struct route_candidate *c, size_t n)
{
	if (n == 0)
		return -1;
	size_t best = 0;
	for (size_t i = 1; i < n; i++)
		if (is_better(&c[i], &c[best]))
			best = i;
	return (int)best;
}
