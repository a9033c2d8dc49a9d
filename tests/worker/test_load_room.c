/* Several models in less memory than they need together. */
#include "tests/worker/desk.h"
#include "worker/models.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(load_room, .timeout = 600);

#define ONE_MODEL ((size_t)20 << 20) /* room for one of 14 MB, not for two */

static struct desk *desk_with_room(size_t n_bytes)
{
	struct desk *d = desk_new();
	d->w.options.model_bytes = n_bytes;
	return d;
}

static const char *load(struct desk *d, const char *id, const char *more)
{
	char params[256];
	snprintf(params, sizeof params, "{\"model_id\":\"%s\",\"local_path\":\"" DESK_MODEL "\"%s}",
		id, more);
	return desk_ask(d, "\"load\"", "load_model", params);
}

static bool is_asleep(struct desk *d, const char *id)
{
	char text[96];
	const char *state = desk_ask(d, "\"state\"", "runtime/state", "{}");
	snprintf(text, sizeof text, "{\"model_id\":\"%s\",\"state\":\"asleep\"", id);
	return strstr(state, text);
}

static void must_answer(struct desk *d, const char *id)
{
	char params[96];
	snprintf(params, sizeof params, "{\"model_id\":\"%s\",\"text\":\"One\"}", id);
	const char *a = desk_ask(d, "\"tokenize\"", "tokenize", params);
	cr_assert(strstr(a, "\"count\":"), "%s", a);
}

Test(load_room, the_model_unused_longest_leaves_and_a_call_brings_it_back)
{
	struct desk *d = desk_with_room(2 * ONE_MODEL - ((size_t)8 << 20));
	load(d, "a", "");
	load(d, "b", "");
	cr_assert(!is_asleep(d, "a") && !is_asleep(d, "b"), "two have room");
	must_answer(d, "a");
	load(d, "c", "");
	cr_assert(!is_asleep(d, "a") && is_asleep(d, "b") && !is_asleep(d, "c"));
	must_answer(d, "b");
	cr_assert(is_asleep(d, "a") && !is_asleep(d, "b") && !is_asleep(d, "c"));
	const char *list = desk_ask(d, "1", "list_models", "{}");
	cr_assert(strstr(list, "{\"model_id\":\"a\",\"state\":\"asleep\""), "%s", list);
	desk_free(d);
}

Test(load_room, a_generation_by_a_model_that_was_asleep_is_the_same)
{
	static const char params[] = "{\"model_id\":\"a\",\"prompt\":\"It was\",\"max_tokens\":8,"
				     "\"temperature\":0,\"stream\":false}";
	struct desk *d = desk_with_room(ONE_MODEL);
	load(d, "a", ",\"context_length\":100");
	const char *before = desk_ask(d, "1", "generate", params);
	load(d, "b", "");
	cr_assert(is_asleep(d, "a"));
	const char *after = desk_ask(d, "2", "generate", params);
	const struct json_span x = desk_find(before, "result.tokens");
	const struct json_span y = desk_find(after, "result.tokens");
	cr_assert(x.n == y.n && memcmp(x.at, y.at, x.n) == 0);
	const char *list = desk_ask(d, "3", "list_models", "{}");
	cr_assert(strstr(list, "\"context_length\":100"), "as it was loaded: %s", list);
	desk_free(d);
}

Test(load_room, a_model_in_use_is_waited_for)
{
	struct desk *d = desk_with_room(ONE_MODEL);
	load(d, "a", "");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{"
		    "\"model_id\":\"a\",\"prompt\":\"It was\",\"stream_id\":\"s\","
		    "\"max_tokens\":60,\"ignore_eos\":true}}");
	const size_t from = d->n_lines;
	const char *b = load(d, "b", "");
	cr_assert(desk_is(b, "result.state", "\"ready\""), "%s", b);
	size_t ended = 0, ready = 0;
	for (size_t i = from; i < d->n_lines; i++) {
		if (strstr(d->lines[i], "stream.event"))
			ended = i;
		if (d->lines[i] == b)
			ready = i;
	}
	cr_assert(ended > 0 && ended < ready, "the stream ended before its model left");
	cr_assert(desk_count(d, "\"finish_reason\":\"length\"") == 1);
	cr_assert(is_asleep(d, "a"));
	desk_free(d);
}

Test(load_room, a_load_that_waits_for_room_can_be_cancelled)
{
	struct desk *d = desk_with_room(ONE_MODEL);
	load(d, "a", "");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{"
		    "\"model_id\":\"a\",\"prompt\":\"It was\",\"stream_id\":\"s\","
		    "\"max_tokens\":400,\"ignore_eos\":true}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"load_model\",\"params\":{"
		    "\"model_id\":\"b\",\"local_path\":\"" DESK_MODEL "\"}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":2}}");
	const char *b = desk_hear(d, "\"id\":2,");
	cr_assert(desk_is(b, "error.code", "-32800"), "%s", b);
	desk_ask(d, "3", "cancel", "{\"stream_id\":\"s\"}");
	cr_assert(!is_asleep(d, "a"));
	desk_free(d);
}

Test(load_room, what_can_never_fit_is_refused_with_the_counts)
{
	struct desk *d = desk_with_room(ONE_MODEL / 2);
	const char *a = load(d, "a", "");
	cr_assert(desk_is(a, "error.code", "-32012"), "%s", a);
	cr_assert(desk_is(a, "error.data.model_bytes", "10485760"), "%s", a);
	d->w.options.model_bytes = ONE_MODEL;
	load(d, "a", ",\"keep_alive\":-1");
	const char *b = load(d, "b", "");
	cr_assert(desk_is(b, "error.code", "-32012"), "a is pinned: %s", b);
	cr_assert(!is_asleep(d, "a"));
	must_answer(d, "a");
	desk_free(d);
}

Test(load_room, a_model_quantized_when_it_is_loaded_takes_the_room_of_its_blocks)
{
	struct desk *d = desk_with_room((size_t)12 << 20);
	cr_assert(desk_is(load(d, "a", ""), "error.code", "-32012"));
	const char *b = desk_ask(d, "2", "load_model",
		"{\"model_id\":\"b\",\"local_path\":\"" DESK_MODEL "\",\"quantization\":\"int4\"}");
	cr_assert(desk_is(b, "result.state", "\"ready\""), "%s", b);
	must_answer(d, "b");
	desk_free(d);
}

Test(load_room, a_call_that_needs_two_models_where_one_fits_is_told_so)
{
	struct desk *d = desk_with_room(ONE_MODEL);
	load(d, "a", "");
	load(d, "b", "");
	const char *pair =
		desk_ask(d, "1", "check_draft", "{\"primary_id\":\"a\",\"draft_id\":\"b\"}");
	cr_assert(desk_is(pair, "error.code", "-32012"), "%s", pair);
	d->w.options.model_bytes = 2 * ONE_MODEL;
	pair = desk_ask(d, "2", "check_draft", "{\"primary_id\":\"a\",\"draft_id\":\"b\"}");
	cr_assert(desk_is(pair, "result.compatible", "true"), "%s", pair);
	desk_free(d);
}

Test(load_room, kept_for_no_time_a_model_leaves_after_its_first_calls)
{
	struct desk *d = desk_new();
	const char *a = load(d, "a", ",\"keep_alive\":0");
	cr_assert(desk_is(a, "result.keep_alive", "0"), "%s", a);
	cr_assert_not(is_asleep(d, "a"), "not before it was used");
	for (int i = 0; i < 3; i++) {
		must_answer(d, "a");
		desk_count(d, ""); /* a turn of the loop */
		cr_assert(is_asleep(d, "a"));
	}
	load(d, "a", ",\"keep_alive\":-1");
	must_answer(d, "a");
	desk_count(d, "");
	cr_assert_not(is_asleep(d, "a"), "the last load_model counts");
	desk_free(d);
}

Test(load_room, a_model_that_is_asleep_is_unloaded_like_any)
{
	struct desk *d = desk_with_room(ONE_MODEL);
	load(d, "a", "");
	load(d, "b", "");
	const char *gone = desk_ask(d, "1", "unload_model", "{\"model_id\":\"a\"}");
	cr_assert(desk_is(gone, "result.success", "true"), "%s", gone);
	gone = desk_ask(d, "2", "tokenize", "{\"model_id\":\"a\",\"text\":\"One\"}");
	cr_assert(desk_is(gone, "error.code", "-32005"), "%s", gone);
	cr_assert(!is_asleep(d, "b"));
	desk_free(d);
}

Test(load_room, one_that_cannot_be_woken_says_why)
{
	struct desk *d = desk_with_room(ONE_MODEL);
	load(d, "a", "");
	load(d, "b", "");
	struct loaded *a = models_find(d->w.models, "a");
	memset(strrchr(a->spec.path, '/') + 1, 'x', 3);
	const char *answer = desk_ask(d, "1", "tokenize", "{\"model_id\":\"a\",\"text\":\"One\"}");
	cr_assert(desk_is(answer, "error.code", "-32001"), "%s", answer);
	must_answer(d, "b");
	desk_free(d);
}

Test(load_room, a_warm_up_is_over_before_the_answer)
{
	struct desk *d = desk_new();
	const char *a = load(d, "a", ",\"warmup\":true");
	cr_assert(desk_is(a, "result.state", "\"ready\""), "%s", a);
	cr_assert_eq(engine_active(d->w.engine), 0);
	struct model_ref *ref = catalog_get(d->w.catalog, "a", NULL);
	cr_assert_not_null(model_ref_state(ref), "its KV cache and scratch are there");
	model_ref_release(ref);
	/* Cancelled somewhere on the way: nothing is left over. */
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"load_model\",\"params\":{"
		    "\"model_id\":\"b\",\"local_path\":\"" DESK_MODEL "\",\"warmup\":true}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":2}}");
	cr_assert(desk_is(desk_hear(d, "\"id\":2,"), "error.code", "-32800"));
	desk_free(d);
}

static void say_load(struct desk *d, int id, const char *model_id)
{
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"load_model\",\"params\":{"
		"\"model_id\":\"%s\",\"local_path\":\"" DESK_MODEL "\"}}",
		id, model_id);
}

Test(load_room, loads_of_one_model_at_once_are_one_and_each_is_answered)
{
	struct desk *d = desk_new();
	for (int id = 1; id <= 3; id++)
		say_load(d, id, "a");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":1}}");
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "error.code", "-32800"));
	const char *second = desk_hear(d, "\"id\":2,"), *third = desk_hear(d, "\"id\":3,");
	cr_assert(desk_is(second, "result.state", "\"ready\""), "%s", second);
	cr_assert_str_eq(strstr(second, "\"result\""), strstr(third, "\"result\""));
	struct model_ref *ref = catalog_get(d->w.catalog, "a", NULL);
	cr_assert_eq(d->w.telemetry.loaded_bytes, model_info(model_ref_model(ref))->weight_bytes);
	model_ref_release(ref);
	desk_free(d);
}

Test(load_room, loads_of_several_models_take_turns_where_one_has_room)
{
	struct desk *d = desk_with_room(ONE_MODEL);
	for (int id = 1; id <= 3; id++)
		say_load(d, id, (const char *[]) { "a", "b", "c" }[id - 1]);
	for (int id = 1; id <= 3; id++) {
		char mark[24];
		snprintf(mark, sizeof mark, "\"id\":%d,", id);
		const char *answer = desk_hear(d, mark);
		cr_assert(desk_is(answer, "result.state", "\"ready\""), "%s", answer);
	}
	cr_assert_eq(is_asleep(d, "a") + is_asleep(d, "b") + is_asleep(d, "c"), 2);
	must_answer(d, "a");
	must_answer(d, "b");
	desk_free(d);
}

Test(load_room, kept_for_a_time_a_model_leaves_when_it_was_unused_for_so_long)
{
	struct desk *d = desk_new();
	load(d, "a", ",\"keep_alive\":600");
	load(d, "b", ",\"keep_alive\":-1");
	must_answer(d, "a");
	must_answer(d, "b");
	models_find(d->w.models, "a")->last_used -= 300;
	models_find(d->w.models, "b")->last_used -= 10000;
	desk_count(d, ""); /* a turn of the loop */
	cr_assert(!is_asleep(d, "a") && !is_asleep(d, "b"));
	models_find(d->w.models, "a")->last_used -= 400;
	desk_count(d, "");
	cr_assert(is_asleep(d, "a") && !is_asleep(d, "b"));
	must_answer(d, "a");
	desk_free(d);
}
