#include "tests/worker/desk.h"
#include <criterion/criterion.h>

TestSuite(cancel, .timeout = 600);

/* Runs until cancelled, as far as a test is concerned. */
#define LONG                                                                               \
	"\"model_id\":\"m\",\"prompt\":\"It was\",\"max_tokens\":450,\"ignore_eos\":true," \
	"\"temperature\":0"

static struct desk *desk_with_stream(void)
{
	struct desk *d = desk_new_loaded();
	desk_ask(d, "1", "generate", "{" LONG ",\"stream_id\":\"s\"}");
	desk_hear(d, "stream.chunk");
	return d;
}

Test(cancel, by_stream_id_ends_the_stream_before_it_is_answered)
{
	struct desk *d = desk_with_stream();
	const char *answer = desk_ask(d, "2", "cancel", "{\"stream_id\":\"s\"}");
	cr_assert(desk_is(answer, "result.cancelled", "true"));
	cr_assert_eq(d->lines[d->n_lines - 1], answer, "nothing may follow it");
	cr_assert(desk_is(d->lines[d->n_lines - 2], "params.finish_reason", "\"cancelled\""));
	cr_assert(desk_is(d->lines[d->n_lines - 2], "params.event", "\"completed\""));
	cr_assert(strstr(d->lines[d->n_lines - 3], "stream.stats"));
	cr_assert(desk_is(
		desk_ask(d, "3", "cancel", "{\"stream_id\":\"s\"}"), "result.cancelled", "false"));
	desk_free(d);
}

Test(cancel, by_the_id_of_a_request_whose_handshake_was_answered_ends_its_stream)
{
	static const char *const dialects[] = {
		"\"id\":2,\"method\":\"cancel\",\"params\":{\"id\":1}",
		"\"method\":\"$/cancelRequest\",\"params\":{\"id\":1}",
		"\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}",
	};
	for (size_t i = 0; i < 3; i++) {
		struct desk *d = desk_with_stream();
		desk_say(d, "{\"jsonrpc\":\"2.0\",%s}", dialects[i]);
		cr_assert(desk_is(desk_hear(d, "stream.event"), "params.finish_reason",
				  "\"cancelled\""),
			"%s", dialects[i]);
		cr_assert_eq(desk_count(d, "\"id\":1,"), 1, "its answer was the handshake");
		desk_free(d);
	}
}

Test(cancel, of_an_unanswered_request_speaks_each_dialects_way)
{
	struct desk *d = desk_new_loaded();
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{" LONG
		    ",\"stream\":false}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":1}}");
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "error.code", "-32800"));
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"generate\",\"params\":{" LONG
		    ",\"stream\":false}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{"
		    "\"requestId\":2}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"generate\",\"params\":{" LONG
		    ",\"stream\":false}}");
	cr_assert(desk_is(desk_ask(d, "4", "cancel", "{\"id\":3}"), "result.cancelled", "true"));
	cr_assert(desk_is(desk_hear(d, "\"id\":3,"), "result.finish_reason", "\"cancelled\""));
	while (d->w.calls.n)
		desk_count(d, "");
	cr_assert_eq(desk_count(d, "\"id\":2,"), 0);
	desk_free(d);
}

Test(cancel, of_one_stream_leaves_the_others_as_they_are)
{
	struct desk *d = desk_new_loaded();
	desk_ask(d, "1", "generate", "{" LONG ",\"stream_id\":\"a\"}");
	desk_ask(d, "2", "generate",
		"{\"model_id\":\"m\",\"prompt\":\"It was\",\"max_tokens\":40,"
		"\"ignore_eos\":true,\"temperature\":0,\"stream_id\":\"b\"}");
	desk_ask(d, "3", "cancel", "{\"stream_id\":\"a\"}");
	const char *end = desk_hear(d, "\"stream.event\",\"params\":{\"stream_id\":\"b\"");
	cr_assert(desk_is(end, "params.finish_reason", "\"length\""));
	desk_free(d);
}

Test(cancel, of_a_load_answers_it_and_frees_the_id)
{
	struct desk *d = desk_new();
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"load_model\",\"params\":"
		    "{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":1}}");
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "error.code", "-32800"));
	const char *again = desk_ask(
		d, "2", "load_model", "{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}");
	cr_assert(desk_is(again, "result.state", "\"ready\""), "%s", again);
	desk_free(d);
}

Test(cancel, of_one_who_waits_for_a_load_leaves_it_to_the_other)
{
	struct desk *d = desk_new();
	for (int i = 1; i <= 2; i++)
		desk_say(d,
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"load_model\",\"params\":"
			"{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}}",
			i);
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{"
		    "\"requestId\":1}}");
	cr_assert(desk_is(desk_hear(d, "\"id\":2,"), "result.state", "\"ready\""));
	cr_assert_eq(desk_count(d, "\"id\":1,"), 0);
	desk_free(d);
}

Test(cancel, of_a_call_that_waits_for_its_model_answers_it_at_once)
{
	struct desk *d = desk_new();
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"load_model\",\"params\":"
		    "{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"generate\",\"params\":{" LONG
		    ",\"stream_id\":\"s\"}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"cancel\",\"params\":{\"stream_id\":"
		    "\"s\"}}");
	cr_assert_eq(d->n_lines, 2);
	cr_assert(desk_is(d->lines[0], "error.code", "-32800"));
	cr_assert(desk_is(d->lines[1], "result.cancelled", "true"));
	desk_hear(d, "\"id\":1,");
	cr_assert_eq(desk_count(d, "stream."), 0);
	desk_free(d);
}

Test(cancel, of_a_long_tokenize_ends_in_an_error)
{
	struct desk *d = desk_new_loaded();
	struct buf text = BUF_INIT;
	while (text.n_bytes < 2000000)
		buf_adds(&text, "the house and the garden ");
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tokenize\",\"params\":{\"model_id\":"
		"\"m\","
		"\"text\":\"%s\",\"count_only\":true}}",
		buf_cstr(&text));
	const char *told = desk_ask(d, "2", "cancel", "{\"id\":1}");
	cr_assert(desk_is(told, "result.cancelled", "true"));
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "error.code", "-32800"));
	buf_release(&text);
	desk_free(d);
}

Test(cancel, needs_exactly_one_name)
{
	struct desk *d = desk_new();
	cr_assert(desk_is(desk_ask(d, "1", "cancel", "{}"), "error.code", "-32602"));
	cr_assert(desk_is(desk_ask(d, "2", "cancel", "{\"stream_id\":\"s\",\"id\":1}"),
		"error.code", "-32602"));
	cr_assert(desk_is(desk_ask(d, "3", "cancel", "{\"id\":99}"), "result.cancelled", "false"));
	desk_free(d);
}
