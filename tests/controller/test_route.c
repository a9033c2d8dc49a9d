/* test_route.c - whom a call goes to: the policy, and what it is told. */
#include "controller/affinity.h"
#include "controller/cost.h"
#include "controller/route.h"
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* -- the policy ------------------------------------------------------------------------- */

TestSuite(route, .timeout = 10);

Test(route, goes_to_whoever_has_the_fewest_tokens_to_do_and_then_in_turns)
{
	struct route_candidate c[] = { { .n_tokens = 300, .last_us = 10 },
		{ .n_tokens = 100, .last_us = 30 }, { .n_tokens = 100, .last_us = 20 } };
	cr_assert_eq(route_pick(c, 3), 2);
	cr_assert_eq(route_pick(c, 2), 1);
	cr_assert_eq(route_pick(c, 0), -1);
	c[0].n_missing = c[2].n_missing = 1;
	cr_assert_eq(route_pick(c, 3), 1, "a worker that has both models wins");
}

Test(route, prefers_the_longest_known_prefix_until_its_worker_leads_by_too_much)
{
	struct route_candidate c[] = { { .n_tokens = 0 }, { .n_tokens = 900, .n_prefix = 4 },
		{ .n_tokens = ROUTE_LEAD, .n_prefix = 9 } };
	cr_assert_eq(route_pick(c, 3), 2);
	c[2].n_tokens++;
	cr_assert_eq(route_pick(c, 3), 1);
	c[1].n_tokens = 5000;
	cr_assert_eq(route_pick(c, 3), 0);
}

Test(route, an_open_breaker_is_avoided_as_long_as_anybody_else_is_there)
{
	struct route_candidate c[] = { { .is_tripped = true, .n_prefix = 9 },
		{ .n_tokens = 99999 } };
	cr_assert_eq(route_pick(c, 2), 1);
	cr_assert_eq(route_pick(c, 1), 0);
}

/* Deals n calls of `tokens` each among c, as deal.c does; counts what each gets. */
static void deal(struct route_candidate *c, size_t n, size_t calls, size_t tokens, size_t *got)
{
	memset(got, 0, n * sizeof *got);
	for (; calls > 0; calls--) {
		int at = route_deal(c, n);
		if (at < 0)
			return;
		got[at]++;
		c[at].is_given = true;
		c[at].n_tokens += tokens;
	}
}

Test(route, a_burst_makes_all_equal)
{
	size_t got[3];
	struct route_candidate c[] = { { .has_room = true, .n_tokens = 400 }, { .has_room = true },
		{ .has_room = true, .n_tokens = 100 } };
	deal(c, 3, 7, 100, got);
	cr_assert(got[0] == 0 && got[1] == 4 && got[2] == 3, "%zu %zu %zu", got[0], got[1], got[2]);
}

Test(route, who_is_free_first_does_not_get_all_of_a_burst)
{
	size_t got[2];
	struct route_candidate c[] = { { .n_tokens = 600 }, { .has_room = true } };
	deal(c, 2, 5, 500, got);
	cr_assert(got[0] == 0 && got[1] == 2, "%zu %zu: the rest waits a moment", got[0], got[1]);
	c[0].has_room = true;
	c[0].is_given = c[1].is_given = c[1].has_room = false;
	deal(c, 2, 3, 500, got);
	cr_assert(got[0] == 1, "%zu: then they are even", got[0]);
}

Test(route, nobody_idles_beside_a_waiting_call)
{
	size_t got[2];
	struct route_candidate c[] = { { .n_tokens = 10, .n_prefix = 3 },
		{ .has_room = true, .n_tokens = 900 } };
	deal(c, 2, 5, 500, got);
	cr_assert_eq(got[1], 1);
}

/* -- what it is told -------------------------------------------------------------------- */

static struct json_span span(const char *text)
{
	return (struct json_span) { text, strlen(text) };
}

static size_t cost(const char *method, const char *params)
{
	return cost_estimate(method_find(method), span(params));
}

Test(route, a_call_costs_its_text_and_a_generate_what_it_may_generate)
{
	cr_assert_eq(cost("tokenize", "{\"text\":\"abcdef\"}"), 5);
	cr_assert_eq(cost("generate", "{}"), 1 + COST_MAX_TOKENS);
	cr_assert_eq(cost("generate", "{\"max_tokens\":9}"), 5 + 9);
	cr_assert_eq(cost("generate", "{\"n_predict\":9,\"n\":3}"), 6 + 27);
	cr_assert_eq(cost("generate", "{\"n\":1e300}"), 3 + COST_MAX_TOKENS, "refused later");
	cr_assert_eq(cost("generate", "{\"max_tokens\":-1}"), 5 + COST_MAX_TOKENS);
	cr_assert_leq(cost("generate", "{\"max_tokens\":9007199254740991}"), 5000);
}

#define SYSTEM                                                                                   \
	"A system prompt that is longer than one block of the table, as they nearly always are " \
	"in practice, since they say who is asked and how the answer shall look like. "          \
	"This one goes on for a second block, so that a shorter match can be seen as well, "     \
	"and ends only here. "

static size_t matched(struct affinity *a, const char *model, const char *params, int worker)
{
	struct affinity_prompt p;
	affinity_read(&p, model, span(params));
	return affinity_match(a, &p, worker);
}

static struct affinity *known_by_worker_3(const char *params)
{
	struct affinity *a = calloc(1, sizeof *a);
	struct affinity_prompt p;
	affinity_read(&p, "m", span(params));
	affinity_note(a, &p, 3);
	return a;
}

Test(route, equal_beginnings_are_found_at_the_worker_that_was_given_them)
{
	struct affinity *a = known_by_worker_3("{\"prompt\":\"" SYSTEM "Hello\"}");
	cr_assert_eq(matched(a, "m", "{\"seed\":1,\"prompt\":\"" SYSTEM "Goodbye\"}", 3), 2);
	cr_assert_eq(matched(a, "m", "{\"prompt\":\"" SYSTEM "Hello\"}", 2), 0, "another worker");
	cr_assert_eq(matched(a, "n", "{\"prompt\":\"" SYSTEM "Hello\"}", 3), 0, "another model");
	cr_assert_eq(matched(a, "m", "{\"prompt\":\"X" SYSTEM "\"}", 3), 0, "another beginning");
	cr_assert_eq(matched(a, "m", "{\"prompt\":\"A system\"}", 3), 0, "too short");
	affinity_forget(a, 3);
	cr_assert_eq(matched(a, "m", "{\"prompt\":\"" SYSTEM "Hello\"}", 3), 0);
	free(a);
}

Test(route, what_may_not_share_a_cache_has_no_affinity)
{
	static const char *const others[] = {
		"{\"prompt\":\"" SYSTEM "\",\"cache_scope\":\"mine\"}",
		"{\"prompt\":\"" SYSTEM "\",\"tools\":[{}]}",
		"{\"prompt\":\"" SYSTEM "\",\"cache_prompt\":false}",
	};
	struct affinity *a = known_by_worker_3("{\"prompt\":\"" SYSTEM "\"}");
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		cr_assert_eq(matched(a, "m", others[i], 3), 0, "%s", others[i]);
	free(a);
}

/* -- in the controller ------------------------------------------------------------------ */

RIG_SUITE(routing);

static size_t streams_at(int worker)
{
	return r.c->fleet.workers[worker].n_streams;
}

static void start_streams(int from, int to, const char *prompt)
{
	for (int i = from; i < to; i++)
		rig_send(&r,
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"generate\",\"params\":"
			"{\"model_id\":\"m\",\"prompt\":\"%s\",\"max_tokens\":100000,"
			"\"stream_id\":\"s%d\"}}",
			i, prompt, i);
	for (int i = from; i < to; i++) {
		char part[32];
		snprintf(part, sizeof part, "\"id\":%d,", i);
		rig_await(&r, part);
	}
}

Test(routing, streams_that_come_one_and_five_are_dealt_three_and_three)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=50"));
	rig_load(&r);
	rig_send(&r, GENERATE("\"first\"", "first", ",\"max_tokens\":100000"));
	start_streams(0, 5, "p");
	rig_await(&r, "\"id\":\"first\"");
	cr_assert_eq(streams_at(0), 3);
	cr_assert_eq(streams_at(1), 3);
}

Test(routing, conversations_stay_where_they_began)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=50"));
	rig_load(&r);
	start_streams(0, 1, SYSTEM "one");
	int home = streams_at(0) ? 0 : 1;
	start_streams(1, 2, "another");
	start_streams(2, 3, SYSTEM "two");
	cr_assert_eq(streams_at(home), 2);
	cr_assert_eq(stream_find(&r.c->streams, "s2")->worker, home);
}

Test(routing, what_workers_have_to_do_is_nothing_in_the_end)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=1"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":20"));
	rig_send(&r, TOKENIZE("2", "a b"));
	rig_send(&r, GENERATE("3", "t", ",\"max_tokens\":100000"));
	rig_await(&r, "\"finish_reason\"");
	rig_await(&r, "\"id\":2,");
	rig_send(&r, CALL("4", "cancel", "{\"stream_id\":\"t\"}"));
	rig_await(&r, "\"id\":4,");
	rig_await_n(&r, "\"finish_reason\"", 2);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(r.c->fleet.workers[i].n_tokens, 0);
}
