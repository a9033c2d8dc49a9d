#include "protocol/cpus.h"
#include <criterion/criterion.h>

Test(cpus, a_narrower_affinity_is_what_counts)
{
	cpu_set_t one;
	cpus_slice(0, 1, &one);
	cr_assert_eq(CPU_COUNT(&one), 1);
	cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
	cr_assert_eq(cpus_allowed(), 1);
}

Test(cpus, slices_lie_side_by_side_and_go_around_the_end)
{
	const int n = cpus_allowed();
	cpu_set_t all, one, same;
	CPU_ZERO(&all);
	for (int i = 0; i < n; i++) {
		cpus_slice(i, 1, &one);
		cr_assert_eq(CPU_COUNT(&one), 1);
		CPU_OR(&all, &all, &one);
		cpus_slice(i + 3 * n, 1, &same);
		cr_assert(CPU_EQUAL(&one, &same));
	}
	cr_assert_eq(CPU_COUNT(&all), n);
	cpus_slice(1, n + 5, &one);
	cr_assert(CPU_EQUAL(&one, &all));
}
