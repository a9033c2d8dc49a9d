/* cpus.h - the processors that this process may use: its affinity, which a container or
 * taskset narrows, not what the machine has. */
#ifndef PROTOCOL_CPUS_H
#define PROTOCOL_CPUS_H
#include <sched.h>

/* At least 1. */
int cpus_allowed(void);

/* `n` of them, the first being number `first`, around the end where there are no more; all
 * of them when n is not smaller than their number. */
void cpus_slice(int first, int n, cpu_set_t *out);
#endif
