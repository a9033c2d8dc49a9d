/* route.h - which of several workers gets the next call. Pure policy.
 *
 * In this order: one whose breaker is closed (breaker.h); one that has every model the call would
 * like; the one that was given most of the prompt's beginning before, unless it has much more to
 * do than the idlest; the one with the fewest tokens still to do; the one that was given something
 * longest ago. */
#ifndef CONTROLLER_ROUTE_H
#define CONTROLLER_ROUTE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tokens a worker may have to do beyond the idlest and still be preferred for its cache: a prefix
 * saves prefill, which costs a fraction of generating. */
#define ROUTE_LEAD 2048

struct route_candidate {
	int worker;
	bool has_room;    /* it can take the call now */
	bool is_given;    /* it was dealt a call in this round already */
	size_t n_tokens;  /* it has to do, cost.h */
	size_t n_prefix;  /* of the call's prompt it was given before, in any unit */
	size_t n_missing; /* models the call would like beside its own and that it lacks */
	bool is_tripped;  /* its breaker is open, or half open and it is being tried */
	uint64_t last_us; /* when it was last given something */
};

/* Index of the best, whether it has room or not; -1 when n is 0. */
int route_pick(const struct route_candidate *c, size_t n);

/* Index of the one to give the next waiting call now; -1: it waits. A call goes to the best. If
 * that has no room at the moment, one with room gets it, but only one such call in a round:
 * nobody idles beside a waiting call, and a burst does not all go to whoever is free first. */
int route_deal(const struct route_candidate *c, size_t n);
#endif
