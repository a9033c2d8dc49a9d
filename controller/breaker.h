/* breaker.h - whether a worker has failed so often that others should be asked first. Pure policy.
 *
 * Only faults of the process count: it crashed, stopped answering or broke the protocol. What a
 * user did wrong, a full queue or a cancelled call never does. After BREAKER_FAULTS in the window
 * it is open for a time, which doubles; then half open, until one answer closes it or one fault
 * opens it again. It only steers routing: a worker that is the only one serves all the same. */
#ifndef CONTROLLER_BREAKER_H
#define CONTROLLER_BREAKER_H
#include <stdint.h>

#define BREAKER_FAULTS      3
#define BREAKER_WINDOW_US   (60 * UINT64_C(1000000))
#define BREAKER_OPEN_US     UINT64_C(1000000)
#define BREAKER_OPEN_MAX_US (30 * UINT64_C(1000000))

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_N_STATES };

/* All zero: closed, nothing happened yet. */
struct breaker {
	uint64_t faults[BREAKER_FAULTS]; /* times of the latest, a ring */
	unsigned n_faults;
	uint64_t open_until_us; /* 0 = closed */
	uint64_t open_us;       /* how long it was opened the last time */
};

void breaker_fault(struct breaker *b, uint64_t now_us);
void breaker_answered(struct breaker *b, uint64_t now_us);
enum breaker_state breaker_state(const struct breaker *b, uint64_t now_us);
const char *breaker_name(enum breaker_state s);
#endif
