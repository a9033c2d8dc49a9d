/* route.c - choosing a worker. */
#include "controller/route.h"
#include <assert.h>
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

size_t route_share(const struct route_candidate *c, size_t n, size_t picked, size_t n_waiting)
{
	size_t total = n_waiting;
	assert(picked < n);
	for (size_t i = 0; i < n; i++)
		total += c[i].outstanding;
	size_t level = (total + n - 1) / n;
	return level > c[picked].outstanding ? level - c[picked].outstanding : 1;
}
