/* test_supervise.c - the table answers every combination, and gives up in time. */
#include "controller/supervise.h"
#include <criterion/criterion.h>

#define SECOND UINT64_C(1000000)

static struct supervise s;

static void start(void)
{
	sup_init(&s, SUP_RESTARTS);
}
TestSuite(supervise, .init = start);

static void bring_up(uint64_t now)
{
	cr_assert_eq(sup_happened(&s, SUP_HELLO, now, 0), SUP_RELOAD);
	cr_assert_eq(sup_happened(&s, SUP_MODELS_BACK, now, 0), SUP_SERVE);
	cr_assert_eq(s.state, SUP_READY);
}

Test(supervise, a_worker_serves_once_it_answered_and_has_its_models)
{
	cr_assert(!sup_is_alive(SUP_BACKOFF) && sup_is_alive(SUP_STARTING));
	bring_up(0);
	cr_assert_eq(s.restarts, 0);
}

Test(supervise, a_crash_in_service_is_started_again_after_a_delay)
{
	bring_up(0);
	cr_assert_eq(sup_happened(&s, SUP_DIED, SECOND, 0), SUP_WAIT);
	cr_assert_eq(s.state, SUP_BACKOFF);
	cr_assert(s.delay_ms >= 75 && s.delay_ms <= 125, "%u", s.delay_ms);
	cr_assert_eq(sup_happened(&s, SUP_DELAY_OVER, 2 * SECOND, 0), SUP_SPAWN);
	cr_assert_eq(s.restarts, 1);
	bring_up(2 * SECOND);
}

Test(supervise, the_fourth_crash_within_the_window_is_the_last)
{
	for (uint64_t i = 0; i < SUP_RESTARTS; i++) {
		bring_up(i * SECOND);
		cr_assert_eq(sup_happened(&s, SUP_DIED, i * SECOND, 7), SUP_WAIT);
		cr_assert_eq(sup_happened(&s, SUP_DELAY_OVER, i * SECOND, 7), SUP_SPAWN);
	}
	bring_up(10 * SECOND);
	cr_assert_eq(sup_happened(&s, SUP_DIED, 10 * SECOND, 7), SUP_GIVE_UP);
	cr_assert_eq(s.state, SUP_FAILED);
}

Test(supervise, crashes_spread_over_more_than_the_window_are_forgiven_for_ever)
{
	for (uint64_t i = 0; i < 50; i++) {
		uint64_t now = i * (SUP_WINDOW_US / SUP_RESTARTS + SECOND);
		bring_up(now);
		cr_assert_eq(sup_happened(&s, SUP_DIED, now, 0), SUP_WAIT, "crash %d", (int)i);
		cr_assert_eq(sup_happened(&s, SUP_DELAY_OVER, now, 0), SUP_SPAWN);
	}
}

Test(supervise, a_start_that_cannot_work_is_not_tried_again)
{
	cr_assert_eq(sup_happened(&s, SUP_UNFIT, 0, 0), SUP_GIVE_UP);
	cr_assert_eq(s.state, SUP_FAILED);
	cr_assert(!sup_may_serve(s.state));
	cr_assert(sup_is_unfit_code(64) && sup_is_unfit_code(78));
	cr_assert(!sup_is_unfit_code(63) && !sup_is_unfit_code(79) && !sup_is_unfit_code(1));
}

Test(supervise, dying_before_ready_is_tried_again_but_not_for_ever)
{
	unsigned spawned = 0;
	while (sup_happened(&s, SUP_DIED, 0, 0) == SUP_WAIT) {
		cr_assert_eq(sup_happened(&s, SUP_DELAY_OVER, 0, 0), SUP_SPAWN);
		cr_assert_leq(++spawned, SUP_RESTARTS);
	}
	cr_assert_eq(spawned, SUP_RESTARTS);
}

Test(supervise, delays_grow_and_differ_from_worker_to_worker)
{
	unsigned last = 0;
	for (int i = 0; i < SUP_RESTARTS; i++) {
		sup_happened(&s, SUP_DIED, 0, 0);
		cr_assert_gt(s.delay_ms, last);
		last = s.delay_ms;
		sup_happened(&s, SUP_DELAY_OVER, 0, 0);
	}
	struct supervise other;
	sup_init(&other, SUP_RESTARTS);
	sup_happened(&other, SUP_DIED, 0, 49);
	sup_init(&s, SUP_RESTARTS);
	sup_happened(&s, SUP_DIED, 0, 1);
	cr_assert_neq(s.delay_ms, other.delay_ms);
}

Test(supervise, one_that_stops_answering_is_killed_takes_nothing_more_and_comes_back)
{
	bring_up(0);
	cr_assert_eq(sup_happened(&s, SUP_SILENT, 0, 0), SUP_KILL);
	cr_assert_str_eq(sup_state_name(s.state), "stopped_answering");
	cr_assert_eq(sup_happened(&s, SUP_SILENT, 0, 0), SUP_NOTHING, "killed once");
	cr_assert(sup_may_serve(s.state));
	cr_assert_eq(sup_happened(&s, SUP_DIED, 0, 0), SUP_WAIT);
	cr_assert_eq(sup_happened(&s, SUP_DELAY_OVER, 0, 0), SUP_SPAWN);
}

Test(supervise, one_that_is_drained_finishes_what_it_has_and_then_rests)
{
	bring_up(0);
	sup_happened(&s, SUP_WORK, 0, 0);
	cr_assert_eq(s.state, SUP_BUSY);
	cr_assert(sup_serves(s.state));
	cr_assert_eq(sup_happened(&s, SUP_DRAIN, 0, 0), SUP_NOTHING);
	cr_assert_str_eq(sup_state_name(s.state), "draining");
	cr_assert(!sup_may_serve(s.state) && sup_answers(s.state));
	cr_assert_eq(sup_happened(&s, SUP_IDLE, 0, 0), SUP_REST);
	cr_assert_str_eq(sup_state_name(s.state), "drained");
	cr_assert_eq(sup_happened(&s, SUP_RESUME, 0, 0), SUP_SERVE);
	cr_assert_eq(s.state, SUP_READY);
	cr_assert_eq(sup_happened(&s, SUP_DRAIN, 0, 0), SUP_REST, "it had nothing");
}

Test(supervise, one_that_was_to_take_nothing_more_is_not_started_again)
{
	for (int busy = 0; busy < 2; busy++) {
		start();
		bring_up(0);
		sup_happened(&s, busy ? SUP_WORK : SUP_IDLE, 0, 0);
		sup_happened(&s, SUP_DRAIN, 0, 0);
		cr_assert_eq(sup_happened(&s, SUP_SILENT, 0, 0), SUP_KILL);
		cr_assert_eq(sup_happened(&s, SUP_DIED, 0, 0), SUP_BURY);
	}
}

Test(supervise, stop_drains_and_a_second_stop_kills)
{
	bring_up(0);
	cr_assert_eq(sup_happened(&s, SUP_STOP, 0, 0), SUP_CLOSE);
	cr_assert_eq(sup_happened(&s, SUP_STOP, 0, 0), SUP_KILL);
	cr_assert_eq(sup_happened(&s, SUP_DIED, 0, 0), SUP_BURY);
	cr_assert_eq(s.state, SUP_STOPPED);
}

Test(supervise, one_that_does_not_end_in_time_is_killed)
{
	bring_up(0);
	cr_assert_eq(sup_happened(&s, SUP_STOP, 0, 0), SUP_CLOSE);
	cr_assert_eq(sup_happened(&s, SUP_SILENT, 0, 0), SUP_KILL);
	cr_assert_eq(sup_happened(&s, SUP_DIED, 0, 0), SUP_BURY);
}

/* Every cell of the table that moves or does something; in all others nothing happens. */
static const struct move {
	enum sup_state in;
	enum sup_event event;
	enum sup_state next;
	enum sup_action action;
} MOVES[] = {
	{ SUP_STARTING, SUP_HELLO, SUP_LOADING, SUP_RELOAD },
	{ SUP_STARTING, SUP_UNFIT, SUP_FAILED, SUP_GIVE_UP },
	{ SUP_STARTING, SUP_DIED, SUP_BACKOFF, SUP_WAIT },
	{ SUP_STARTING, SUP_SILENT, SUP_STARTING, SUP_KILL },
	{ SUP_STARTING, SUP_STOP, SUP_ENDING, SUP_CLOSE },
	{ SUP_LOADING, SUP_MODELS_BACK, SUP_READY, SUP_SERVE },
	{ SUP_LOADING, SUP_UNFIT, SUP_FAILED, SUP_GIVE_UP },
	{ SUP_LOADING, SUP_DIED, SUP_BACKOFF, SUP_WAIT },
	{ SUP_LOADING, SUP_SILENT, SUP_LOADING, SUP_KILL },
	{ SUP_LOADING, SUP_STOP, SUP_ENDING, SUP_CLOSE },
	{ SUP_READY, SUP_UNFIT, SUP_BACKOFF, SUP_WAIT },
	{ SUP_READY, SUP_DIED, SUP_BACKOFF, SUP_WAIT },
	{ SUP_READY, SUP_SILENT, SUP_SILENCED, SUP_KILL },
	{ SUP_READY, SUP_WORK, SUP_BUSY, SUP_NOTHING },
	{ SUP_READY, SUP_DRAIN, SUP_PARKED, SUP_REST },
	{ SUP_READY, SUP_STOP, SUP_ENDING, SUP_CLOSE },
	{ SUP_BUSY, SUP_UNFIT, SUP_BACKOFF, SUP_WAIT },
	{ SUP_BUSY, SUP_DIED, SUP_BACKOFF, SUP_WAIT },
	{ SUP_BUSY, SUP_SILENT, SUP_SILENCED, SUP_KILL },
	{ SUP_BUSY, SUP_IDLE, SUP_READY, SUP_NOTHING },
	{ SUP_BUSY, SUP_DRAIN, SUP_RETIRING, SUP_NOTHING },
	{ SUP_BUSY, SUP_STOP, SUP_ENDING, SUP_CLOSE },
	{ SUP_RETIRING, SUP_UNFIT, SUP_STOPPED, SUP_BURY },
	{ SUP_RETIRING, SUP_DIED, SUP_STOPPED, SUP_BURY },
	{ SUP_RETIRING, SUP_SILENT, SUP_KILLED, SUP_KILL },
	{ SUP_RETIRING, SUP_IDLE, SUP_PARKED, SUP_REST },
	{ SUP_RETIRING, SUP_RESUME, SUP_BUSY, SUP_SERVE },
	{ SUP_RETIRING, SUP_STOP, SUP_ENDING, SUP_CLOSE },
	{ SUP_PARKED, SUP_UNFIT, SUP_STOPPED, SUP_BURY },
	{ SUP_PARKED, SUP_DIED, SUP_STOPPED, SUP_BURY },
	{ SUP_PARKED, SUP_SILENT, SUP_KILLED, SUP_KILL },
	{ SUP_PARKED, SUP_RESUME, SUP_READY, SUP_SERVE },
	{ SUP_PARKED, SUP_STOP, SUP_ENDING, SUP_CLOSE },
	{ SUP_SILENCED, SUP_UNFIT, SUP_BACKOFF, SUP_WAIT },
	{ SUP_SILENCED, SUP_DIED, SUP_BACKOFF, SUP_WAIT },
	{ SUP_SILENCED, SUP_STOP, SUP_KILLED, SUP_KILL },
	{ SUP_ENDING, SUP_UNFIT, SUP_STOPPED, SUP_BURY },
	{ SUP_ENDING, SUP_DIED, SUP_STOPPED, SUP_BURY },
	{ SUP_ENDING, SUP_SILENT, SUP_KILLED, SUP_KILL },
	{ SUP_ENDING, SUP_STOP, SUP_KILLED, SUP_KILL },
	{ SUP_KILLED, SUP_UNFIT, SUP_STOPPED, SUP_BURY },
	{ SUP_KILLED, SUP_DIED, SUP_STOPPED, SUP_BURY },
	{ SUP_BACKOFF, SUP_UNFIT, SUP_FAILED, SUP_GIVE_UP },
	{ SUP_BACKOFF, SUP_DELAY_OVER, SUP_STARTING, SUP_SPAWN },
	{ SUP_BACKOFF, SUP_STOP, SUP_STOPPED, SUP_BURY },
	{ SUP_FAILED, SUP_STOP, SUP_STOPPED, SUP_BURY },
};

static struct move expected(enum sup_state in, enum sup_event event)
{
	for (size_t i = 0; i < sizeof MOVES / sizeof *MOVES; i++)
		if (MOVES[i].in == in && MOVES[i].event == event)
			return MOVES[i];
	return (struct move) { in, event, in, SUP_NOTHING };
}

/* Where a worker may be tried again, without a restart left it is given up. */
static void assert_cell(enum sup_state in, enum sup_event event, unsigned restarts)
{
	struct move m = expected(in, event);
	sup_init(&s, restarts);
	s.state = in;
	if (m.action == SUP_WAIT && restarts == 0) {
		m.next = SUP_FAILED;
		m.action = SUP_GIVE_UP;
	}
	cr_assert_eq(sup_happened(&s, event, SECOND, 0), m.action, "%s x %d, %u restarts",
		sup_state_name(in), (int)event, restarts);
	cr_assert_eq(s.state, m.next, "%s x %d, %u restarts: %s", sup_state_name(in), (int)event,
		restarts, sup_state_name(s.state));
	cr_assert_eq(s.restarts, m.action == SUP_SPAWN);
}

Test(supervise, every_cell_of_the_table_does_what_it_shall)
{
	for (int state = 0; state < SUP_N_STATES; state++)
		for (int event = 0; event < SUP_N_EVENTS; event++) {
			assert_cell((enum sup_state)state, (enum sup_event)event, SUP_RESTARTS);
			assert_cell((enum sup_state)state, (enum sup_event)event, 0);
		}
}

Test(supervise, no_combination_is_forgotten_and_none_leaves_the_table)
{
	for (int state = 0; state < SUP_N_STATES; state++) {
		cr_assert_not_null(sup_state_name((enum sup_state)state));
		for (int event = 0; event < SUP_N_EVENTS; event++) {
			sup_init(&s, SUP_RESTARTS);
			s.state = (enum sup_state)state;
			enum sup_action a = sup_happened(&s, (enum sup_event)event, 0, 0);
			cr_assert(a < SUP_N_ACTIONS && s.state < SUP_N_STATES);
			/* A process that exists is never forgotten: it is waited for or dead. */
			bool ends = event == SUP_DIED || event == SUP_UNFIT;
			if (sup_is_alive((enum sup_state)state) && !ends)
				cr_assert(sup_is_alive(s.state), "%d x %d", state, event);
			if (a == SUP_SPAWN)
				cr_assert(!sup_is_alive((enum sup_state)state));
		}
	}
}
