#include "controller/lone.h"
#include <criterion/criterion.h>

#define SHORT ((uint64_t)LONE_US / 2)
#define LONG  ((uint64_t)LONE_US * 20)

/* The call count becomes n after so long; is it watched from then on? */
static bool after(struct lone *l, uint64_t *now, uint64_t us, size_t n)
{
	lone_note(l, n, 0, *now += us);
	return lone_expects(l, *now);
}

Test(lone, watches_for_what_was_short_the_last_time)
{
	struct lone l = { 0 };
	uint64_t now = 1000000;

	cr_assert_not(lone_expects(&l, now));
	cr_assert_not(after(&l, &now, LONG, 1), "no answer was seen yet");
	cr_assert_not(after(&l, &now, SHORT, 0), "the pause before the call was long");
	cr_assert(after(&l, &now, SHORT, 1), "the last answer came at once");
	cr_assert(after(&l, &now, SHORT, 0), "and so did the last call");
	cr_assert(after(&l, &now, LONG, 1));
	cr_assert_not(after(&l, &now, LONG, 0), "the pause was long");
	cr_assert_not(after(&l, &now, SHORT, 1), "the answer took long");
}

Test(lone, gives_up_after_its_time)
{
	struct lone l = { .since_us = 50, .was_short = { true, true } };

	cr_assert(lone_expects(&l, 50 + LONE_US));
	cr_assert_not(lone_expects(&l, 51 + LONE_US));
}

Test(lone, sleeps_while_several_are_under_way)
{
	struct lone l = { .was_short = { true, true } };
	uint64_t now = 1000000;

	cr_assert(after(&l, &now, SHORT, 1));
	cr_assert_not(after(&l, &now, SHORT, 2));
	cr_assert_not(after(&l, &now, SHORT, 64));
	cr_assert(after(&l, &now, SHORT, 1), "lone again; what one call takes is known");
}

Test(lone, knows_the_handshake_of_a_stream_from_its_tokens)
{
	struct lone l = { 0 };
	uint64_t now = 1000000;

	for (int i = 0; i < 2; i++) {
		lone_note(&l, 1, 1, now += SHORT);
		cr_assert_eq(lone_expects(&l, now), i > 0, "the handshake came at once");
		lone_note(&l, 0, 1, now += SHORT);
		cr_assert_not(lone_expects(&l, now), "the tokens took long");
		lone_note(&l, 0, 0, now += LONG);
	}
	cr_assert(lone_expects(&l, now), "the next call came at once behind the end");
	lone_note(&l, 0, 2, now += SHORT);
	cr_assert_not(lone_expects(&l, now));
}
