/* test_flow.c - hosts that read late, not at all, or only what they like. */
#include "controller/heartbeat.h"
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

RIG_SUITE(flow);

static size_t n_tokens_of_s(struct rig *rig)
{
	const struct stream *s = stream_find(&rig->c->streams, "s");
	return s ? s->n_tokens : 0;
}

static bool has_used_its_window(struct rig *rig)
{
	return n_tokens_of_s(rig) == 16;
}

static bool has_answered_pings(struct rig *rig)
{
	const struct metrics_method *m;
	for (m = rig->c->metrics.methods; m; m = m->hh.next)
		if (!strcmp(m->key.method, "ping"))
			return m->n == 2000;
	return false;
}

#define BIG_TOKENS "--ack-window=16", "--", "--token-ms=0", "--token-bytes=100000"

Test(flow, a_host_that_does_not_read_stops_its_streams_not_its_own_input_and_loses_nothing)
{
	rig_open(&r, ARGS("--workers=1", BIG_TOKENS));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":100"));
	r.is_deaf = true;
	rig_until(&r, has_used_its_window);
	cr_assert_lt(host_queued(r.c->host), (size_t)17 * 100200);
	for (int i = 0; i < 2000; i++)
		rig_send(&r, CALL("2", "ping", "{}"));
	rig_until(&r, has_answered_pings);
	cr_assert_eq(n_tokens_of_s(&r), 16);
	r.is_deaf = false;
	rig_await_n(&r, "\"uptime\"", 2000);
	rig_await(&r, "stream.event");
	cr_assert_eq(rig_count(&r, "stream.chunk"), 100);
}

static bool is_found(struct rig *rig)
{
	return rig->c->metrics.counts[METRICS_SILENT] > 0;
}

Test(flow, a_worker_that_gets_stuck_while_nobody_reads_is_found)
{
	rig_open(&r, ARGS("--workers=1", "--heartbeat-ms=2000", BIG_TOKENS));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":100"));
	r.is_deaf = true;
	rig_until(&r, has_used_its_window);
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_until(&r, is_found);
}

static bool is_full(struct rig *rig)
{
	return host_level(rig->c->host) == HOST_FULL;
}

Test(flow, a_worker_that_keeps_to_no_credit_is_left_unread_and_no_call_goes_to_it)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=0", "--token-bytes=500000", "--floods"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":150"));
	r.is_deaf = true;
	rig_until(&r, is_full);
	cr_assert_lt(host_queued(r.c->host), HOST_FULL_BYTES + (2 << 20));
	rig_send(&r, TOKENIZE("2", "a bb") "\n" CALL("3", "ping", "{}"));
	rig_until(&r, is_full);
	r.is_deaf = false;
	rig_assert_has(rig_await(&r, "\"id\":2,"), "[1, 2]");
	rig_await(&r, "stream.event");
	cr_assert_eq(rig_count(&r, "stream.chunk"), 150);
	cr_assert_lt(rig_find(&r, "\"id\":3,"), rig_find(&r, "\"id\":2,"));
}

Test(flow, a_stream_that_is_not_acknowledged_waits_and_no_other_does)
{
	rig_open(&r, ARGS("--workers=1", "--ack-window=8"));
	rig_load(&r);
	rig_send(
		&r, GENERATE("1", "s", ",\"max_tokens\":30,\"stream_options\":{\"ack_window\":3}"));
	rig_send(&r, GENERATE("2", "t", ",\"max_tokens\":60"));
	rig_await(&r, "\"stream_id\": \"t\", \"event\"");
	cr_assert_eq(n_tokens_of_s(&r), 3);
	for (int index = 0; index < 30; index++) {
		rig_send(&r, NOTE("stream.ack", "{\"stream_id\":\"s\",\"index\":%d}"), index);
		const size_t n = index + 4 < 30 ? (size_t)index + 4 : 30;
		rig_await_n(&r, "\"stream_id\": \"s\", \"token\"", n);
		cr_assert_leq(rig_count(&r, "\"stream_id\": \"s\", \"token\""), n);
	}
	rig_await(&r, "\"stream_id\": \"s\", \"event\"");
}

Test(flow, who_acknowledges_unasked_is_taken_at_his_word_from_then_on)
{
	rig_open(&r, ARGS("--workers=1", "--ack-window=8"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":60"));
	rig_send(&r, NOTE("stream.ack", "{\"stream_id\":\"s\",\"index\":-3}"));
	rig_send(&r, NOTE("stream.ack", "{\"stream_id\":\"unknown\",\"index\":3}"));
	rig_await(&r, "\"token_id\": 12,");
	rig_send(&r, NOTE("stream.ack", "{\"stream_id\":\"s\",\"index\":99}"));
	rig_send(&r, GENERATE("2", "t", ",\"max_tokens\":120"));
	rig_await(&r, "\"stream_id\": \"t\", \"event\"");
	const struct stream *s = stream_find(&r.c->streams, "s");
	cr_assert(s && s->is_acked && s->n_tokens <= s->n_acked + 8);
	rig_send(&r, NOTE("stream.ack", "{\"stream_id\":\"s\",\"index\":99}"));
	while (stream_find(&r.c->streams, "s")) {
		rig_send(&r, CALL("3", "ping", "{}"));
		rig_send(&r, NOTE("stream.ack", "{\"stream_id\":\"s\",\"index\":99}"));
		rig_await_n(&r, "\"id\":3,", rig_count(&r, "\"id\":3,") + 1);
	}
}

Test(flow, a_continuation_after_a_crash_has_its_window_too)
{
	rig_open(&r, ARGS("--workers=2", "--ack-window=8"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":60,\"resume\":\"replay\""));
	rig_await(&r, "\"token_id\": 20,");
	const int worker = stream_find(&r.c->streams, "s")->worker;
	kill(r.c->fleet.workers[worker].pid, SIGKILL);
	rig_await(&r, "stream.event");
	cr_assert_eq(rig_count(&r, "\"token_id\""), 60);
}
