#include "worker/residency.h"
#include <criterion/criterion.h>

TestSuite(residency, .timeout = 10);

Test(residency, without_a_budget_nobody_leaves)
{
	struct resident r[] = { { .n_bytes = UINT64_MAX }, { .n_bytes = UINT64_MAX } };
	cr_assert_eq(residency_plan(r, 2, UINT64_MAX, 0), RESIDENCY_FITS);
	cr_assert(!r[0].leaves && !r[1].leaves);
}

Test(residency, the_least_recently_used_leave_and_no_more_than_must)
{
	struct resident r[] = { { .n_bytes = 40, .last_used = 3 },
		{ .n_bytes = 10, .last_used = 1 }, { .n_bytes = 30, .last_used = 2 } };
	cr_assert_eq(residency_plan(r, 3, 20, 100), RESIDENCY_FITS);
	cr_assert(!r[0].leaves && !r[1].leaves && !r[2].leaves, "there is room");
	cr_assert_eq(residency_plan(r, 3, 30, 100), RESIDENCY_FITS);
	cr_assert(!r[0].leaves && r[1].leaves && !r[2].leaves);
	cr_assert_eq(residency_plan(r, 3, 31, 100), RESIDENCY_FITS);
	cr_assert(!r[0].leaves && r[1].leaves && r[2].leaves);
	cr_assert_eq(residency_plan(r, 3, 100, 100), RESIDENCY_FITS);
	cr_assert(r[0].leaves && r[1].leaves && r[2].leaves);
}

Test(residency, who_is_in_use_is_waited_for_and_nobody_leaves_in_vain)
{
	struct resident r[] = { { .n_bytes = 60, .last_used = 1, .in_use = true },
		{ .n_bytes = 30, .last_used = 2 } };
	cr_assert_eq(residency_plan(r, 2, 40, 100), RESIDENCY_FITS);
	cr_assert(!r[0].leaves && r[1].leaves, "the other one will do");
	cr_assert_eq(residency_plan(r, 2, 41, 100), RESIDENCY_LATER);
	cr_assert(!r[0].leaves && !r[1].leaves);
}

Test(residency, what_stays_is_never_waited_for)
{
	struct resident r[] = { { .n_bytes = 60, .stays = true }, { .n_bytes = 20, .in_use = true },
		{ .n_bytes = 20 } };
	cr_assert_eq(residency_plan(r, 3, 41, 100), RESIDENCY_NEVER);
	cr_assert_eq(residency_plan(r, 3, 40, 100), RESIDENCY_LATER);
	cr_assert_eq(residency_plan(r, 3, 20, 100), RESIDENCY_FITS);
	cr_assert(r[2].leaves);
	cr_assert_eq(residency_plan(r, 0, 101, 100), RESIDENCY_NEVER, "larger than all there is");
}

Test(residency, sums_that_overflow_are_too_much)
{
	struct resident r[] = { { .n_bytes = UINT64_MAX, .stays = true } };
	cr_assert_eq(residency_plan(r, 1, 1, UINT64_MAX - 1), RESIDENCY_NEVER);
	cr_assert_eq(residency_plan(r, 0, UINT64_MAX, 5), RESIDENCY_NEVER);
}
