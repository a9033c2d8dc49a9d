/* test_once.c - what is asked twice with one idempotency_key is done once. */
#include "controller/progress.h"
#include "protocol/limits.h"
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- the table -------------------------------------------------------------------------- */

TestSuite(once, .timeout = 10);

static struct once_digest digest(const char *params)
{
	return once_digest((struct json_span) { params, strlen(params) });
}

static bool is_same(const char *a, const char *b)
{
	struct once_entry e = { .asked = digest(a) };
	return once_is_same(&e, digest(b));
}

Test(once, the_same_is_asked_whatever_the_order_and_the_delivery)
{
	cr_assert(is_same("{\"a\":1,\"b\":\"x\"}", "{ \"b\" : \"x\", \"a\" : 1 }"));
	cr_assert(is_same("{\"a\":1}", "{\"a\":1,\"timeout_ms\":5,\"_meta\":{}}"));
	cr_assert_not(is_same("{\"a\":1}", "{\"a\":2}"));
	cr_assert_not(is_same("{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}"));
	cr_assert_not(is_same("{\"a\":1}", "{}"));
}

static struct once o;

static void answer_new(const char *name, enum answer a, const char *body, size_t n, uint64_t now)
{
	struct call call = { .wants_stream = false };
	cr_assert_null(once_find(&o, name, now));
	once_begin(&o, name, digest("{}"), &call);
	cr_assert_eq(once_find(&o, name, now)->first, &call);
	once_answered(&call, a, (struct json_span) { body, n }, now);
}

Test(once, results_are_kept_for_a_time_and_errors_are_not)
{
	once_init(&o);
	answer_new("good", ANSWER_RESULT, "{}", 2, 1000);
	answer_new("bad", ANSWER_ERROR, "{}", 2, 1000);
	cr_assert_not_null(once_find(&o, "good", 1000 + ONCE_KEEP_US));
	cr_assert_null(once_find(&o, "bad", 1000));
	cr_assert_null(once_find(&o, "good", 1001 + ONCE_KEEP_US));
	cr_assert_eq(o.n_kept + o.n_bytes, 0);
	once_release(&o);
}

Test(once, the_oldest_make_room_in_number_and_in_bytes_and_giants_are_not_kept)
{
	char name[32], *big = calloc(1, ONCE_ANSWER_BYTES + 1);
	once_init(&o);
	for (int i = 0; i <= ONCE_KEPT; i++) {
		snprintf(name, sizeof name, "%d", i);
		answer_new(name, ANSWER_RESULT, "{}", 2, (uint64_t)i + 1);
	}
	cr_assert_null(once_find(&o, "0", ONCE_KEPT));
	cr_assert_not_null(once_find(&o, "1", ONCE_KEPT));
	for (size_t i = 0; i <= ONCE_BYTES / ONCE_ANSWER_BYTES; i++) {
		snprintf(name, sizeof name, "big%zu", i);
		answer_new(name, ANSWER_RESULT, big, ONCE_ANSWER_BYTES, ONCE_KEPT);
	}
	cr_assert_null(once_find(&o, "big0", ONCE_KEPT));
	cr_assert_not_null(once_find(&o, "big1", ONCE_KEPT));
	answer_new("giant", ANSWER_RESULT, big, ONCE_ANSWER_BYTES + 1, ONCE_KEPT);
	cr_assert_null(once_find(&o, "giant", ONCE_KEPT));
	cr_assert_leq(o.n_bytes, ONCE_BYTES);
	once_release(&o);
	free(big);
}

/* -- in the controller ------------------------------------------------------------------ */

#define KEYED(id, text, more) \
	CALL(id, "tokenize",  \
		"{\"model_id\":\"m\",\"text\":\"" text "\",\"idempotency_key\":\"k\"" more "}")
#define KEYED_STREAM(id, more) \
	CALL(id, "generate",   \
		"{\"model_id\":\"m\",\"prompt\":\"p\",\"idempotency_key\":\"k\"" more "}")

RIG_SUITE(joined);

static bool one_waits(struct rig *rig)
{
	return rig->c->once.by_name && !TAILQ_EMPTY(&rig->c->once.by_name->waiters);
}

/* Of the worker's frames a stopped worker answers none: what comes then comes from us. */
Test(joined, a_repeated_call_gets_the_answer_of_the_first_while_it_runs_and_later)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_send(&r, KEYED("1", "a bb", ""));
	rig_send(&r, KEYED("2", "a bb", ",\"timeout_ms\":600000"));
	rig_until(&r, one_waits);
	kill(r.c->fleet.workers[0].pid, SIGCONT);
	rig_assert_has(rig_await(&r, "\"id\":1,"), "[1, 2]");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "[1, 2]");
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_send(&r, KEYED("3", "a bb", ""));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "[1, 2]");
	cr_assert_eq(r.c->metrics.counts[METRICS_JOINED], 2);
	kill(r.c->fleet.workers[0].pid, SIGCONT);
}

Test(joined, what_differs_is_refused_and_other_clients_have_keys_of_their_own)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	rig_send(&r, KEYED("1", "a", ""));
	rig_send(&r, KEYED("2", "bb", ""));
	const char *refused = rig_await(&r, "\"id\":2,");
	rig_assert_has(refused, "-32602");
	rig_assert_has(refused, "\"path\":\"idempotency_key\"");
	rig_send(&r, KEYED("3", "ccc", ",\"client\":\"other\""));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "[3]");
	rig_send(&r,
		CALL("5", "tokenize", "{\"model_id\":\"m\",\"text\":\"a\",\"idempotency_key\":7}"));
	rig_assert_has(rig_await(&r, "\"id\":5,"), "-32602");
}

Test(joined, an_error_is_told_to_all_who_wait_and_may_be_tried_again)
{
	rig_open(&r, ARGS("--workers=1", "--", "--die-on=poison"));
	rig_load(&r);
	rig_send(&r, KEYED("1", "a poison", ""));
	rig_send(&r, KEYED("2", "a poison", ""));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"poison\":true");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"poison\":true");
	rig_send(&r, KEYED("3", "fine", ""));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "[4]");
}

Test(joined, a_repeated_generate_joins_the_stream_and_is_told_when_it_is_over)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, KEYED_STREAM("1", ",\"max_tokens\":20"));
	rig_await(&r, "stream.chunk");
	rig_send(&r, KEYED_STREAM("2", ",\"max_tokens\":20"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"joined\":true,\"ended\":false");
	rig_await(&r, "stream.event");
	rig_send(&r, KEYED_STREAM("3", ",\"max_tokens\":20"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"joined\":true,\"ended\":true");
	cr_assert_eq(rig_count(&r, "stream.chunk"), 20);
	rig_send(&r, KEYED_STREAM("4", ",\"max_tokens\":20,\"stream_id\":\"mine\""));
	rig_assert_has(rig_await(&r, "\"id\":4,"), "-32602");
}

Test(joined, a_stream_that_was_cut_short_begins_anew)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, KEYED_STREAM("1", ",\"max_tokens\":4000,\"stream_id\":\"s\""));
	rig_await(&r, "stream.chunk");
	rig_send(&r, CALL("2", "cancel", "{\"stream_id\":\"s\"}"));
	rig_await(&r, "stream.event");
	rig_send(&r, KEYED_STREAM("3", ",\"max_tokens\":4000,\"stream_id\":\"s\""));
	cr_assert_null(strstr(rig_await(&r, "\"id\":3,"), "joined"));
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_send(&r, CALL("4", "cancel", "{\"id\":3}"));
	rig_await_n(&r, "stream.event", 2);
	rig_send(&r, KEYED_STREAM("5", ",\"max_tokens\":3,\"stream_id\":\"s\""));
	cr_assert_null(strstr(rig_await(&r, "\"id\":5,"), "joined"));
	rig_await(&r, "\"finish_reason\": \"length\"");
	rig_send(&r, KEYED_STREAM("6", ",\"max_tokens\":3,\"stream_id\":\"s\""));
	rig_assert_has(rig_await(&r, "\"id\":6,"), "\"joined\":true,\"ended\":true");
}

Test(joined, a_key_that_is_too_long_is_refused)
{
	char key[2 * LIMIT_IDEMPOTENCY + 3], text[1024];
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	for (size_t n = LIMIT_IDEMPOTENCY; n <= LIMIT_IDEMPOTENCY + 1; n++) {
		for (size_t i = 0; i < n; i++)
			memcpy(key + 2 * i, "\xc3\xbc", 2);
		key[2 * n] = '\0';
		snprintf(text, sizeof text,
			CALL("%zu", "tokenize",
				"{\"model_id\":\"m\",\"text\":\"a\",\"idempotency_key\":\"%s\"}"),
			n, key);
		rig_send(&r, "%s", text);
	}
	rig_assert_has(rig_await(&r, "\"id\":256,"), "[1]");
	rig_assert_has(rig_await(&r, "\"id\":257,"), "max 256");
}

Test(joined, one_that_waits_is_cancelled_or_times_out_by_itself)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_send(&r, KEYED("1", "a", ""));
	rig_send(&r, KEYED("2", "a", ""));
	rig_send(&r, KEYED("3", "a", ",\"timeout_ms\":1"));
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":2}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32800");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "-32008");
	kill(r.c->fleet.workers[0].pid, SIGCONT);
	rig_assert_has(rig_await(&r, "\"id\":1,"), "[1]");
}

/* -- who leaves costs only itself ------------------------------------------------------- */

static size_t n_waiting(const struct rig *rig)
{
	const struct call *call;
	size_t n = 0;
	if (rig->c->once.by_name)
		TAILQ_FOREACH (call, &rig->c->once.by_name->waiters, joined)
			n++;
	return n;
}

static bool two_wait(struct rig *rig)
{
	return n_waiting(rig) == 2;
}

static void signal_worker(int sig)
{
	kill(r.c->fleet.workers[0].pid, sig);
}

Test(joined, the_first_is_cancelled_in_any_dialect_and_the_last_gets_the_answer)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	signal_worker(SIGSTOP);
	rig_send(&r, KEYED("1", "a bb", ""));
	rig_send(&r, KEYED("2", "a bb", ""));
	rig_send(&r, KEYED("\"3\"", "a bb", ",\"timeout_ms\":600000"));
	rig_until(&r, two_wait);
	rig_send(&r, CALL("10", "cancel", "{\"id\":1}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32800");
	rig_assert_has(rig_await(&r, "\"id\":10,"), "\"cancelled\":true");
	rig_send(&r, NOTE("notifications/cancelled", "{\"requestId\":2}"));
	rig_send(&r, CALL("11", "cancel", "{\"id\":2}"));
	rig_assert_has(rig_await(&r, "\"id\":11,"), "\"cancelled\":false");
	signal_worker(SIGCONT);
	rig_assert_has(rig_await(&r, "\"id\":\"3\","), "[1, 2]");
	cr_assert_eq(rig_count(&r, "\"id\":2,"), 0);
	cr_assert_eq(r.c->metrics.counts[METRICS_FRAMES_OUT], 1);
	cr_assert_eq(registry_count(r.c->registry), 0);
}

static bool is_news(const char *step)
{
	return progress_is_news(r.c->registry, false, (struct json_span) { step, strlen(step) });
}

Test(joined, who_left_hears_nothing_more_of_its_progress)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	signal_worker(SIGSTOP);
	rig_send(&r, KEYED("1", "a", ",\"_meta\":{\"progressToken\":\"t\"}"));
	rig_send(&r, KEYED("2", "a", ""));
	rig_until(&r, one_waits);
	cr_assert(is_news("{\"progressToken\":\"t\",\"progress\":0.1}"));
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":1}"));
	rig_await(&r, "\"id\":1,");
	cr_assert_not(is_news("{\"progressToken\":\"t\",\"progress\":0.2}"));
	signal_worker(SIGCONT);
	rig_assert_has(rig_await(&r, "\"id\":2,"), "[1]");
}

Test(joined, with_the_last_the_work_is_cancelled)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	signal_worker(SIGSTOP);
	rig_send(&r, KEYED("1", "a", ""));
	rig_send(&r, KEYED("2", "a", ""));
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":1}"));
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":2}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32800");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32800");
	cr_assert_null(r.c->once.by_name, "it may be asked for again");
	rig_send(&r, KEYED("3", "bbb", ""));
	signal_worker(SIGCONT);
	rig_assert_has(rig_await(&r, "\"id\":3,"), "[3]");
}

Test(joined, the_first_is_out_of_time_and_the_work_goes_on_in_the_others_time)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	signal_worker(SIGSTOP);
	rig_send(&r, KEYED("1", "a", ",\"timeout_ms\":1"));
	rig_send(&r, KEYED("2", "a", ",\"timeout_ms\":2"));
	rig_send(&r, KEYED("3", "a", ""));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "timeout of 1 ms");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "timeout of 2 ms");
	signal_worker(SIGKILL);
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"timeout_ms\": null");
}

Test(joined, a_worker_that_ends_the_work_for_the_first_ones_time_does_it_again_for_the_others)
{
	rig_open(&r, ARGS("--workers=1", "--", "--fail=-32008:timeout"));
	rig_load(&r);
	rig_send(&r, KEYED("1", "a", ",\"timeout_ms\":600000"));
	rig_send(&r, KEYED("2", "a", ""));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32008");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32008");
	cr_assert_eq(r.c->metrics.counts[METRICS_FRAMES_OUT], 2);
}

Test(joined, a_stream_is_cancelled_with_the_last_id_that_asked_for_it)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=10"));
	rig_load(&r);
	signal_worker(SIGSTOP);
	for (int i = 1; i <= 3; i++)
		rig_send(&r,
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"generate\",\"params\":"
			"{\"model_id\":\"m\",\"prompt\":\"p\",\"idempotency_key\":\"k\","
			"\"max_tokens\":4000}}",
			i);
	rig_until(&r, two_wait);
	/* Before its handshake, and whose name it has then goes on after a crash. */
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":1}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32800");
	signal_worker(SIGKILL);
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"stream_id\"");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"joined\":true");
	rig_await_n(&r, "stream.chunk", 2);
	rig_send(&r, CALL("10", "cancel", "{\"id\":2}"));
	rig_assert_has(rig_await(&r, "\"id\":10,"), "\"cancelled\":true");
	rig_await_n(&r, "stream.chunk", rig_count(&r, "stream.chunk") + 2);
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":2}"));
	rig_await_n(&r, "stream.chunk", rig_count(&r, "stream.chunk") + 2);
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":3}"));
	rig_assert_has(rig_await(&r, "stream.event"), "cancelled");
}

Test(joined, a_stream_id_means_the_stream_whoever_wants_it)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	signal_worker(SIGSTOP);
	rig_send(&r, KEYED_STREAM("1", ",\"stream_id\":\"s\""));
	rig_send(&r, KEYED_STREAM("2", ",\"stream_id\":\"s\""));
	rig_until(&r, one_waits);
	rig_send(&r, CALL("3", "cancel", "{\"stream_id\":\"s\"}"));
	rig_send(&r, CALL("4", "ping", "{}"));
	rig_await(&r, "\"id\":4,");
	signal_worker(SIGKILL);
	rig_await(&r, "\"id\":1,");
	rig_await(&r, "\"id\":2,");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "true");
	cr_assert_eq(r.c->streams.n, 0);
}

Test(joined, a_batch_that_is_cancelled_costs_only_its_items)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	signal_worker(SIGSTOP);
	rig_send(&r, CALL("1", "batch_tokenize",
			     "{\"requests\":["
			     "{\"model_id\":\"m\",\"text\":\"a\",\"idempotency_key\":\"k\"},"
			     "{\"model_id\":\"m\",\"text\":\"a\",\"idempotency_key\":\"k\"}]}"));
	rig_send(&r, KEYED("2", "a", ""));
	rig_until(&r, two_wait);
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":1}"));
	const char *text = rig_await(&r, "\"id\":1,");
	rig_assert_has(strstr(text, "-32800") + 1, "-32800");
	signal_worker(SIGCONT);
	rig_assert_has(rig_await(&r, "\"id\":2,"), "[1]");
	cr_assert_eq(registry_count(r.c->registry), 0);
}

Test(joined, items_of_a_batch_join_too)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	rig_send(&r, CALL("1", "batch_tokenize",
			     "{\"requests\":["
			     "{\"model_id\":\"m\",\"text\":\"a\",\"idempotency_key\":\"k\"},"
			     "{\"model_id\":\"m\",\"text\":\"a\",\"idempotency_key\":\"k\"}]}"));
	rig_await(&r, "\"id\":1,");
	cr_assert_eq(r.c->metrics.counts[METRICS_JOINED], 1);
}
