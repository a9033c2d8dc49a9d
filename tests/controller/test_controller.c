/* test_controller.c - the whole controller between a host and scripted workers. */
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

RIG_SUITE(controller);

static bool is_in_flight(struct rig *rig)
{
	return rig->c->fleet.workers[0].n_calls > 0;
}

/* -- requests --------------------------------------------------------------------------- */

Test(controller, requests_that_come_before_the_workers_are_up_wait_for_them)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"m\"}"));
	rig_send(&r, TOKENIZE("2", "hello you"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"replicas\":2");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"tokens\": [5, 3]");
}

Test(controller, a_model_that_nobody_loaded_is_named_and_wrong_params_are_told_first)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, TOKENIZE("1", "x"));
	rig_send(&r, CALL("2", "tokenize", "{\"model_id\":\"m\",\"txt\":\"x\"}"));
	rig_send(&r, CALL("3", "tokenise", "{}"));
	rig_send(&r, CALL("4", "tokenize", "{\"text\":\"x\"}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "Model not loaded: m");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"did_you_mean\":\"text\"");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"did_you_mean\":\"tokenize\"");
	rig_assert_has(rig_await(&r, "\"id\":4,"), "-32602");
}

Test(controller, a_load_that_fails_fails_what_waited_for_it_and_nothing_else)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"unloadable\"}"));
	rig_send(&r, CALL("2", "tokenize", "{\"model_id\":\"unloadable\",\"text\":\"x\"}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32001");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32005");
	rig_load(&r);
}

Test(controller, garbage_and_half_frames_from_a_worker_disturb_nobody)
{
	rig_open(&r, ARGS("--workers=1", "--", "--garbage", "--half"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":3"));
	for (int i = 0; i < 20; i++)
		rig_send(&r,
			"{\"jsonrpc\":\"2.0\",\"id\":\"t%d\",\"method\":\"tokenize\","
			"\"params\":{\"model_id\":\"m\",\"text\":\"a\"}}",
			i);
	rig_await(&r, "stream.event");
	rig_await_n(&r, "\"tokens\"", 20);
	cr_assert_eq(rig_count(&r, "stream.chunk"), 3);
	rig_send(&r, CALL("9", "runtime/state", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":9,"), "\"restart_count\":0");
}

/* -- batching --------------------------------------------------------------------------- */

Test(controller, a_burst_gathers_while_a_frame_is_in_flight_and_none_is_lost_or_swapped)
{
	rig_open(&r, ARGS("--workers=1", "--", "--hold-ms=5"));
	rig_load(&r);
	struct buf burst = BUF_INIT;
	for (int i = 0; i < 1000; i++)
		buf_addf(&burst,
			"%s{\"jsonrpc\":\"2.0\",\"id\":\"t%d\",\"method\":\"tokenize\","
			"\"params\":{\"model_id\":\"m\",\"text\":\"%0*d\"}}",
			i ? "\n" : "", i, i % 50 + 1, 0);
	rig_send(&r, "%s", buf_cstr(&burst));
	buf_release(&burst);
	rig_await_n(&r, "\"tokens\"", 1000);
	for (int i = 0; i < 1000; i += 37) {
		char id[32], want[32];
		snprintf(id, sizeof id, "\"id\":\"t%d\"", i);
		snprintf(want, sizeof want, "[%d]", i % 50 + 1);
		rig_assert_has(rig_await(&r, id), want);
	}
	cr_assert_leq(r.c->metrics.counts[METRICS_FRAMES_OUT], 50);
}

Test(controller, a_lone_call_leaves_as_the_plain_method)
{
	char log[] = "/tmp/tandem-test-XXXXXX", option[64], line[256] = "";
	int fd = mkstemp(log);
	snprintf(option, sizeof option, "--log=%s", log);
	rig_open(&r, ARGS("--workers=1", "--", option));
	rig_load(&r);
	rig_send(&r, TOKENIZE("1", "x"));
	rig_await(&r, "\"id\":1,");
	FILE *f = fdopen(fd, "r");
	while (fgets(line, sizeof line, f))
		continue;
	fclose(f);
	unlink(log);
	rig_assert_has(line, "\"method\": \"tokenize\"");
}

Test(controller, one_bad_call_of_a_frame_fails_alone_with_its_own_error)
{
	rig_open(&r, ARGS("--workers=1", "--", "--hold-ms=5"));
	rig_load(&r);
	rig_send(&r, TOKENIZE("0", "x") "\n" TOKENIZE("1", "x") "\n" CALL("2", "tokenize",
			     "{\"model_id\":\"m\",\"text\":5}") "\n" TOKENIZE("3", "x"));
	rig_assert_has(rig_await(&r, "\"id\":2,"),
		"\"code\":-32602,\"message\":\"text must be a string\"");
	rig_await(&r, "\"id\":1,");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"tokens\"");
}

Test(controller, batch_methods_answer_in_order_whatever_becomes_of_their_items)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_load(&r);
	rig_send(&r, CALL("1", "batch_tokenize",
			     "{\"requests\":[{\"model_id\":\"m\",\"text\":\"a\"},{\"model_id\":"
			     "\"x\",\"text\":\"b\"},7,"
			     "{\"model_id\":\"m\",\"text\":\"ccc\"}]}"));
	rig_send(&r, CALL("2", "batch_tokenize", "{\"requests\":[]}"));
	rig_send(&r, CALL("3", "batch_tokenize", "{\"request\":[]}"));
	const char *text = rig_await(&r, "\"id\":1,");
	const char *a = strstr(text, "[1]"), *b = strstr(text, "-32005"),
		   *c = strstr(text, "-32602"), *d = strstr(text, "[3]");
	cr_assert(a && b && c && d && a < b && b < c && c < d, "%s", text);
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"results\":[]");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "-32602");
}

Test(controller, a_json_rpc_batch_is_answered_in_one_array_and_its_streams_start_after_it)
{
	rig_open(&r, ARGS("--workers=1", "--", "--hold-ms=30"));
	rig_load(&r);
	rig_send(&r, "[" GENERATE("1", "s", ",\"max_tokens\":2") "," TOKENIZE("2", "x") ",1]");
	rig_await(&r, "stream.event");
	ptrdiff_t array = rig_find(&r, "\"id\":2,"), chunk = rig_find(&r, "stream.chunk");
	cr_assert_eq(r.messages[array][0], '[');
	cr_assert_lt(array, chunk);
	rig_assert_has(r.messages[array], "-32600");
}

/* -- streams ---------------------------------------------------------------------------- */

Test(controller, a_stream_is_relayed_in_order_and_its_id_is_unique_over_all_workers)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=5"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":30"));
	rig_send(&r, GENERATE("2", "s", ""));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "Stream ID 's' is already in use");
	rig_await(&r, "stream.event");
	cr_assert_eq(rig_count(&r, "stream.chunk"), 30);
	cr_assert_lt(rig_find(&r, "\"id\":1,"), rig_find(&r, "stream.chunk"));
	rig_send(&r, GENERATE("3", "s", ",\"max_tokens\":1"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"result\"");
}

Test(controller, a_generate_without_stream_id_or_with_null_gets_one_of_ours)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_load(&r);
	rig_send(&r, CALL("1", "generate", "{\"model_id\":\"m\",\"prompt\":\"p\"}"));
	rig_send(&r,
		CALL("2", "generate", "{\"stream_id\":null,\"model_id\":\"m\",\"prompt\":\"p\"}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"stream_id\": \"stream-");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"stream_id\": \"stream-");
	rig_await_n(&r, "stream.event", 2);
}

Test(controller, streams_spread_over_the_workers)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=20"));
	rig_load(&r);
	for (int i = 0; i < 8; i++)
		rig_send(&r,
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"generate\",\"params\":"
			"{\"model_id\":\"m\",\"prompt\":\"p\",\"max_tokens\":20}}",
			i);
	rig_await_n(&r, "started_at", 8);
	cr_assert_eq(r.c->fleet.workers[0].n_streams, 4);
	cr_assert_eq(r.c->fleet.workers[1].n_streams, 4);
	rig_await_n(&r, "stream.event", 8);
	cr_assert_eq(r.c->streams.n, 0);
	cr_assert_eq(r.c->fleet.workers[0].n_streams, 0);
}

/* -- cancelling and deadlines ----------------------------------------------------------- */

Test(controller, cancel_reaches_the_worker_and_the_stream_ends_once)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=5"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "a", ",\"max_tokens\":4000"));
	rig_send(&r, GENERATE("2", "b", ",\"max_tokens\":4000"));
	rig_send(&r, GENERATE("3", "c", ",\"max_tokens\":4000"));
	rig_send(&r, GENERATE("4", "d", ",\"max_tokens\":4000"));
	rig_await_n(&r, "started_at", 4);
	rig_send(&r, CALL("11", "cancel", "{\"stream_id\":\"a\"}"));
	rig_send(&r, CALL("12", "cancel", "{\"id\":2}"));
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":3}"));
	rig_send(&r, NOTE("notifications/cancelled", "{\"requestId\":4}"));
	rig_await_n(&r, "\"finish_reason\": \"cancelled\"", 4);
	rig_assert_has(rig_await(&r, "\"id\":11,"), "\"cancelled\":true");
	rig_assert_has(rig_await(&r, "\"id\":12,"), "\"cancelled\":true");
	rig_send(&r, CALL("13", "cancel", "{\"stream_id\":\"a\"}"));
	rig_send(&r, CALL("14", "cancel", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":13,"), "\"cancelled\":false");
	rig_assert_has(rig_await(&r, "\"id\":14,"), "-32602");
	cr_assert_eq(rig_count(&r, "stream.event"), 4);
}

Test(controller, a_queued_call_is_cancelled_in_each_dialect)
{
	rig_open(&r, ARGS("--workers=1", "--", "--hold-ms=300"));
	rig_load(&r);
	rig_send(&r, TOKENIZE("1", "x"));
	rig_until(&r, is_in_flight);
	rig_send(&r, TOKENIZE("2", "x"));
	rig_send(&r, TOKENIZE("3", "x"));
	rig_send(&r, TOKENIZE("4", "x"));
	rig_send(&r, CALL("5", "cancel", "{\"id\":2}"));
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":3}"));
	rig_send(&r, NOTE("notifications/cancelled", "{\"requestId\":4}"));
	rig_assert_has(rig_await(&r, "\"id\":5,"), "\"cancelled\":true");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32800");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "-32800");
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"tokens\"");
	cr_assert_eq(rig_find(&r, "\"id\":4,"), -1);
	cr_assert_eq(registry_count(r.c->registry), 0);
}

Test(controller, a_call_in_flight_is_answered_at_once_and_its_late_answer_dropped)
{
	rig_open(&r, ARGS("--workers=1", "--", "--mute-first"));
	rig_load(&r);
	rig_send(&r, TOKENIZE("1", "x"));
	rig_until(&r, is_in_flight);
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":1}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32800");
}

Test(controller, a_deadline_is_kept_in_the_queue_and_at_a_worker_that_does_not_answer)
{
	rig_open(&r, ARGS("--workers=1", "--", "--mute-first"));
	rig_load(&r);
	rig_send(&r,
		CALL("1", "tokenize", "{\"model_id\":\"m\",\"text\":\"x\",\"timeout_ms\":150}"));
	rig_until(&r, is_in_flight);
	rig_send(
		&r, CALL("2", "tokenize", "{\"model_id\":\"m\",\"text\":\"x\",\"timeout_ms\":50}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"phase\":\"queued\"");
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32008");
	cr_assert_eq(r.c->metrics.counts[METRICS_TIMEOUTS], 2);
}

Test(controller, the_worker_gets_what_is_left_of_the_timeout)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"m\"}"));
	rig_send(&r,
		CALL("2", "tokenize", "{\"model_id\":\"m\",\"timeout_ms\":30000,\"text\":\"x\"}"));
	const char *text = strstr(rig_await(&r, "\"id\":2,"), "\"timeout_ms\": ");
	cr_assert_not_null(text);
	int left = (int)strtol(text + strlen("\"timeout_ms\": "), NULL, 10);
	cr_assert(left > 0 && left < 30000, "%d", left);
}

Test(controller, beyond_its_bounds_the_queue_says_how_deep_it_is_and_when_to_come_back)
{
	rig_open(&r, ARGS("--workers=1", "--queue-calls=10", "--", "--hold-ms=50"));
	rig_load(&r);
	struct buf burst = BUF_INIT;
	for (int i = 0; i < 40; i++)
		buf_addf(&burst,
			"%s{\"jsonrpc\":\"2.0\",\"id\":\"t%d\",\"method\":\"tokenize\","
			"\"params\":{\"model_id\":\"m\",\"text\":\"x\"}}",
			i ? "\n" : "", i);
	rig_send(&r, "%s", buf_cstr(&burst));
	buf_release(&burst);
	rig_await_n(&r, "\"id\":\"t", 40);
	cr_assert_geq(rig_count(&r, "\"tokens\""), 10);
	rig_assert_has(rig_await(&r, "-32006"), "\"retry_after_ms\"");
	cr_assert_eq(rig_count(&r, "-32006") + rig_count(&r, "\"tokens\""), 40);
}

/* -- models ----------------------------------------------------------------------------- */

Test(controller, an_unload_serves_what_came_before_it_and_refuses_what_comes_after)
{
	rig_open(&r, ARGS("--workers=2", "--", "--hold-ms=20"));
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"m\"}"));
	rig_send(&r, TOKENIZE("2", "x"));
	rig_send(&r, CALL("3", "unload_model", "{\"model_id\":\"m\"}"));
	rig_send(&r, TOKENIZE("4", "x"));
	rig_send(&r, CALL("5", "load_model", "{\"model_id\":\"m\"}"));
	rig_send(&r, TOKENIZE("6", "x"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"tokens\"");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"success\"");
	rig_assert_has(rig_await(&r, "\"id\":4,"), "-32005");
	rig_assert_has(rig_await(&r, "\"id\":6,"), "\"tokens\"");
}

Test(controller, replicas_are_as_many_as_asked_and_models_spread)
{
	rig_open(&r, ARGS("--workers=3"));
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"a\",\"workers\":1}"));
	rig_send(&r, CALL("2", "load_model", "{\"model_id\":\"b\",\"workers\":2}"));
	rig_send(&r, CALL("3", "load_model", "{\"model_id\":\"c\",\"workers\":4}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"replicas\":1");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"replicas\":2");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "-32602");
	cr_assert_eq(models_find(&r.c->models, "a")->has & models_find(&r.c->models, "b")->has, 0);
	rig_send(&r, CALL("4", "list_models", "{}"));
	const char *list = rig_await(&r, "\"id\":4,");
	rig_assert_has(list, "\"a\"");
	rig_assert_has(list, "\"b\"");
	const char *disk = strstr(list, "on-disk");
	cr_assert(disk && !strstr(disk + 1, "on-disk"), "told once: %s", list);
}

Test(controller, a_load_on_fewer_workers_leaves_no_old_model_on_the_others)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_load(&r);
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"m\",\"workers\":1}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"replicas\":1");
	const struct model *m = models_find(&r.c->models, "m");
	cr_assert_eq(m->has, m->wanted);
	cr_assert(m->has == 1 || m->has == 2);
	rig_send(&r, TOKENIZE("2", "x"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"tokens\"");
	rig_send(&r, CALL("3", "load_model", "{\"model_id\":\"m\"}"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"replicas\":2");
}

Test(controller, progress_carries_the_hosts_id_and_comes_once_before_the_answer)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_send(&r, CALL("\"L\"", "load_model", "{\"model_id\":\"m\",\"progress\":true}"));
	rig_await(&r, "\"id\":\"L\"");
	cr_assert_eq(rig_count(&r, "notifications/progress"), 1);
	rig_assert_has(r.messages[0], "\"progressToken\": \"L\"");
}
