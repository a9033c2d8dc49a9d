/* heap.h - what a worker's heap keeps, and what it gives back.
 *
 * What a large request took goes back to the system when it is over. What all small ones together
 * need at their worst moment is the worker's from the start, and stays so: a busy moment, however
 * late it comes, does not make it grow. */
#ifndef WORKER_HEAP_H
#define WORKER_HEAP_H
#include <stddef.h>

/* Zeroed at first. Owned by the I/O thread; times are clock_now()'s. */
struct heap {
	double due, wait; /* when to look for holes, 0 = never; seconds from one look to the next */
};

/* Before there are threads. */
void heap_settle(void);
/* A message of so many bytes came. */
void heap_took(struct heap *h, size_t n_bytes, double now);
/* Give back what large messages left, a while after the last one and then ever more rarely until
 * none of n_calls is left; seconds to the next look, -1 = none. */
double heap_tick(struct heap *h, size_t n_calls, double now);
#endif
