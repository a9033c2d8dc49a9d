/* test_bad_days.c - workers that die, hosts that do not read, and every way to end. */
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

RIG_SUITE(bad_days);

/* -- crashes ---------------------------------------------------------------------------- */

Test(bad_days, a_model_that_kills_its_worker_is_answered_and_not_loaded_again)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"deadly\"}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"phase\":\"load\"");
	rig_until(&r, rig_all_ready);
	rig_send(&r, TOKENIZE("2", "x"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"tokens\"");
	cr_assert_eq(r.c->fleet.workers[0].sup.restarts, 1);
}

Test(bad_days, a_worker_that_keeps_crashing_is_given_up_and_its_model_is_failed)
{
	rig_open(&r, ARGS("--workers=1", "--", "--die-on=poison"));
	rig_load(&r);
	for (int i = 0; i < (SUP_RESTARTS + 1) / RETRY_DEATHS; i++) {
		rig_send(&r,
			"{\"jsonrpc\":\"2.0\",\"id\":\"p%d\",\"method\":\"tokenize\",\"params\":"
			"{\"model_id\":\"m\",\"text\":\"poison %d\"}}",
			i, i);
		rig_await_n(&r, "\"id\":\"p", (size_t)i + 1);
	}
	rig_send(&r, TOKENIZE("1", "x"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"retryable\":false");
	rig_send(&r, CALL("2", "runtime/state", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"state\":\"failed\"");
}

static bool first_has_it(struct rig *rig)
{
	const struct model *m = models_find(&rig->c->models, "m");
	return m && model_is_at(m, 0);
}

static bool first_is_back(struct rig *rig)
{
	return rig->c->fleet.workers[0].sup.restarts == 1 &&
	       worker_is_ready(&rig->c->fleet.workers[0]);
}

Test(bad_days, a_worker_that_died_while_others_still_load_gets_the_model_back)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_until(&r, rig_all_ready);
	kill(r.c->fleet.workers[1].pid, SIGSTOP);
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"m\"}"));
	rig_until(&r, first_has_it);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_until(&r, first_is_back);
	cr_assert(first_has_it(&r));
	kill(r.c->fleet.workers[1].pid, SIGCONT);
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"replicas\":2");
}

Test(bad_days, half_a_message_ends_its_worker_and_what_it_had_goes_on)
{
	rig_open(&r, ARGS("--workers=1", "--", "--torn-at=25"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":30,\"resume\":\"replay\""));
	rig_assert_has(rig_await(&r, "\"event\""), "length");
	cr_assert_eq(rig_count(&r, "stream.chunk"), 30);
	cr_assert_eq(r.c->fleet.workers[0].sup.restarts, 1);
	rig_assert_has(r.c->fleet.workers[0].last_error, "a part of a message is missing");
}

Test(bad_days, an_answer_to_what_was_not_asked_ends_its_worker_and_the_asker_hears_of_it)
{
	rig_open(&r, ARGS("--workers=1", "--", "--wrong-id"));
	rig_load(&r);
	rig_send(&r, TOKENIZE("1", "x"));
	const char *text = rig_await(&r, "\"id\":1,");
	rig_assert_has(text, "-32009");
	rig_assert_has(text, "broke the protocol: it answered what was not asked");
}

Test(bad_days, a_list_whose_worker_died_is_asked_for_again)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_load(&r);
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_send(&r, CALL("1", "list_models", "{}"));
	rig_send(&r, CALL("2", "ping", "{}"));
	rig_await(&r, "\"id\":2,");
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_assert_has(rig_await(&r, "\"id\":1,"), "on-disk");
	cr_assert_eq(r.c->metrics.counts[METRICS_RETRIES], 1);
}

Test(bad_days, a_worker_that_cannot_start_is_told_to_the_caller)
{
	rig_open(&r, ARGS("--workers=2", "--", "--exit=64"));
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"m\"}"));
	const char *text = rig_await(&r, "\"id\":1,");
	rig_assert_has(text, "-32009");
	rig_assert_has(text, "fake: bad argument");
	rig_send(&r, CALL("2", "runtime/info", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"state\":\"failed\"");
	cr_assert_eq(r.c->fleet.workers[0].generation, 1);
}

Test(bad_days, asking_how_it_is_changes_nothing)
{
	rig_open(&r, ARGS("--workers=2", "--", "--exit=64"));
	rig_send(&r,
		CALL("1", "load_model", "{\"model_id\":\"m\"}")); /* waits for the end of both */
	rig_await(&r, "\"id\":1,");
	rig_send(&r, CALL("2", "runtime/state", "{}"));
	char *first = strdup(rig_await(&r, "\"id\":2,"));
	for (size_t n = 2; n < 20; n++) {
		rig_send(&r, CALL("2", "runtime/state", "{}"));
		rig_await_n(&r, "\"id\":2,", n);
		cr_assert_str_eq(r.messages[r.n_messages - 1], first);
	}
	rig_assert_has(first, "\"restart_count\":0");
	free(first);
}

Test(bad_days, a_worker_that_stops_answering_is_replaced_and_its_stream_goes_on)
{
	rig_open(&r, ARGS("--workers=1", "--heartbeat-ms=2000", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":20,\"resume\":\"replay\""));
	rig_await_n(&r, "stream.chunk", 3);
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_send(&r, TOKENIZE("2", "a"));
	rig_assert_has(rig_await(&r, "\"event\""), "length");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"tokens\"");
	cr_assert_eq(rig_count(&r, "stream.chunk"), 20);
	cr_assert_eq(r.c->metrics.counts[METRICS_SILENT], 1);
	rig_send(&r, CALL("3", "runtime/state", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "stopped answering");
}

Test(bad_days, telemetry_is_told_without_a_worker_that_does_not_answer)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_load(&r);
	kill(r.c->fleet.workers[1].pid, SIGSTOP);
	rig_send(&r, CALL("1", "runtime/telemetry", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"frames_out\":");
	/* On a busy machine the other worker may be late, too: asked again, it tells. */
	for (size_t n = 1; rig_count(&r, "tandem_worker_fake_total{worker=\\\"0\\\"} 7") == 0;
		n++) {
		rig_send(&r, CALL("2", "runtime/telemetry", "{\"format\":\"prometheus\"}"));
		rig_await_n(&r, "\"id\":2,", n);
	}
	cr_assert_eq(rig_count(&r, "tandem_worker_fake_total{worker=\\\"1\\\"}"), 0);
}

/* -- the end ---------------------------------------------------------------------------- */

Test(bad_days, the_end_of_stdin_lets_everything_finish)
{
	rig_open(&r, ARGS("--workers=2", "--drain-ms=20000", "--", "--hold-ms=30"));
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"m\"}"));
	rig_send(&r, TOKENIZE("2", "x"));
	rig_send(&r, GENERATE("3", "s", ",\"max_tokens\":20"));
	rig_end_input(&r);
	rig_await_over(&r);
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"tokens\"");
	rig_assert_has(rig_await(&r, "stream.event"), "length");
	cr_assert_eq(r.c->exit_code, 0);
	cr_assert(fleet_is_gone(&r.c->fleet));
}

Test(bad_days, what_outlasts_the_drain_is_cancelled_with_one_end_and_shutdown_is_answered_last)
{
	rig_open(&r, ARGS("--workers=1", "--drain-ms=200", "--", "--token-ms=10", "--mute-first"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":4000"));
	rig_await(&r, "stream.chunk");
	rig_send(&r, TOKENIZE("2", "x"));
	rig_send(&r, CALL("3", "shutdown", "{}"));
	rig_send(&r, TOKENIZE("4", "x"));
	rig_await_over(&r);
	rig_assert_has(rig_await(&r, "stream.event"), "cancelled");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32010");
	rig_assert_has(rig_await(&r, "\"id\":4,"), "-32010");
	rig_assert_has(r.messages[r.n_messages - 1], "\"id\":3,");
	cr_assert_eq(rig_count(&r, "stream.event"), 1);
}

Test(bad_days, after_shutdown_the_host_may_say_exit_and_what_else_it_says_is_answered)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	rig_send(&r, CALL("1", "shutdown", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"success\":true");
	cr_assert_not(r.is_over);
	rig_send(&r, TOKENIZE("2", "x"));
	rig_send(&r, CALL("3", "shutdown", "{}"));
	rig_send(&r, NOTE("exit", "{}"));
	rig_await_over(&r);
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32010");
	rig_await(&r, "\"id\":3,");
	cr_assert_eq(r.c->exit_code, 0);
}

Test(bad_days, after_shutdown_exit_is_not_waited_for_for_ever)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, CALL("1", "shutdown", "{}"));
	rig_await_over(&r);
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"success\":true");
}

Test(bad_days, workers_that_do_not_end_are_killed)
{
	rig_open(&r, ARGS("--workers=2", "--drain-ms=100", "--", "--deaf"));
	rig_load(&r);
	rig_end_input(&r);
	rig_await_over(&r);
	cr_assert(fleet_is_gone(&r.c->fleet));
}

Test(bad_days, a_host_that_goes_away_ends_it_at_once)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=1"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":4000"));
	rig_await(&r, "stream.chunk");
	close(r.host);
	r.host = -1;
	while (!r.is_over)
		event_base_loop(r.base, EVLOOP_ONCE);
	cr_assert_eq(r.c->exit_code, 74);
}
