/* lone.h - watching instead of sleeping while a lone call goes back and forth.
 *
 * A call by itself wakes four sleepers in turn: controller, worker, controller, host; a
 * halted processor takes up to 80 µs to run again, a hundred times what the call costs us.
 * So while calls come one at a time and each half of the way (the worker's answer, the
 * host's next call) was short the last time, we watch for its end for LONE_US before we
 * sleep. Two calls or streams under way, or a pause once longer than that: we sleep. */
#ifndef CONTROLLER_LONE_H
#define CONTROLLER_LONE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LONE_US     100
#define LONE_STATES 4 /* no call or one, beside no stream or one */

/* Zeroed to begin with. */
struct lone {
	uint64_t since_us; /* when this state began */
	unsigned state;
	bool was_short[LONE_STATES]; /* the last time in that state */
};

/* Open now: calls not answered yet, and streams that have not ended. */
void lone_note(struct lone *l, size_t n_calls, size_t n_streams, uint64_t now_us);

/* Is what comes next likely to come at once? */
bool lone_expects(const struct lone *l, uint64_t now_us);
#endif
