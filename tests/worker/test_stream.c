#include "tests/worker/desk.h"
#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(stream, .timeout = 600);

#define GREEDY "\"model_id\":\"m\",\"prompt\":\"It was a cold evening\",\"temperature\":0"

/* The tokens of a stream so far, whichever form their chunk had. */
static size_t tokens_of(struct desk *d, const char *stream_id, struct buf *text, int64_t *ids)
{
	char key[64];
	size_t n = 0;
	snprintf(key, sizeof key, "\"stream_id\":\"%s\"", stream_id);
	for (size_t i = 0; i < d->n_lines; i++) {
		if (!strstr(d->lines[i], "stream.chunk") || !strstr(d->lines[i], key))
			continue;
		const struct json_span params = desk_find(d->lines[i], "params");
		const struct json_span list = json_find(params, "tokens");
		struct json_cursor c = json_iterate(list.at ? list : params);
		struct json_span one = params;
		while (list.at ? json_next_element(&c, &one) : one.at != NULL) {
			json_get_str(json_find(one, "token"), text);
			if (ids)
				json_get_int(json_find(one, "token_id"), &ids[n]);
			n++;
			if (!list.at)
				break;
		}
	}
	return n;
}

Test(stream, is_a_handshake_then_chunks_then_stats_then_one_event)
{
	struct desk *d = desk_new_loaded();
	const size_t from = d->n_lines;
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{" GREEDY
		    ",\"max_tokens\":12,\"stream_id\":\"s\",\"seed\":5}}");
	desk_hear(d, "stream.event");
	cr_assert(desk_is(d->lines[from], "result.stream_id", "\"s\""), "%s", d->lines[from]);
	cr_assert(desk_is(d->lines[from], "result.seed", "5"));
	for (size_t i = from + 1; i < d->n_lines - 2; i++)
		cr_assert(strstr(d->lines[i], "stream.chunk"), "%s", d->lines[i]);
	cr_assert(desk_is(d->lines[d->n_lines - 2], "params.tokens_generated", "12"));
	cr_assert(desk_is(d->lines[d->n_lines - 2], "params.usage.completion_tokens", "12"));
	cr_assert(desk_is(d->lines[d->n_lines - 1], "params.event", "\"completed\""));
	cr_assert(desk_is(d->lines[d->n_lines - 1], "params.finish_reason", "\"length\""));
	cr_assert(desk_is(d->lines[d->n_lines - 1], "params.is_final", "true"));
	desk_free(d);
}

Test(stream, says_the_same_text_as_the_whole_result)
{
	struct desk *d = desk_new_loaded();
	struct buf streamed = BUF_INIT, whole = BUF_INIT;
	desk_ask(d, "1", "generate", "{" GREEDY ",\"max_tokens\":30,\"stream_id\":\"s\"}");
	desk_hear(d, "stream.event");
	const char *answer =
		desk_ask(d, "2", "generate", "{" GREEDY ",\"max_tokens\":30,\"stream\":false}");
	json_get_str(desk_find(answer, "result.text"), &whole);
	cr_assert_eq(tokens_of(d, "s", &streamed, NULL), 30);
	cr_assert_str_eq(buf_cstr(&streamed), buf_cstr(&whole));
	buf_release(&streamed);
	buf_release(&whole);
	desk_free(d);
}

Test(stream, tokens_travel_together_when_the_host_asks_for_it)
{
	struct desk *d = desk_new_loaded();
	desk_ask(d, "1", "generate",
		"{" GREEDY ",\"max_tokens\":12,\"stream_id\":\"s\","
		"\"stream_options\":{\"interval_tokens\":4}}");
	desk_hear(d, "stream.event");
	/* Each but the last holds at least what was asked for. */
	size_t n_chunks = 0;
	int64_t before = 4;
	for (size_t i = 0; i < d->n_lines; i++) {
		if (!strstr(d->lines[i], "stream.chunk"))
			continue;
		const struct json_span params = desk_find(d->lines[i], "params");
		int64_t n = 1;
		json_get_int(json_find(params, "batch_size"), &n);
		cr_assert_geq(before, 4);
		before = n;
		n_chunks++;
	}
	cr_assert_leq(n_chunks, 3);
	desk_free(d);
}

Test(stream, a_token_waits_no_longer_for_others_than_the_host_allows)
{
	struct desk *d = desk_new_loaded();
	struct buf text = BUF_INIT;
	desk_ask(d, "1", "generate",
		"{" GREEDY ",\"max_tokens\":40,\"stream_id\":\"s\","
		"\"stream_options\":{\"max_delay_ms\":1,\"interval_tokens\":4096}}");
	desk_hear(d, "stream.event");
	cr_assert_eq(tokens_of(d, "s", &text, NULL), 40);
	buf_release(&text);
	desk_free(d);
}

Test(stream, cumulative_text_comes_only_when_asked_for)
{
	struct desk *d = desk_new_loaded();
	struct buf streamed = BUF_INIT, whole = BUF_INIT;
	desk_ask(d, "1", "generate", "{" GREEDY ",\"max_tokens\":5,\"stream_id\":\"a\"}");
	desk_hear(d, "stream.event");
	cr_assert_eq(desk_count(d, "cumulative_text"), 0);
	const size_t from = d->n_lines;
	desk_ask(d, "2", "generate",
		"{" GREEDY ",\"max_tokens\":5,\"stream_id\":\"b\","
		"\"stream_options\":{\"cumulative_text\":true,"
		"\"interval_tokens\":1}}");
	desk_hear_from(d, from, "stream.event");
	tokens_of(d, "b", &streamed, NULL);
	for (size_t i = d->n_lines; i-- > from;) {
		if (!strstr(d->lines[i], "cumulative_text"))
			continue;
		struct json_span params = desk_find(d->lines[i], "params"), last = params;
		struct json_cursor c = json_iterate(json_find(params, "tokens").at
							    ? json_find(params, "tokens")
							    : (struct json_span) { "[]", 2 });
		while (json_next_element(&c, &last))
			;
		json_get_str(json_find(last, "cumulative_text"), &whole);
		break;
	}
	cr_assert_str_eq(buf_cstr(&whole), buf_cstr(&streamed));
	buf_release(&streamed);
	buf_release(&whole);
	desk_free(d);
}

Test(stream, many_at_once_each_equal_the_same_request_alone)
{
	struct desk *d = desk_new_loaded();
	int64_t alone[12][24], together[12][24];
	struct buf text = BUF_INIT;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 12; i++) {
			const size_t from = d->n_lines;
			desk_say(d,
				"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{"
				"\"model_id\":\"m\",\"prompt\":\"Chapter %d. "
				"The\",\"max_tokens\":24,"
				"\"ignore_eos\":true,\"temperature\":%s,\"seed\":%d,"
				"\"stream_id\":\"%d-%d\"}}",
				i, i % 2 ? "0.8" : "0", i, round, i);
			if (round == 0)
				desk_hear_from(d, from, "stream.event");
		}
		for (int i = 0; i < 12; i++) {
			char id[32], key[96];
			snprintf(id, sizeof id, "%d-%d", round, i);
			snprintf(key, sizeof key,
				"\"stream.event\",\"params\":{\"stream_id\":\"%s\"", id);
			desk_hear(d, key);
			cr_assert_eq(tokens_of(d, id, &text, round ? together[i] : alone[i]), 24);
		}
	}
	cr_assert_arr_eq(alone, together, sizeof alone);
	buf_release(&text);
	desk_free(d);
}

Test(stream, a_batch_gives_its_handshakes_before_any_chunk)
{
	struct desk *d = desk_new_loaded();
	const char *answer = desk_ask(d, "1", "batch_generate",
		"{\"requests\":[{" GREEDY ",\"max_tokens\":4,\"stream_id\":\"a\"},"
		"{" GREEDY ",\"max_tokens\":4,\"stream_id\":\"a\"},"
		"{" GREEDY ",\"max_tokens\":4,\"stream_id\":\"b\"},{" GREEDY
		",\"max_tokens\":99999}]}");
	cr_assert(strstr(answer, "Stream ID 'a' is already in use"));
	cr_assert(strstr(answer, "max_tokens"));
	for (size_t i = 0; d->lines[i] != answer; i++)
		cr_assert_not(strstr(d->lines[i], "stream.chunk"), "a chunk before the handshakes");
	desk_hear(d, "\"stream.event\",\"params\":{\"stream_id\":\"a\"");
	desk_hear(d, "\"stream.event\",\"params\":{\"stream_id\":\"b\"");
	cr_assert_eq(desk_count(d, "stream.event"), 2);
	desk_free(d);
}

Test(stream, n_choices_are_marked_and_end_together)
{
	struct desk *d = desk_new_loaded();
	const char *answer = desk_ask(d, "1", "generate",
		"{\"model_id\":\"m\",\"prompt\":\"The\",\"max_tokens\":6,\"n\":3,\"seed\":1,"
		"\"temperature\":1,\"ignore_eos\":true,\"stream\":false}");
	struct json_cursor c = json_iterate(desk_find(answer, "result.choices"));
	struct json_span one;
	size_t n = 0;
	while (json_next_element(&c, &one)) {
		int64_t index = -1;
		cr_assert(json_get_int(json_find(one, "index"), &index) && index == (int64_t)n);
		struct json_cursor t = json_iterate(json_find(one, "tokens"));
		struct json_span id;
		size_t n_tokens = 0;
		while (json_next_element(&t, &id))
			n_tokens++;
		cr_assert_eq(n_tokens, 6);
		n++;
	}
	cr_assert_eq(n, 3);
	cr_assert(desk_is(answer, "result.usage.completion_tokens", "18"));
	desk_ask(d, "2", "generate",
		"{\"model_id\":\"m\",\"prompt\":\"The\",\"max_tokens\":6,\"n\":2,"
		"\"stream_id\":\"s\"}");
	desk_hear(d, "stream.event");
	cr_assert_eq(desk_count(d, "stream.event"), 1);
	cr_assert_eq(desk_count(d, "stream.stats"), 1);
	cr_assert_gt(desk_count(d, "\"choice\":1"), 0);
	desk_free(d);
}

Test(stream, a_prompt_that_does_not_fit_is_refused_before_any_handshake)
{
	struct desk *d = desk_new_loaded();
	struct buf params = BUF_INIT;
	buf_adds(&params, "{\"model_id\":\"m\",\"prompt_tokens\":[");
	for (int i = 0; i < 600; i++)
		buf_addf(&params, "%s5", i ? "," : "");
	buf_adds(&params, "]}");
	const char *answer = desk_ask(d, "1", "generate", buf_cstr(&params));
	cr_assert(desk_is(answer, "error.code", "-32007"), "%s", answer);
	cr_assert(desk_is(answer, "error.data.prompt_tokens", "600"));
	cr_assert_eq(desk_count(d, "stream."), 0);
	buf_release(&params);
	desk_free(d);
}

Test(stream, a_very_long_prompt_is_tokenized_aside_and_still_answered)
{
	struct desk *d = desk_new_loaded();
	struct buf params = BUF_INIT;
	buf_adds(&params, "{\"model_id\":\"m\",\"prompt\":\"");
	while (params.n_bytes < 400000)
		buf_adds(&params, "the house and the garden ");
	buf_adds(&params, "\",\"max_tokens\":2,\"stream_id\":\"long\",\"truncate\":\"left\"}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":%s}",
		buf_cstr(&params));
	cr_assert_eq(d->n_lines, 1, "the I/O thread does not wait for it");
	cr_assert(desk_is(desk_ask(d, "2", "ping", "{}"), "id", "2"));
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "result.stream_id", "\"long\""));
	cr_assert(desk_is(desk_hear(d, "stream.event"), "params.finish_reason", "\"length\""));
	cr_assert(strstr(desk_hear(d, "stream.stats"), "truncated_tokens"));
	buf_release(&params);
	desk_free(d);
}

Test(stream, is_as_long_as_the_model_says_when_the_request_says_nothing)
{
	struct desk *d = desk_new_loaded();
	const char *a = desk_ask(d, "1", "generate",
		"{\"model_id\":\"m\",\"prompt\":\"a\",\"temperature\":0,\"ignore_eos\":true,"
		"\"stream\":false}");
	/* max_new_tokens of its generation_config.json; more is a matter of asking. */
	cr_assert(desk_is(a, "result.usage.completion_tokens", "256"), "%s", a);
	const char *b = desk_ask(d, "2", "generate",
		"{\"model_id\":\"m\",\"prompt\":\"a\",\"temperature\":0,\"stream\":false,"
		"\"min_tokens\":300}");
	cr_assert(desk_is(b, "result.usage.completion_tokens", "300"), "%s", b);
	desk_free(d);
}
