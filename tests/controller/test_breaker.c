/* test_breaker.c - what opens it, for how long, and what does not. */
#include "controller/breaker.h"
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000)

TestSuite(breaker, .timeout = 10);

static struct breaker opened_at(uint64_t now)
{
	struct breaker b = { .n_faults = 0 };
	for (int i = 0; i < BREAKER_FAULTS; i++) {
		cr_assert_eq(breaker_state(&b, now), BREAKER_CLOSED);
		breaker_fault(&b, now);
	}
	cr_assert_eq(breaker_state(&b, now), BREAKER_OPEN);
	return b;
}

Test(breaker, three_faults_in_a_minute_open_it_and_an_answer_afterwards_closes_it)
{
	struct breaker b = opened_at(SECOND);
	breaker_answered(&b, SECOND);
	cr_assert_eq(breaker_state(&b, SECOND), BREAKER_OPEN, "an answer from before");
	uint64_t later = SECOND + BREAKER_OPEN_US;
	cr_assert_eq(breaker_state(&b, later), BREAKER_HALF_OPEN);
	breaker_answered(&b, later);
	cr_assert_eq(breaker_state(&b, later), BREAKER_CLOSED);
	breaker_fault(&b, later);
	cr_assert_eq(breaker_state(&b, later), BREAKER_CLOSED, "it counts anew");
}

Test(breaker, a_fault_half_open_opens_it_for_twice_as_long_up_to_a_bound)
{
	struct breaker b = opened_at(SECOND);
	uint64_t now = SECOND, longest = BREAKER_OPEN_US;
	for (int i = 0; i < 10; i++) {
		now = b.open_until_us;
		breaker_fault(&b, now);
		longest = 2 * longest < BREAKER_OPEN_MAX_US ? 2 * longest : BREAKER_OPEN_MAX_US;
		cr_assert_eq(b.open_until_us, now + longest);
	}
}

Test(breaker, faults_that_are_far_apart_do_not_count_together)
{
	struct breaker b = { .n_faults = 0 };
	for (uint64_t i = 1; i < 100; i++) {
		breaker_fault(&b, i * BREAKER_WINDOW_US / (BREAKER_FAULTS - 1));
		cr_assert_eq(breaker_state(&b, i * BREAKER_WINDOW_US), BREAKER_CLOSED);
	}
}

RIG_SUITE(tripped);

Test(tripped, users_mistakes_leave_it_closed_and_crashes_send_calls_to_others)
{
	rig_open(&r, ARGS("--workers=2", "--restarts=9"));
	rig_load(&r);
	for (int i = 0; i < 20; i++)
		rig_send(&r, CALL("1", "tokenize", "{\"model_id\":\"m\",\"text\":7}"));
	rig_await_n(&r, "\"id\":1,", 20);
	for (int i = 0; i < BREAKER_FAULTS; i++) {
		cr_assert_eq(r.c->fleet.workers[0].breaker.open_until_us, 0);
		kill(r.c->fleet.workers[0].pid, SIGKILL);
		while (r.c->fleet.workers[0].breaker.n_faults <= (unsigned)i)
			event_base_loop(r.base, EVLOOP_ONCE);
		rig_until(&r, rig_all_ready);
	}
	cr_assert_gt(r.c->fleet.workers[0].breaker.open_until_us, 0);
	r.c->fleet.workers[0].breaker.open_until_us = UINT64_MAX; /* however slow this machine */
	rig_send(&r, CALL("2", "runtime/state", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"breaker\":\"open\"");
	for (int i = 0; i < 10; i++) {
		rig_send(&r, TOKENIZE("3", "a"));
		rig_await_n(&r, "\"id\":3,", (size_t)i + 1);
	}
	char part[48];
	snprintf(part, sizeof part, "\"count\": 1, \"pid\": %d", (int)r.c->fleet.workers[1].pid);
	cr_assert_eq(rig_count(&r, part), 10, "all by the other");
	r.c->fleet.workers[0].breaker.open_until_us = 1; /* long ago */
	rig_send(&r, TOKENIZE("4", "a"));
	rig_await(&r, "\"id\":4,");
	cr_assert_eq(rig_count(&r, part), 10, "it is tried, having waited longest");
	rig_send(&r, CALL("5", "runtime/state", "{}"));
	cr_assert_null(strstr(rig_await(&r, "\"id\":5,"), "open"));
}
