/* give_way.h - letting others have the processor in the middle of long work.
 *
 * A thread that computes for seconds keeps its processor until the kernel's next tick, 1 to
 * 10 ms, however little another wants of it: under EEVDF (Linux 6.6 and later) not everyone
 * who wakes may take it at once. A request that passes host, controller and worker wakes
 * somebody four times. So the threads of a pool look up between chunks and yield.
 *
 * Yielding is not free where somebody computes beside us for good: since Linux 6.18 it gives
 * the rest of a time slice away. Hence who comes back late asks more and more rarely, up to
 * once a second, and who comes back at once asks more often again. */
#ifndef KERNELS_GIVE_WAY_H
#define KERNELS_GIVE_WAY_H
#include <stdint.h>

#define GIVE_WAY_LEAST_NS 250000
#define GIVE_WAY_MOST_NS  1000000000

/* One thread's; zeroed to begin with. */
struct give_way {
	int64_t due_ns, every_ns; /* CLOCK_MONOTONIC; 0 = GIVE_WAY_LEAST_NS */
};

/* Yield if it is time to. Costs a look at the clock where it is not. */
void give_way(struct give_way *g);

/* How long to wait for the next time, after one that kept us away for so long. */
int64_t give_way_interval(int64_t every_ns, int64_t away_ns);
#endif
