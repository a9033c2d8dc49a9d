/* cpus.c - the processors of this process. */
#include "protocol/cpus.h"
#include <unistd.h>

/* Machines with more processors than a cpu_set_t holds refuse to fill one: then all that
 * are online, as many as fit, stand for them. */
static void all_allowed(cpu_set_t *out)
{
	if (sched_getaffinity(0, sizeof *out, out) == 0 && CPU_COUNT(out) > 0)
		return;
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	CPU_ZERO(out);
	for (long i = 0; i < CPU_SETSIZE && (i == 0 || i < online); i++)
		CPU_SET((size_t)i, out);
}

int cpus_allowed(void)
{
	cpu_set_t all;
	all_allowed(&all);
	return CPU_COUNT(&all);
}

void cpus_slice(int first, int n, cpu_set_t *out)
{
	cpu_set_t all;
	all_allowed(&all);
	int count = CPU_COUNT(&all), seen = 0;
	CPU_ZERO(out);
	for (size_t i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		if ((seen - first % count + count) % count < n)
			CPU_SET(i, out);
		seen++;
	}
}
