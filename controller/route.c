/* route.c - choosing a worker. */
#include "controller/route.h"

static size_t least_tokens(const struct route_candidate *c, size_t n)
{
	size_t least = SIZE_MAX;
	for (size_t i = 0; i < n; i++)
		if (c[i].n_tokens < least)
			least = c[i].n_tokens;
	return least;
}

static size_t prefix_that_counts(const struct route_candidate *c, size_t least)
{
	return c->n_tokens - least <= ROUTE_LEAD ? c->n_prefix : 0;
}

static bool is_better(
	const struct route_candidate *a, const struct route_candidate *b, size_t least)
{
	size_t prefix_a = prefix_that_counts(a, least), prefix_b = prefix_that_counts(b, least);
	if (a->is_tripped != b->is_tripped)
		return b->is_tripped;
	if (a->n_missing != b->n_missing)
		return a->n_missing < b->n_missing;
	if (prefix_a != prefix_b)
		return prefix_a > prefix_b;
	if (a->n_tokens != b->n_tokens)
		return a->n_tokens < b->n_tokens;
	return a->last_us < b->last_us;
}

static bool may_step_in(const struct route_candidate *c)
{
	return c->has_room && !c->is_given && !c->is_tripped;
}

static int pick(
	const struct route_candidate *c, size_t n, bool (*fits)(const struct route_candidate *))
{
	size_t least = least_tokens(c, n);
	int best = -1;
	for (size_t i = 0; i < n; i++)
		if ((!fits || fits(&c[i])) && (best < 0 || is_better(&c[i], &c[best], least)))
			best = (int)i;
	return best;
}

int route_pick(const struct route_candidate *c, size_t n)
{
	return pick(c, n, NULL);
}

int route_deal(const struct route_candidate *c, size_t n)
{
	int best = route_pick(c, n);
	return best < 0 || c[best].has_room ? best : pick(c, n, may_step_in);
}
