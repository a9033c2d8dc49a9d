#include "protocol/limits.h"
#include "tests/worker/desk.h"
#include "worker/session.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

TestSuite(session, .timeout = 600);

Test(session, echoes_ids_byte_for_byte)
{
	static const char *const ids[] = { "0", "1.0", "1e2", "-7",
		"123456789012345678901234567890", "\"x\"", "\"\\u0041 \\n\"", "null", "\"\"" };
	struct desk *d = desk_new();
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		cr_assert(desk_is(desk_ask(d, ids[i], "ping", "{}"), "id", ids[i]), "%s", ids[i]);
	desk_free(d);
}

Test(session, answers_each_bad_message_with_one_error_and_goes_on)
{
	static const struct {
		const char *text, *code;
	} cases[] = {
		{ "nonsense", "-32700" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,", "-32700" },
		{ "{\"id\":01}", "-32700" },
		{ "7", "-32600" },
		{ "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", "-32600" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", "-32600" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", "-32600" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pong\"}", "-32601" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"x\":1}}",
			"-32602" },
		{ "[]", "-32600" },
	};
	struct desk *d = desk_new();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const size_t before = d->n_lines;
		desk_say(d, "%s", cases[i].text);
		cr_assert_eq(d->n_lines, before + 1, "%s", cases[i].text);
		cr_assert(desk_is(d->lines[before], "error.code", cases[i].code), "%s → %s",
			cases[i].text, d->lines[before]);
		cr_assert(desk_is(desk_ask(d, "5", "ping", "{}"), "id", "5"));
	}
	desk_free(d);
}

Test(session, answers_nothing_to_notifications_and_to_answers_it_never_asked_for)
{
	struct desk *d = desk_new();
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"no/such/thing\"}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"tokenize\",\"params\":{\"bad\":1}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{}}");
	desk_say(d, "[{\"jsonrpc\":\"2.0\",\"method\":\"ping\"},{\"jsonrpc\":\"2.0\",\"id\":4,"
		    "\"result\":{}}]");
	cr_assert_eq(d->n_lines, 0);
	desk_free(d);
}

Test(session, answers_a_batch_in_one_array_without_its_notifications)
{
	struct desk *d = desk_new();
	desk_say(d, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},"
		    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"},9,"
		    "{\"jsonrpc\":\"2.0\",\"id\":\"b\",\"method\":\"nope\"}]");
	cr_assert_eq(d->n_lines, 1);
	struct json_cursor c =
		json_iterate((struct json_span) { d->lines[0], strlen(d->lines[0]) });
	struct json_span e;
	static const char *const ids[] = { "1", "null", "\"b\"" };
	size_t n = 0;
	for (; json_next_element(&c, &e); n++) {
		const struct json_span id = json_find(e, "id");
		cr_assert(n < 3 && id.n == strlen(ids[n]) && !memcmp(id.at, ids[n], id.n));
	}
	cr_assert_eq(n, 3);
	desk_free(d);
}

Test(session, refuses_a_batch_of_too_many_messages_and_an_id_too_long_to_echo)
{
	struct desk *d = desk_new();
	struct buf text = BUF_INIT;
	buf_addc(&text, '[');
	for (int i = 0; i <= LIMIT_BATCH; i++)
		buf_addf(&text, "%s{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"ping\"}",
			i ? "," : "", i);
	buf_addc(&text, ']');
	session_text(&d->w, text.data, text.n_bytes);
	cr_assert(desk_is(desk_hear(d, "-32600"), "id", "null"));
	buf_clear(&text);
	buf_adds(&text, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":\"");
	for (int i = 0; i < 70000; i++)
		buf_addc(&text, 'x');
	buf_adds(&text, "\"}");
	session_text(&d->w, text.data, text.n_bytes);
	cr_assert(desk_is(desk_hear_from(d, 1, "-32600"), "id", "null"));
	buf_release(&text);
	desk_free(d);
}

Test(session, takes_positional_parameters_in_the_order_of_the_table)
{
	struct desk *d = desk_new_loaded();
	const char *named = desk_ask(d, "1", "tokenize",
		"{\"model_id\":\"m\",\"text\":\"a b\",\"add_special_tokens\":false}");
	const char *placed = desk_ask(d, "2", "tokenize", "[\"m\",\"a b\",false]");
	const struct json_span a = desk_find(named, "result"), b = desk_find(placed, "result");
	cr_assert(a.n == b.n && memcmp(a.at, b.at, a.n) == 0);
	cr_assert(desk_is(desk_ask(d, "3", "ping", "[1]"), "error.code", "-32602"));
	desk_free(d);
}

Test(session, a_call_that_names_a_model_being_loaded_waits_for_it)
{
	struct desk *d = desk_new();
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"load_model\",\"params\":"
		    "{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}}");
	const char *answer = desk_ask(d, "2", "tokenize", "{\"model_id\":\"m\",\"text\":\"a\"}");
	cr_assert(desk_is(answer, "result.count", "2"), "%s", answer);
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "result.state", "\"ready\""));
	desk_free(d);
}

Test(session, a_call_that_waits_for_a_load_that_fails_is_told_the_model_is_not_loaded)
{
	struct desk *d = desk_new();
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"load_model\",\"params\":"
		    "{\"model_id\":\"m\",\"local_path\":\"/nonexistent\"}}");
	const char *answer = desk_ask(d, "2", "tokenize", "{\"model_id\":\"m\",\"text\":\"a\"}");
	cr_assert(desk_is(answer, "error.code", "-32005"), "%s", answer);
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "error.code", "-32001"));
	desk_free(d);
}

Test(session, after_shutdown_was_asked_for_nothing_new_is_admitted)
{
	struct desk *d = desk_new_loaded();
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"shutdown\"}");
	const char *answer = desk_ask(d, "2", "tokenize", "{\"model_id\":\"m\",\"text\":\"a\"}");
	cr_assert(desk_is(answer, "error.code", "-32010"));
	cr_assert(desk_is(answer, "error.data.type", "\"shutting_down\""));
	cr_assert(desk_is(desk_ask(d, "3", "ping", "{}"), "id", "3"));
	cr_assert(desk_is(desk_ask(d, "4", "shutdown", "{}"), "error.code", "-32010"));
	cr_assert_eq(desk_count(d, "\"id\":1,"), 0, "answered by the loop, after the drain");
	reply_drop(d->w.on_drained);
	desk_free(d);
}

Test(session, every_method_of_the_table_has_a_handler_or_a_sentence)
{
	struct desk *d = desk_new();
	for (size_t i = 0; method_at(i); i++) {
		if (strcmp(method_at(i)->name, "shutdown") == 0 ||
			strcmp(method_at(i)->name, "exit") == 0)
			continue;
		const char *answer = desk_ask(d, "1", method_at(i)->name, "{\"no_such\":1}");
		cr_assert(desk_is(answer, "error.code", "-32602"), "%s: %s", method_at(i)->name,
			answer);
	}
	desk_free(d);
}

static pthread_mutex_t loader_held = PTHREAD_MUTEX_INITIALIZER;

static void hold_loader(struct chore *c)
{
	(void)c;
	pthread_mutex_lock(&loader_held);
	pthread_mutex_unlock(&loader_held);
}

Test(session, a_call_waits_for_its_model_no_longer_than_its_timeout)
{
	struct desk *d = desk_new();
	struct chore hold = { hold_loader, NULL };
	pthread_mutex_lock(&loader_held);
	workq_push(&d->w.loader, &hold);
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"load_model\",\"params\":"
		    "{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}}");
	const char *late = desk_ask(
		d, "2", "tokenize", "{\"model_id\":\"m\",\"text\":\"a\",\"timeout_ms\":5}");
	cr_assert(desk_is(late, "error.code", "-32008"), "%s", late);
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tokenize\",\"params\":"
		    "{\"model_id\":\"m\",\"text\":\"a\",\"timeout_ms\":50000}}");
	pthread_mutex_unlock(&loader_held);
	cr_assert(desk_is(desk_hear(d, "\"id\":3,"), "result.count", "2"));
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "result.state", "\"ready\""));
	desk_free(d);
}

Test(session, loads_of_one_id_are_joined_and_state_tells_them)
{
	struct desk *d = desk_new();
	struct chore hold = { hold_loader, NULL };
	pthread_mutex_lock(&loader_held);
	workq_push(&d->w.loader, &hold);
	for (int i = 1; i <= 3; i++)
		desk_say(d,
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"load_model\",\"params\":"
			"{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}}",
			i);
	const char *state = desk_ask(d, "4", "runtime/state", "{}");
	cr_assert(desk_is(state, "result.loaded_models",
			  "[{\"model_id\":\"m\",\"state\":\"loading\",\"type\":\"text\"}]"),
		"%s", state);
	pthread_mutex_unlock(&loader_held);
	for (int i = 1; i <= 3; i++) {
		char id[32];
		snprintf(id, sizeof id, "\"id\":%d,", i);
		cr_assert(desk_is(desk_hear(d, id), "result.state", "\"ready\""));
	}
	cr_assert_eq(d->w.telemetry.load.count, 1);
	desk_free(d);
}

Test(session, a_batch_of_much_text_does_not_hold_up_the_next_call)
{
	struct desk *d = desk_new_loaded();
	struct buf params = BUF_INIT;
	buf_adds(&params, "{\"requests\":[");
	for (int i = 0; i < 400; i++)
		buf_addf(&params, "%s{\"model_id\":\"m\",\"count_only\":true,\"text\":\"%01000d\"}",
			i ? "," : "", i);
	buf_adds(&params, "]}");
	const size_t before = d->n_lines;
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"batch_tokenize\",\"params\":%s}",
		buf_cstr(&params));
	cr_assert_eq(d->n_lines, before, "tokenized aside");
	desk_ask(d, "2", "ping", "{}");
	cr_assert_not(strstr(desk_hear(d, "\"results\""), "\"success\":false"));
	buf_release(&params);
	desk_free(d);
}
