/* test_stream_credit.c - streams whose host acknowledges, late or never. */
#include "tests/worker/desk.h"
#include "worker/credit.h"
#include "worker/generate.h"
#include "worker/stream.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(stream_credit, .timeout = 600);

#define GREEDY                                           \
	"\"model_id\":\"m\",\"prompt\":\"It was a cold " \
	"evening\",\"temperature\":0,\"ignore_eos\":true"

static void ask(struct desk *d, const char *stream_id, int max_tokens, const char *more)
{
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":\"%s\",\"method\":\"generate\",\"params\":{" GREEDY
		",\"max_tokens\":%d,\"stream_id\":\"%s\"%s}}",
		stream_id, max_tokens, stream_id, more);
}

static void ack(struct desk *d, const char *stream_id, int index)
{
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"method\":\"stream.ack\",\"params\":{\"stream_id\":\"%s\","
		"\"index\":%d}}",
		stream_id, index);
}

/* Tokens of the stream heard so far, and its text. */
static size_t heard(struct desk *d, const char *stream_id, struct buf *text)
{
	char key[64];
	size_t n = 0;
	snprintf(key, sizeof key, "\"stream_id\":\"%s\"", stream_id);
	buf_clear(text);
	for (size_t i = 0; i < d->n_lines; i++) {
		if (!strstr(d->lines[i], "stream.chunk") || !strstr(d->lines[i], key))
			continue;
		struct json_span one = desk_find(d->lines[i], "params");
		const struct json_span list = json_find(one, "tokens");
		struct json_cursor c = json_iterate(list);
		while (!list.at || json_next_element(&c, &one)) {
			json_get_str(json_find(one, "token"), text);
			n++;
			if (!list.at)
				break;
		}
	}
	return n;
}

static const char *end_of(struct desk *d, const char *stream_id)
{
	char key[96];
	snprintf(key, sizeof key, "\"method\":\"stream.event\",\"params\":{\"stream_id\":\"%s\"",
		stream_id);
	return desk_hear(d, key);
}

static struct stream *find(struct desk *d, const char *stream_id)
{
	return generate_find(&d->w, stream_id);
}

Test(stream_credit, one_that_is_not_acknowledged_waits_and_no_other_does)
{
	struct desk *d = desk_new_loaded();
	struct buf undisturbed = BUF_INIT, text = BUF_INIT;
	ask(d, "stalled", 40, ",\"stream_options\":{\"ack_window\":4}");
	ask(d, "other", 40, "");
	end_of(d, "other");
	cr_assert_eq(heard(d, "other", &undisturbed), 40);
	cr_assert_eq(heard(d, "stalled", &text), 4);
	size_t n = 4;
	for (int index = 3; n < 40; index += 3) {
		ack(d, "stalled", index);
		const size_t allowed = (size_t)index + 1 + 4;
		while ((n = heard(d, "stalled", &text)) < allowed && n < 40)
			desk_count(d, "");
		cr_assert_leq(n, allowed);
	}
	cr_assert(desk_is(end_of(d, "stalled"), "params.finish_reason", "\"length\""));
	cr_assert_str_eq(buf_cstr(&text), buf_cstr(&undisturbed), "nothing lost or told twice");
	buf_release(&undisturbed);
	buf_release(&text);
	desk_free(d);
}

Test(stream_credit, many_waiting_tokens_park_the_sequence_and_travel_together_then)
{
	struct desk *d = desk_new_loaded();
	struct buf undisturbed = BUF_INIT, text = BUF_INIT;
	ask(d, "s", 300, ",\"stream_options\":{\"ack_window\":1}");
	ask(d, "other", 300, "");
	end_of(d, "other");
	heard(d, "other", &undisturbed);
	while (!find(d, "s")->is_parked)
		desk_count(d, "");
	ack(d, "s", 0);
	ack(d, "s", 0);
	/* The next acknowledgement frees one token; a large one, all. */
	for (int index = 1; desk_count(d, "\"stream.event\"") < 2; index += 100)
		ack(d, "s", index);
	cr_assert_eq(heard(d, "s", &text), 300);
	cr_assert_str_eq(buf_cstr(&text), buf_cstr(&undisturbed));
	buf_release(&undisturbed);
	buf_release(&text);
	desk_free(d);
}

Test(stream_credit, one_that_is_never_acknowledged_ends_slow_consumer_with_all_it_had)
{
	struct desk *d = desk_new_loaded();
	struct buf text = BUF_INIT;
	d->w.options.stall_ms = 100;
	ask(d, "s", 400, ",\"stream_options\":{\"ack_window\":2}");
	cr_assert(desk_is(end_of(d, "s"), "params.finish_reason", "\"slow_consumer\""));
	const char *stats = desk_hear(d, "stream.stats");
	int64_t n_generated = 0;
	json_get_int(desk_find(stats, "params.tokens_generated"), &n_generated);
	cr_assert_eq(heard(d, "s", &text), (size_t)n_generated);
	cr_assert_lt(n_generated, 400);
	cr_assert_eq(desk_count(d, "stream.event"), 1);
	buf_release(&text);
	desk_free(d);
}

Test(stream_credit, a_whole_text_that_nobody_acknowledges_is_told_in_the_end_with_its_own_reason)
{
	struct desk *d = desk_new_loaded();
	struct buf text = BUF_INIT;
	d->w.options.stall_ms = 1500; /* far more than these tokens take */
	ask(d, "s", 4, ",\"stream_options\":{\"ack_window\":2}");
	cr_assert(desk_is(end_of(d, "s"), "params.finish_reason", "\"length\""));
	cr_assert_eq(heard(d, "s", &text), 4);
	buf_release(&text);
	desk_free(d);
}

Test(stream_credit, a_cancel_waits_for_no_acknowledgement)
{
	struct desk *d = desk_new_loaded();
	ask(d, "whole", 20, ",\"stream_options\":{\"ack_window\":2}");
	ask(d, "running", 400, ",\"stream_options\":{\"ack_window\":2}");
	ask(d, "other", 20, "");
	end_of(d, "other");
	cr_assert(desk_is(desk_ask(d, "1", "cancel", "{\"stream_id\":\"whole\"}"),
		"result.cancelled", "true"));
	cr_assert(desk_is(desk_ask(d, "2", "cancel", "{\"stream_id\":\"running\"}"),
		"result.cancelled", "true"));
	cr_assert(desk_is(end_of(d, "whole"), "params.event", "\"completed\""));
	cr_assert(desk_is(end_of(d, "running"), "params.finish_reason", "\"cancelled\""));
	desk_free(d);
}

Test(stream_credit, an_acknowledgement_of_nothing_we_know_is_no_matter)
{
	struct desk *d = desk_new_loaded();
	struct buf text = BUF_INIT;
	ack(d, "unknown", 3);
	ask(d, "s", 20, "");
	ack(d, "s", -7);
	ack(d, "s", 2000000000);
	cr_assert(desk_is(end_of(d, "s"), "params.finish_reason", "\"length\""));
	ack(d, "s", 19);
	cr_assert_eq(heard(d, "s", &text), 20);
	buf_release(&text);
	desk_free(d);
}
