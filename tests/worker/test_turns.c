/* test_turns.c - clients take turns by tokens. */
#include "tests/worker/rig.h"
#include "worker/engine/lane.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(turns, .timeout = 600);

#define N_MANY 100

static struct turn *turns;
static struct turn_seat seats[N_MANY + 2];

/* n steps in which everyone who may has a token; tokens of each turn add up in it. */
static void run(size_t n_seats, uint64_t from, uint64_t n_steps)
{
	for (uint64_t step = from; step < from + n_steps; step++) {
		size_t n_may = 0;
		turns_plan(seats, n_seats, step);
		for (size_t i = 0; i < n_seats; i++) {
			n_may += seats[i].may && seats[i].decodes;
			if (seats[i].may && seats[i].decodes && seats[i].turn)
				seats[i].turn->n_tokens++;
		}
		cr_assert_gt(n_may, 0, "nobody in step %zu", (size_t)step);
	}
}

static void seat(size_t i, const char *client, enum job_priority priority)
{
	seats[i] = (struct turn_seat) { .turn = turns_join(&turns, priority, client),
		.decodes = true };
}

Test(turns, one_text_keeps_pace_with_a_hundred)
{
	seat(0, "one", PRIORITY_DEFAULT);
	for (size_t i = 1; i <= N_MANY; i++)
		seat(i, "many", PRIORITY_DEFAULT);
	run(N_MANY + 1, 1, 1000);
	const uint64_t one = seats[0].turn->n_tokens, many = seats[1].turn->n_tokens;
	cr_assert(many >= one && many - one <= N_MANY, "%zu and %zu", (size_t)one, (size_t)many);
	cr_assert_geq(one, 950, "and is hardly ever held up itself");
}

Test(turns, a_client_alone_is_never_held_up)
{
	for (size_t i = 0; i < 10; i++)
		seat(i, "a", PRIORITY_DEFAULT);
	run(10, 1, 50);
	cr_assert_eq(seats[0].turn->n_tokens, 500);
}

Test(turns, classes_do_not_wait_for_each_other)
{
	seat(0, "a", PRIORITY_BACKGROUND);
	seat(1, "b", PRIORITY_URGENT);
	seat(2, "b", PRIORITY_URGENT);
	run(3, 1, 100);
	cr_assert_eq(seats[0].turn->n_tokens, 100);
	cr_assert_eq(seats[1].turn->n_tokens, 200);
}

Test(turns, who_comes_late_or_comes_back_has_saved_up_nothing)
{
	seat(0, "early", PRIORITY_DEFAULT);
	seat(1, "late", PRIORITY_DEFAULT);
	seats[1].decodes = false;
	run(2, 1, 500);
	seats[1].decodes = true;
	run(2, 501, 100);
	cr_assert_eq(seats[0].turn->n_tokens, 600);
	cr_assert_eq(seats[1].turn->n_tokens, 600);
	seats[0].decodes = false;
	run(2, 601, 100);
	seats[0].decodes = true;
	run(2, 701, 10);
	cr_assert_eq(seats[0].turn->n_tokens, 710);
}

Test(turns, what_reads_its_prompt_or_takes_no_part_is_not_held_up_and_holds_up_nobody)
{
	seat(0, "a", PRIORITY_DEFAULT);
	seat(1, "b", PRIORITY_DEFAULT);
	seats[1].decodes = false;
	seats[2] = (struct turn_seat) { .decodes = true };
	run(3, 1, 100);
	cr_assert_eq(seats[0].turn->n_tokens, 100);
	cr_assert(seats[1].may && seats[2].may);
}

Test(turns, a_client_is_forgotten_with_its_last_text)
{
	struct turn *a = turns_join(&turns, PRIORITY_DEFAULT, "a");
	cr_assert_eq(turns_join(&turns, PRIORITY_DEFAULT, "a"), a);
	cr_assert_neq(turns_join(&turns, PRIORITY_URGENT, "a"), a);
	cr_assert_eq(turns_join(&turns, PRIORITY_DEFAULT, NULL),
		turns_join(&turns, PRIORITY_DEFAULT, ""));
	turns_leave(&turns, a);
	cr_assert_eq(HASH_COUNT(turns), 3);
	turns_leave(&turns, a);
	cr_assert_eq(HASH_COUNT(turns), 2);
	turns_leave(&turns, NULL);
}

/* -- in the engine -------------------------------------------------------------------------- */

static struct job *job_of(struct rig *r, const char *client, size_t n_tokens, uint64_t salt)
{
	int32_t prompt[8];
	rig_prompt(prompt, 8, salt);
	struct job *j = rig_job(r, prompt, 8);
	j->max_tokens = n_tokens;
	j->ignore_eos = true;
	j->client = strdup(client);
	return j;
}

#define N_RIVALS 12
static struct heard *many[N_RIVALS];
static size_t n_meanwhile;

/* On the compute thread, with the last token: what the others have had by then. */
static void count_the_others(struct heard *h, const struct job_token *t)
{
	(void)h;
	if (t->index != 99)
		return;
	for (size_t i = 0; i < N_RIVALS; i++)
		n_meanwhile += many[i]->choices[0].n;
}

Test(turns, one_text_of_one_client_has_as_many_tokens_as_twelve_of_another)
{
	struct rig *r = rig_open(1, RIG_KV, 16);
	struct heard *one;
	for (size_t i = 0; i < N_RIVALS; i++)
		many[i] = rig_submit(r, job_of(r, "many", 200, i));
	one = rig_submit_hooked(
		r, job_of(r, "one", 100, 50), &(struct heard) { .on_token = count_the_others });
	rig_start(r);
	rig_wait(one);
	cr_assert(n_meanwhile + N_RIVALS >= 100 && n_meanwhile <= 100 + N_RIVALS, "%zu against 100",
		n_meanwhile);
	for (size_t i = 0; i < N_RIVALS; i++) {
		rig_wait(many[i]);
		cr_assert_eq(many[i]->choices[0].n, 200);
		heard_free(many[i]);
	}
	heard_free(one);
	rig_free(r);
}

Test(turns, a_place_goes_to_the_client_with_the_fewest)
{
	struct rig *r = rig_open(1, RIG_KV, 2);
	struct heard *one;
	for (size_t i = 0; i < 6; i++)
		many[i] = rig_submit(r, job_of(r, "many", 30, i));
	one = rig_submit(r, job_of(r, "one", 30, 50));
	rig_start(r);
	rig_wait(one);
	for (size_t i = 0; i < 6; i++)
		rig_wait(many[i]);
	cr_assert_lt(one->order, many[2]->order, "it came last and had the second place");
	for (size_t i = 0; i < 6; i++)
		heard_free(many[i]);
	heard_free(one);
	rig_free(r);
}
