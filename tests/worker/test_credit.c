/* test_credit.c - how far a stream may run ahead of its reader. */
#include "worker/credit.h"
#include <criterion/criterion.h>
#include <stdint.h>

static struct credit c;
static double due;

static enum credit_verdict judge(size_t n_tokens, double now)
{
	return credit_judge(&c,
		&(struct credit_view) {
			.n_tokens = n_tokens, .n_bytes = n_tokens, .now = now, .patience = 10 },
		&due);
}

Test(credit, without_acknowledgements_the_pipe_alone_counts)
{
	credit_sent(&c, 1000000);
	cr_assert_eq(credit_left(&c, false), SIZE_MAX);
	cr_assert_eq(credit_left(&c, true), 0);
}

Test(credit, no_more_than_the_window_is_unacknowledged)
{
	c.window = 8;
	credit_sent(&c, 5);
	cr_assert_eq(credit_left(&c, false), 3);
	cr_assert_eq(credit_left(&c, true), 0);
	credit_sent(&c, 3);
	cr_assert_eq(credit_left(&c, false), 0);
	credit_acked(&c, 6);
	cr_assert_eq(credit_left(&c, false), 6);
	credit_acked(&c, 2);
	cr_assert_eq(credit_left(&c, false), 6, "what was acknowledged stays so");
}

Test(credit, an_acknowledgement_of_what_was_never_sent_is_worth_what_was)
{
	c.window = 8;
	credit_sent(&c, 4);
	credit_acked(&c, SIZE_MAX);
	cr_assert_eq(credit_left(&c, false), 8);
	credit_sent(&c, 8);
	cr_assert_eq(credit_left(&c, false), 0);
}

Test(credit, who_acknowledges_unasked_gets_a_window)
{
	credit_sent(&c, 1000);
	credit_acked(&c, 900);
	cr_assert_eq(credit_left(&c, false), CREDIT_WINDOW - 100);
}

Test(credit, few_waiting_tokens_let_the_sequence_run_and_many_park_it)
{
	c.window = 1;
	credit_sent(&c, 1);
	cr_assert_eq(judge(1, 100), CREDIT_FINE);
	cr_assert_eq(judge(CREDIT_TOKENS - 1, 101), CREDIT_FINE);
	cr_assert_eq(judge(CREDIT_TOKENS, 102), CREDIT_PARK);
	cr_assert_eq(judge(CREDIT_TOKENS - 1, 103), CREDIT_PARK, "not at every token anew");
	cr_assert_eq(judge(CREDIT_TOKENS / 2 - 1, 104), CREDIT_FINE);
}

Test(credit, long_alternatives_park_it_sooner)
{
	c.window = 1;
	credit_sent(&c, 1);
	const struct credit_view v = { .n_tokens = 2, .n_bytes = CREDIT_BYTES, .now = 1 };
	cr_assert_eq(credit_judge(&c, &v, &due), CREDIT_PARK);
	cr_assert_eq(due, -1, "nobody set a time");
}

Test(credit, a_stall_that_lasts_is_given_up_and_one_that_moves_begins_anew)
{
	c.window = 1;
	credit_sent(&c, 1);
	cr_assert_eq(judge(5, 100), CREDIT_FINE);
	cr_assert_eq(due, 10);
	cr_assert_eq(judge(5, 109), CREDIT_FINE);
	credit_acked(&c, 1);
	credit_sent(&c, 1);
	cr_assert_eq(judge(4, 109.5), CREDIT_FINE);
	cr_assert_eq(judge(CREDIT_TOKENS, 119), CREDIT_PARK);
	cr_assert_eq(judge(CREDIT_TOKENS, 119.5), CREDIT_GIVEN_UP);
}

Test(credit, who_may_send_again_is_neither_parked_nor_stalled)
{
	c.window = 1;
	credit_sent(&c, 1);
	judge(CREDIT_TOKENS, 100);
	credit_acked(&c, 1);
	cr_assert_eq(judge(CREDIT_TOKENS, 200), CREDIT_FINE);
	cr_assert_eq(due, -1);
	cr_assert(c.stalled_at == 0 && !c.is_parked);
}
