/* batch.h - when waiting calls may leave, and how many together.
 *
 * Pure policy of zero-hold batching: a worker with no frame of this method and model in
 * flight gets what waits at once, be it one call; while one is in flight, compatible calls
 * gather and leave together when it returns, or once they fill a frame: so a worker finds the next
 * one there when it has done the last. Nothing ever waits for a timer: the age cap is looked at
 * only when something arrives or returns. */
#ifndef CONTROLLER_BATCH_H
#define CONTROLLER_BATCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_CALLS 64
/* Of params. An answer may be twenty times its text (an id and a piece for each byte), and
 * what fits a frame alone must not fail because it travelled in company. */
#define BATCH_BYTES  ((size_t)256 << 10)
#define BATCH_AGE_US UINT64_C(250000) /* then a second frame may join the one in flight */
#define BATCH_FRAMES 4                /* frames of a bucket one worker may ever hold */
#define BATCH_SOLO   32               /* the same for methods that are never gathered */

/* One bucket (method and model) as one worker sees it. */
struct batch_view {
	bool is_suspect;    /* calls lost with a worker: one at a time, so that only the guilty one
			       of them is there when the next worker dies */
	bool gathers;       /* the method has a batch form */
	size_t n_waiting;   /* calls */
	size_t n_in_flight; /* frames of this bucket at this worker */
	uint64_t oldest_wait_us; /* of the calls waiting */
	size_t room;             /* calls the worker may still take (streams) */
};

struct batch_caps {
	size_t n_calls;
	size_t n_bytes; /* the first call goes whatever its size */
};

/* What may leave now; n_calls 0 = nothing. */
struct batch_caps batch_allow(const struct batch_view *v);
#endif
