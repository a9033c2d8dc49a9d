/* test_replay.c - what was lost with a worker goes on at another. */
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPLAYED(id, stream, more) GENERATE(id, stream, ",\"resume\":\"replay\"" more)

RIG_SUITE(replay);

static void assert_whole(const char *stream, size_t n)
{
	char part[96];
	for (size_t i = 0; i < n; i++) {
		snprintf(part, sizeof part, "\"stream_id\": \"%s\", \"token\": \"w%zu \"", stream,
			i);
		cr_assert_eq(
			rig_count(&r, part), 1, "%s came %zu times", part, rig_count(&r, part));
	}
	snprintf(part, sizeof part, "\"stream_id\": \"%s\", \"event\"", stream);
	cr_assert_eq(rig_count(&r, part), 1);
}

Test(replay, streams_of_a_killed_worker_go_on_where_they_stopped_and_it_comes_back_with_its_model)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=20"));
	rig_load(&r);
	for (int i = 0; i < 8; i++)
		rig_send(&r,
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"generate\",\"params\":"
			"{\"model_id\":\"m\",\"prompt\":\"p\",\"max_tokens\":25,"
			"\"stream_id\":\"s%d\"%s}}",
			i, i,
			i % 3 == 0   ? ""
			: i % 3 == 1 ? ",\"resume\":\"replay\""
				     : ",\"resume\":null");
	rig_await_n(&r, "stream.chunk", 16);
	pid_t victim = r.c->fleet.workers[0].pid;
	kill(victim, SIGKILL);
	rig_await_n(&r, "\"finish_reason\": \"length\"", 8);
	for (int i = 0; i < 8; i++)
		assert_whole((char[]) { 's', (char)('0' + i), 0 }, 25);
	cr_assert_eq(r.c->metrics.counts[METRICS_REPLAYS], 4);
	rig_until(&r, rig_all_ready);
	cr_assert_eq(r.c->fleet.workers[0].sup.restarts, 1);
	cr_assert(model_is_at(models_find(&r.c->models, "m"), 0));
	cr_assert_neq(r.c->fleet.workers[0].pid, victim);
	cr_assert(waitpid(victim, NULL, WNOHANG) < 0, "no zombie");
	cr_assert_eq(r.c->fleet.workers[0].n_streams + r.c->fleet.workers[1].n_streams, 0);
}

Test(replay, the_only_worker_goes_on_with_its_stream_once_it_is_back)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, REPLAYED("1", "s", ",\"max_tokens\":20"));
	rig_await_n(&r, "stream.chunk", 5);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_await(&r, "\"event\"");
	assert_whole("s", 20);
	rig_assert_has(rig_await(&r, "stream.stats"), "\"replays\":1");
	cr_assert_eq(rig_count(&r, "\"id\":1,"), 1);
}

Test(replay, a_worker_that_dies_between_the_stats_and_the_event_leaves_no_end_behind)
{
	/* Of its frames the handshake is the fourth; the next worker is through after six. */
	rig_open(&r, ARGS("--workers=1", "--", "--die-after=8"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":3"));
	rig_await(&r, "\"event\"");
	assert_whole("s", 3);
	cr_assert_eq(rig_count(&r, "stream.stats"), 1);
	rig_assert_has(rig_await(&r, "stream.stats"), "\"replays\":1");
}

/* The fake's tokens from the seventh on, once each. */
static void assert_resumed(int end)
{
	cr_assert_eq(rig_count(&r, "stream.chunk"), (size_t)end - 7);
	for (int i = 7; i < end; i++) {
		char part[32];
		snprintf(part, sizeof part, "\"token\": \"w%d \"", i);
		cr_assert_eq(rig_count(&r, part), 1);
	}
}

Test(replay, what_the_host_resumes_itself_is_acknowledged_and_replayed_from_where_it_began)
{
	rig_open(&r, ARGS("--workers=1", "--ack-window=4", "--", "--token-ms=5", "--ack-window=4"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":30,\"resume_tokens\":[0,1,2,3,4,5,6]"));
	rig_await_n(&r, "stream.chunk", 9);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_assert_has(rig_await(&r, "\"event\""), "length");
	assert_resumed(30);
}

Test(replay, what_the_host_resumes_itself_goes_on_there_before_its_first_token_too)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=50"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":9,\"resume_tokens\":[0,1,2,3,4,5,6]"));
	rig_await(&r, "\"id\":1,");
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_assert_has(rig_await(&r, "\"event\""), "length");
	assert_resumed(9);
}

Test(replay, where_it_is_not_wanted_a_stream_ends_with_the_signal_and_what_was_delivered)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":200,\"resume\":\"error\""));
	rig_await_n(&r, "stream.chunk", 3);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	const char *event = rig_await(&r, "\"event\":\"error\"");
	rig_assert_has(event, "\"code\":-32009");
	rig_assert_has(event, "\"type\":\"worker_crashed\"");
	rig_assert_has(event, "\"signal\":\"SIGKILL\"");
	rig_assert_has(event, "\"phase\":\"decode\"");
	rig_assert_has(event, "\"tokens_delivered\":");
	cr_assert_eq(r.c->metrics.counts[METRICS_LOST], 1);
}

Test(replay, a_request_two_workers_died_with_is_poison_and_others_are_served)
{
	rig_open(&r, ARGS("--workers=1", "--", "--die-on=poison"));
	rig_load(&r);
	rig_send(&r, TOKENIZE("1", "poison"));
	rig_send(&r, TOKENIZE("2", "fine"));
	const char *text = rig_await(&r, "\"id\":1,");
	rig_assert_has(text, "-32009");
	rig_assert_has(text, "\"poison\":true");
	rig_assert_has(text, "\"retryable\":false");
	rig_assert_has(text, "\"signal\":\"SIGABRT\"");
	rig_assert_has(text, "\"fake: that word\"");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"tokens\"");
	cr_assert_eq(r.c->fleet.workers[0].sup.restarts, RETRY_DEATHS);
	cr_assert_eq(r.c->metrics.counts[METRICS_POISONED], 1);
}

Test(replay, a_generate_that_kills_before_its_first_token_is_poison_too)
{
	rig_open(&r, ARGS("--workers=2", "--", "--die-on=poison"));
	rig_load(&r);
	rig_send(&r, CALL("1", "generate",
			     "{\"model_id\":\"m\",\"prompt\":\"poison\",\"resume\":\"replay\"}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"poison\":true");
	cr_assert_eq(r.c->streams.n, 0);
}

static bool goes_on_at_the_other(struct rig *rig)
{
	const struct stream *s = stream_find(&rig->c->streams, "s");
	return s && s->continuation && s->continuation->owner == CALL_IN_FLIGHT;
}

Test(replay, a_cancelled_stream_whose_second_worker_dies_too_is_given_to_nobody)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, REPLAYED("1", "s", ",\"max_tokens\":200"));
	rig_await_n(&r, "stream.chunk", 3);
	int first = stream_find(&r.c->streams, "s")->worker, second = 1 - first;
	kill(r.c->fleet.workers[second].pid, SIGSTOP);
	kill(r.c->fleet.workers[first].pid, SIGKILL);
	rig_until(&r, goes_on_at_the_other);
	rig_send(&r, CALL("2", "cancel", "{\"stream_id\":\"s\"}"));
	rig_send(&r, CALL("3", "ping", "{}"));
	rig_await(&r, "\"id\":3,");
	kill(r.c->fleet.workers[second].pid, SIGKILL);
	rig_assert_has(rig_await(&r, "\"event\""), "cancelled");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "true");
	rig_send(&r, TOKENIZE("4", "a"));
	rig_assert_has(rig_await(&r, "\"id\":4,"), "\"tokens\"");
	cr_assert_eq(registry_count(r.c->registry), 0);
	cr_assert_eq(r.c->metrics.counts[METRICS_RETRIES], 1);
}

static bool is_down(struct rig *rig)
{
	return !worker_is_ready(&rig->c->fleet.workers[0]);
}

static bool has_calls_in_flight(struct rig *rig)
{
	return rig->c->fleet.workers[0].n_calls > 0;
}

Test(replay, calls_lost_with_a_worker_are_answered_by_the_next)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_send(&r, TOKENIZE("1", "a bb"));
	rig_send(&r, CALL("2", "batch_tokenize",
			     "{\"requests\":[{\"model_id\":\"m\",\"text\":\"ccc\"}]}"));
	rig_until(&r, has_calls_in_flight);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"tokens\": [1, 2]");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"success\":true");
	cr_assert_geq(r.c->metrics.counts[METRICS_RETRIES], 1);
}

Test(replay, without_budget_nothing_goes_again)
{
	rig_open(&r, ARGS("--workers=2", "--retry-budget=0", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, REPLAYED("1", "s", ",\"max_tokens\":200"));
	rig_await_n(&r, "stream.chunk", 3);
	kill(r.c->fleet.workers[0].n_streams ? r.c->fleet.workers[0].pid
					     : r.c->fleet.workers[1].pid,
		SIGKILL);
	rig_assert_has(rig_await(&r, "\"event\":\"error\""), "\"retry_budget_spent\":true");
	cr_assert_eq(r.c->metrics.counts[METRICS_RETRIES_SPENT], 1);
	rig_send(&r, CALL("2", "runtime/telemetry", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"retry_budget\":0");
}

static bool waits_for_a_worker(struct rig *rig)
{
	return rig->c->queue.n_calls == 1;
}

Test(replay, a_stream_that_waits_for_its_worker_can_be_cancelled)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, REPLAYED("1", "s", ",\"max_tokens\":2000"));
	rig_await_n(&r, "stream.chunk", 3);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_until(&r, waits_for_a_worker);
	rig_send(&r, CALL("2", "cancel", "{\"stream_id\":\"s\"}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"cancelled\":true");
	rig_assert_has(rig_await(&r, "\"event\""), "\"finish_reason\":\"cancelled\"");
	cr_assert_eq(r.c->streams.n, 0);
	cr_assert_lt(rig_find(&r, "\"event\""), rig_find(&r, "\"id\":2,"));
}

Test(replay, a_stream_that_waits_for_its_worker_still_times_out)
{
	rig_open(&r, ARGS("--workers=1", "--restarts=1", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, REPLAYED("2", "t", ",\"max_tokens\":2000,\"timeout_ms\":600000"));
	rig_await(&r, "\"stream_id\": \"t\", \"token\"");
	stream_find(&r.c->streams, "t")->deadline_us = 1; /* long ago */
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_assert_has(
		rig_await(&r, "\"stream_id\":\"t\",\"event\""), "\"finish_reason\":\"timeout\"");
}

Test(replay, what_goes_on_ends_when_the_worker_is_given_up)
{
	rig_open(&r, ARGS("--workers=1", "--restarts=0", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, REPLAYED("1", "s", ",\"max_tokens\":2000"));
	rig_await_n(&r, "stream.chunk", 3);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	const char *event = rig_await(&r, "\"event\":\"error\"");
	rig_assert_has(event, "\"code\":-32009");
	rig_assert_has(event, "\"retryable\":false");
}

Test(replay, a_stream_may_wander_over_many_workers)
{
	rig_open(&r, ARGS("--workers=2", "--restarts=20", "--", "--token-ms=5"));
	rig_load(&r);
	rig_send(&r, REPLAYED("1", "s", ",\"max_tokens\":60"));
	for (size_t n = 10; n <= 50; n += 10) {
		rig_await_n(&r, "stream.chunk", n);
		struct stream *s = stream_find(&r.c->streams, "s");
		struct worker *w = s ? fleet_worker(&r.c->fleet, s->worker) : NULL;
		if (w && w->pid > 0)
			kill(w->pid, SIGKILL);
	}
	rig_await(&r, "\"event\"");
	assert_whole("s", 60);
}

static bool is_up(struct rig *rig)
{
	return worker_is_ready(&rig->c->fleet.workers[0]);
}

Test(replay, who_was_there_when_workers_were_killed_from_outside_is_not_blamed_at_the_second)
{
	rig_open(&r, ARGS("--workers=1", "--", "--mute-on=quiet"));
	rig_load(&r);
	rig_send(&r, CALL("1", "tokenize", "{\"model_id\":\"m\",\"text\":\"quiet\"}"));
	for (int i = 0; i < 3; i++) {
		rig_until(&r, is_up);
		rig_until(&r, has_calls_in_flight);
		cr_assert_eq(r.c->metrics.counts[METRICS_POISONED], 0);
		kill(r.c->fleet.workers[0].pid, SIGKILL);
		rig_until(&r, is_down);
	}
	rig_until(&r, is_up);
	rig_until(&r, has_calls_in_flight);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"poison\":true");
	cr_assert_eq(r.c->metrics.counts[METRICS_RETRIES], 3);
}

/* -- the policy ------------------------------------------------------------------------- */

Test(retry, the_bucket_empties_by_retries_and_fills_by_time_and_answers)
{
	struct retry_budget b;
	struct retry_case lost = { .is_possible = true, .deaths = 1 };
	retry_init(&b, 2, 0);
	cr_assert_eq(retry_judge(&b, &lost, 0), RETRY_AGAIN);
	cr_assert_eq(retry_judge(&b, &lost, 0), RETRY_AGAIN);
	cr_assert_eq(retry_judge(&b, &lost, 0), RETRY_SPENT);
	for (int i = 0; i < 11; i++)
		retry_answered(&b);
	cr_assert_eq(retry_judge(&b, &lost, 0), RETRY_AGAIN);
	cr_assert_eq(retry_judge(&b, &lost, 0), RETRY_SPENT);
	uint64_t later = (uint64_t)(2e6 / RETRY_PER_SECOND);
	cr_assert_eq(retry_judge(&b, &lost, later), RETRY_AGAIN);
	cr_assert_leq(retry_left(&b, 3600 * UINT64_C(1000000)), 2);
}

Test(retry, poison_and_refusals_cost_nothing)
{
	struct retry_budget b;
	retry_init(&b, 1, 0);
	struct retry_case poison = { .is_possible = true, .deaths = RETRY_DEATHS };
	struct retry_case refused = { .is_possible = false, .deaths = 1 };
	cr_assert_eq(retry_judge(&b, &poison, 0), RETRY_POISON);
	cr_assert_eq(retry_judge(&b, &refused, 0), RETRY_REFUSED);
	cr_assert_eq(retry_left(&b, 0), 1);
}

Test(retry, where_another_cause_is_likely_more_deaths_are_forgiven_but_not_all)
{
	struct retry_budget b;
	retry_init(&b, 9, 0);
	for (unsigned i = 1; i < RETRY_DEATHS_DOUBTED; i++) {
		struct retry_case cut = { .is_possible = true, .is_doubted = true, .deaths = i };
		cr_assert_eq(retry_judge(&b, &cut, 0), RETRY_AGAIN);
	}
	struct retry_case last = {
		.is_possible = true, .is_doubted = true, .deaths = RETRY_DEATHS_DOUBTED
	};
	cr_assert_eq(retry_judge(&b, &last, 0), RETRY_POISON);
}
TestSuite(retry, .timeout = 10);
