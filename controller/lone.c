/* lone.c - watching instead of sleeping while a lone call goes back and forth. */
#include "controller/lone.h"

void lone_note(struct lone *l, size_t n_calls, uint64_t now_us)
{
	if (n_calls == l->n_calls)
		return;
	if (l->n_calls < 2)
		l->was_short[l->n_calls] = now_us - l->since_us <= LONE_US;
	l->n_calls = n_calls;
	l->since_us = now_us;
}

bool lone_expects(const struct lone *l, uint64_t now_us)
{
	return l->n_calls < 2 && l->was_short[l->n_calls] && now_us - l->since_us <= LONE_US;
}
