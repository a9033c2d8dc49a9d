/* give_way.c - yielding between chunks, less often where it costs. */
#include "kernels/give_way.h"
#include "kernels/now.h"
#include <sched.h>

/* Whoever only passes a message on is done sooner. */
#define LATE_NS 1000000
/* One late return in three or more makes the intervals grow. */
#define GROWTH 4

int64_t give_way_interval(int64_t every_ns, int64_t away_ns)
{
	const int64_t next = away_ns > LATE_NS ? every_ns * GROWTH : every_ns / 2;

	if (next < GIVE_WAY_LEAST_NS)
		return GIVE_WAY_LEAST_NS;
	return next < GIVE_WAY_MOST_NS ? next : GIVE_WAY_MOST_NS;
}

void give_way(struct give_way *g)
{
	const int64_t left = now_ns();

	if (left < g->due_ns)
		return;
	sched_yield();
	const int64_t back = now_ns();
	g->every_ns = give_way_interval(g->every_ns, back - left);
	g->due_ns = back + g->every_ns;
}
