/* breaker.c - faults counted. */
#include "controller/breaker.h"
#include <string.h>

enum breaker_state breaker_state(const struct breaker *b, uint64_t now_us)
{
	if (b->open_until_us == 0)
		return BREAKER_CLOSED;
	return now_us < b->open_until_us ? BREAKER_OPEN : BREAKER_HALF_OPEN;
}

static void open_up(struct breaker *b, uint64_t now_us)
{
	uint64_t longer = b->open_us ? 2 * b->open_us : BREAKER_OPEN_US;
	b->open_us = longer < BREAKER_OPEN_MAX_US ? longer : BREAKER_OPEN_MAX_US;
	b->open_until_us = now_us + b->open_us;
}

void breaker_fault(struct breaker *b, uint64_t now_us)
{
	enum breaker_state s = breaker_state(b, now_us);
	uint64_t *oldest = &b->faults[b->n_faults++ % BREAKER_FAULTS];
	*oldest = now_us;
	/* The one that would be overwritten next is the oldest there is. */
	uint64_t first = b->faults[b->n_faults % BREAKER_FAULTS];
	if (s == BREAKER_HALF_OPEN || (s == BREAKER_CLOSED && b->n_faults >= BREAKER_FAULTS &&
					      now_us - first < BREAKER_WINDOW_US))
		open_up(b, now_us);
}

void breaker_answered(struct breaker *b, uint64_t now_us)
{
	if (breaker_state(b, now_us) == BREAKER_HALF_OPEN)
		memset(b, 0, sizeof *b);
}

const char *breaker_name(enum breaker_state s)
{
	static const char *const names[BREAKER_N_STATES] = { "closed", "half_open", "open" };
	return names[s];
}
