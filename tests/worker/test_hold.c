/* test_hold.c - a job whose reader is behind stops, and only it. */
#include "tests/worker/rig.h"
#include <criterion/criterion.h>

TestSuite(hold, .timeout = 600);

#define LONG 60

static void hold_at_third(struct heard *h, const struct job_token *t)
{
	if (t->index == 2 && !engine_hold(h->rig->engine, h->key, true))
		h->broken = true;
}

static struct heard *submit_held(struct rig *r, struct job *j)
{
	return rig_submit_hooked(r, j, &(struct heard) { .on_token = hold_at_third });
}

Test(hold, a_held_job_gives_its_place_to_others_and_continues_with_the_same_bits)
{
	struct rig *r = rig_open(1, RIG_KV, 1);
	rig_start(r);
	struct heard *alone = rig_run(r, rig_long_job(r, 1, LONG));
	struct heard *held = submit_held(r, rig_long_job(r, 1, LONG));
	/* There is one place: these run only because it was left. */
	struct heard *second = rig_run(r, rig_long_job(r, 2, LONG)),
		     *third = rig_run(r, rig_long_job(r, 3, LONG));
	cr_assert_eq(third->choices[0].n, LONG);
	cr_assert_not(held->over);
	cr_assert_eq(held->choices[0].n, 3, "no token came while it was held");
	cr_assert(engine_hold(r->engine, held->key, false));
	rig_wait(held);
	heard_must_equal(&alone->choices[0], &held->choices[0], "held");
	cr_assert_not(engine_hold(r->engine, held->key, true), "it is over");
	rig_stop(r, true);
	rig_must_owe_nothing(r);
	heard_free(alone);
	heard_free(held);
	heard_free(second);
	heard_free(third);
	rig_free(r);
}

Test(hold, every_choice_of_a_held_job_stops)
{
	struct rig *r = rig_new();
	struct job *j = rig_long_job(r, 1, LONG), *same = rig_long_job(r, 1, LONG);
	j->n_choices = same->n_choices = 3;
	struct heard *alone = rig_run(r, same), *held = submit_held(r, j);
	struct heard *other = rig_run(r, rig_long_job(r, 2, LONG));
	cr_assert_not(held->over);
	engine_hold(r->engine, held->key, false);
	rig_wait(held);
	for (int i = 0; i < 3; i++)
		heard_must_equal(&alone->choices[i], &held->choices[i], "held");
	heard_free(alone);
	heard_free(held);
	heard_free(other);
	rig_free(r);
}

Test(hold, a_held_job_can_be_cancelled_and_its_time_runs_out)
{
	struct rig *r = rig_new();
	struct job *late = rig_long_job(r, 2, LONG);
	late->deadline = clock_now() + 0.3;
	struct heard *a = submit_held(r, rig_long_job(r, 1, LONG)), *b = submit_held(r, late);
	rig_wait(b);
	cr_assert_eq(b->choices[0].result.finish, FINISH_TIMEOUT);
	cr_assert(engine_cancel(r->engine, a->key));
	rig_wait(a);
	cr_assert_eq(a->choices[0].result.finish, FINISH_CANCELLED);
	heard_free(a);
	heard_free(b);
	rig_free(r);
}

Test(hold, a_job_wider_than_all_places_comes_back_too)
{
	struct rig *r = rig_open(1, RIG_KV, 2);
	rig_start(r);
	struct job *j = rig_long_job(r, 1, LONG);
	j->n_choices = 4;
	struct heard *held = submit_held(r, j), *other = rig_run(r, rig_long_job(r, 2, LONG));
	engine_hold(r->engine, held->key, false);
	rig_wait(held);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(held->choices[i].n, LONG);
	heard_free(held);
	heard_free(other);
	rig_free(r);
}
