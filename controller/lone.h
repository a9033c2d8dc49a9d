/* lone.h - watching instead of sleeping while a lone call goes back and forth.
 *
 * A call by itself wakes four sleepers in turn: controller, worker, controller, host; a
 * halted processor takes up to 80 µs to run again, a hundred times what the call costs us.
 * So while calls come one at a time and each half of the way (the worker's answer, the
 * host's next call) was short the last time, we watch for its end for LONE_US before we
 * sleep. Two calls or more under way, streams, or a pause once longer than that: we sleep. */
#ifndef CONTROLLER_LONE_H
#define CONTROLLER_LONE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LONE_US 100

/* Zeroed to begin with. */
struct lone {
	uint64_t since_us; /* when the number of calls became what it is */
	size_t n_calls;
	bool was_short[2]; /* the last time without a call, and with one */
};

/* n_calls: open now, streams among them. */
void lone_note(struct lone *l, size_t n_calls, uint64_t now_us);

/* Is what comes next likely to come at once? */
bool lone_expects(const struct lone *l, uint64_t now_us);
#endif
