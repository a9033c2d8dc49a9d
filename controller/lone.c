/* lone.c - watching instead of sleeping while a lone call goes back and forth. */
#include "controller/lone.h"

static unsigned state_of(size_t n_calls, size_t n_streams)
{
	return n_calls < 2 && n_streams < 2 ? (unsigned)(n_calls + 2 * n_streams) : LONE_STATES;
}

void lone_note(struct lone *l, size_t n_calls, size_t n_streams, uint64_t now_us)
{
	const unsigned state = state_of(n_calls, n_streams);
	if (state == l->state)
		return;
	if (l->state < LONE_STATES)
		l->was_short[l->state] = now_us - l->since_us <= LONE_US;
	l->state = state;
	l->since_us = now_us;
}

bool lone_expects(const struct lone *l, uint64_t now_us)
{
	return l->state < LONE_STATES && l->was_short[l->state] && now_us - l->since_us <= LONE_US;
}
