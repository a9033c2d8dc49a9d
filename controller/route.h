/* route.h - which of several workers gets the next call. Pure policy.
 *
 * Least outstanding work first, and among equals the one that was given work longest ago.
 * Work is counted in calls and streams; a prefix a worker has cached would be one more
 * member of struct route_candidate, weighed here and nowhere else. */
#ifndef CONTROLLER_ROUTE_H
#define CONTROLLER_ROUTE_H
#include <stddef.h>
#include <stdint.h>

struct route_candidate {
	int worker;
	size_t outstanding; /* calls in flight and streams running there */
	uint64_t last_us;   /* when it was last given something */
	size_t n_missing;   /* models the call would like beside its own and that it lacks */
};

/* Index into c, or -1 when n is 0. */
int route_pick(const struct route_candidate *c, size_t n);
/* How many of n_waiting calls the picked one should take, so that all candidates end up
 * with equal work; at least 1. */
size_t route_share(const struct route_candidate *c, size_t n, size_t picked, size_t n_waiting);
#endif
