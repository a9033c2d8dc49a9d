#include "protocol/mem.h"
#include "tests/worker/desk.h"
#include "tests/worker/model_fixture.h"
#include "worker/engine/lane.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(load, .timeout = 600);

#define LOAD "\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\""

Test(load, tells_what_was_loaded)
{
	struct desk *d = desk_new();
	const char *a = desk_ask(d, "1", "load_model", "{" LOAD ",\"context_length\":128}");
	static const struct {
		const char *path, *json;
	} want[] = { { "result.model_id", "\"m\"" }, { "result.state", "\"ready\"" },
		{ "result.context_length", "128" }, { "result.parameter_count", "6951168" },
		{ "result.dtype", "\"bfloat16\"" }, { "result.architecture", "\"llama\"" },
		{ "result.quantization", "\"none\"" }, { "result.vocab_size", "4096" },
		{ "result.is_vision_model", "false" }, { "result.tokenizer_type", "\"bpe\"" },
		{ "result.replicas", "1" } };
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		cr_assert(desk_is(a, want[i].path, want[i].json), "%s: %s", want[i].path, a);
	desk_free(d);
}

Test(load, asked_again_is_answered_at_once_and_asked_otherwise_loads_anew)
{
	struct desk *d = desk_new_loaded();
	const size_t before = d->n_lines;
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"load_model\",\"params\":{" LOAD "}}");
	cr_assert_eq(d->n_lines, before + 1);
	const char *other = desk_ask(d, "2", "load_model", "{" LOAD ",\"context_length\":64}");
	cr_assert(desk_is(other, "result.context_length", "64"));
	desk_free(d);
}

/* The folder's config.json, a link, becomes a file that says 256 where it said 512. */
static void replace_config(const char *folder)
{
	char text[4096] = "", *path = xasprintf("%s/config.json", folder);
	FILE *f = fopen(path, "r");
	cr_assert_not_null(f);
	cr_assert_gt(fread(text, 1, sizeof text - 1, f), 0);
	fclose(f);
	char *length = strstr(text, "\"max_position_embeddings\": 512");
	cr_assert_not_null(length, "%s", text);
	memcpy(strstr(length, "512"), "256", 3);
	cr_assert_eq(unlink(path), 0);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
	free(path);
}

Test(load, asked_again_once_its_files_were_replaced_loads_what_is_there_now)
{
	struct desk *d = desk_new();
	char *folder = fixture_with_tokenizer(DESK_MODEL);
	char *params = xasprintf("{\"model_id\":\"m\",\"local_path\":\"%s\"}", folder);
	const char *first = desk_ask(d, "1", "load_model", params);
	cr_assert(desk_is(first, "result.context_length", "512"), "%s", first);
	replace_config(folder);
	const char *second = desk_ask(d, "2", "load_model", params);
	cr_assert(desk_is(second, "result.context_length", "256"), "%s", second);
	free(params);
	desk_free(d);
	fixture_unlink(folder);
}

Test(load, asked_again_tells_its_progress_and_computes_the_token_that_was_not_asked_for_before)
{
	struct desk *d = desk_new_loaded();
	const size_t before = d->n_lines;
	struct model_ref *ref = catalog_get(d->w.catalog, "m", NULL);
	cr_assert_null(model_ref_state(ref), "nothing was computed yet");
	const char *answer = desk_ask(d, "1", "load_model",
		"{" LOAD ",\"warmup\":true,\"_meta\":{\"progressToken\":\"p\"}}");
	cr_assert(desk_is(answer, "result.state", "\"ready\""), "%s", answer);
	const struct lane *lane = model_ref_state(ref);
	cr_assert_not_null(lane);
	const struct model_info *info = model_info(model_ref_model(ref));
	const size_t context = info->context_length * info->kv_bytes_per_token;
	cr_assert_lt(context, LANE_TOUCH_BYTES);
	cr_assert_eq(fixture_resident(kv_block_k(lane->kv, 0, 0), context), context);
	model_ref_release(ref);
	cr_assert_eq(d->n_lines, before + 3);
	cr_assert(desk_is(d->lines[before], "params.progress", "0"));
	cr_assert(desk_is(d->lines[before + 1], "params.progress", "1"));
	desk_free(d);
}

Test(load, names_every_place_where_it_looked)
{
	struct desk *d = desk_new();
	const char *roots[] = { "/nowhere", "models" };
	d->w.options.roots = roots;
	d->w.options.n_roots = 2;
	const char *bad = desk_ask(d, "1", "load_model", "{\"model_id\":\"absent\"}");
	cr_assert(desk_is(bad, "error.code", "-32001"));
	cr_assert(strstr(bad, "/nowhere/absent") && strstr(bad, "models/absent"), "%s", bad);
	const char *good = desk_ask(d, "2", "load_model", "{\"model_id\":\"novel-7m\"}");
	cr_assert(desk_is(good, "result.state", "\"ready\""), "%s", good);
	d->w.options.roots = NULL;
	desk_free(d);
}

Test(load, tells_mcp_hosts_how_far_it_is_before_it_answers)
{
	struct desk *d = desk_new();
	const char *answer =
		desk_ask(d, "1", "load_model", "{" LOAD ",\"_meta\":{\"progressToken\":\"p\"}}");
	size_t n = 0;
	double last = -1;
	for (size_t i = 0; d->lines[i] != answer; i++) {
		double progress = -1;
		cr_assert(strstr(d->lines[i], "notifications/progress"));
		cr_assert(desk_is(d->lines[i], "params.progressToken", "\"p\""));
		cr_assert(json_get_num(desk_find(d->lines[i], "params.progress"), &progress));
		cr_assert_gt(progress, last);
		last = progress;
		n++;
	}
	cr_assert_geq(n, 2);
	cr_assert_eq(last, 1);
	cr_assert_eq(d->lines[d->n_lines - 1], answer);
	desk_free(d);
}

Test(load, tells_lsp_hosts_its_begin_and_its_end)
{
	struct desk *d = desk_new();
	const char *answer = desk_ask(d, "1", "load_model", "{" LOAD ",\"workDoneToken\":7}");
	cr_assert(desk_is(d->lines[0], "method", "\"$/progress\""));
	cr_assert(desk_is(d->lines[0], "params.token", "7"));
	cr_assert(desk_is(d->lines[0], "params.value.kind", "\"begin\""));
	cr_assert(desk_is(d->lines[d->n_lines - 2], "params.value.kind", "\"end\""));
	cr_assert_eq(d->lines[d->n_lines - 1], answer);
	desk_free(d);
}

Test(load, unload_forgets_the_model_and_an_absent_one_is_an_error)
{
	struct desk *d = desk_new_loaded();
	cr_assert(desk_is(desk_ask(d, "1", "unload_model", "{\"model_id\":\"m\"}"),
		"result.success", "true"));
	cr_assert(desk_is(desk_ask(d, "2", "tokenize", "{\"model_id\":\"m\",\"text\":\"x\"}"),
		"error.code", "-32005"));
	cr_assert(desk_is(
		desk_ask(d, "3", "unload_model", "{\"model_id\":\"m\"}"), "error.code", "-32005"));
	desk_free(d);
}

Test(load, unload_waits_for_streams_and_with_force_ends_them)
{
	static const char generate[] = "{\"model_id\":\"m\",\"prompt\":\"x\",\"ignore_eos\":true,"
				       "\"temperature\":0,\"stream_id\":\"s\",\"max_tokens\":%d}";
	char params[256];
	struct desk *d = desk_new_loaded();
	snprintf(params, sizeof params, generate, 30);
	desk_ask(d, "1", "generate", params);
	const char *answer = desk_ask(d, "2", "unload_model", "{\"model_id\":\"m\"}");
	cr_assert(desk_is(answer, "result.success", "true"));
	cr_assert_eq(d->lines[d->n_lines - 1], answer);
	cr_assert(desk_is(desk_hear(d, "stream.event"), "params.finish_reason", "\"length\""));
	size_t from = d->n_lines;
	desk_ask(d, "3", "load_model", "{" LOAD "}");
	snprintf(params, sizeof params, generate, 450);
	desk_ask(d, "4", "generate", params);
	desk_ask(d, "5", "unload_model", "{\"model_id\":\"m\",\"force\":true}");
	cr_assert(desk_is(
		desk_hear_from(d, from, "stream.event"), "params.finish_reason", "\"cancelled\""));
	desk_free(d);
}

/* A stream of m that nobody acknowledges: it stays. */
static void start_unread(struct desk *d)
{
	desk_ask(d, "1", "generate",
		"{\"model_id\":\"m\",\"prompt\":\"x\",\"ignore_eos\":true,\"stream_id\":\"s\","
		"\"max_tokens\":400,\"stream_options\":{\"ack_window\":2}}");
}

static void ask_to_unload(struct desk *d, int id)
{
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"unload_model\","
		"\"params\":{\"model_id\":\"m\"}}",
		id);
}

Test(load, an_unload_that_waits_is_joined_by_others_of_which_one_may_force_it)
{
	struct desk *d = desk_new_loaded();
	start_unread(d);
	ask_to_unload(d, 2);
	ask_to_unload(d, 3);
	cr_assert_eq(desk_count(d, "\"success\""), 0);
	const char *forced =
		desk_ask(d, "4", "unload_model", "{\"model_id\":\"m\",\"force\":true}");
	cr_assert(desk_is(forced, "result.success", "true"), "%s", forced);
	cr_assert_eq(desk_count(d, "\"success\":true"), 3);
	cr_assert(desk_is(desk_hear(d, "stream.event"), "params.finish_reason", "\"cancelled\""));
	desk_free(d);
}

static void call_off(struct desk *d, int id)
{
	char answer[32];
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":%d}}",
		id);
	snprintf(answer, sizeof answer, "\"id\":%d,", id);
	const char *heard = desk_hear(d, answer);
	cr_assert(desk_is(heard, "error.code", "-32800"), "%s", heard);
	cr_assert(desk_is(heard, "error.data.model_id", "\"m\""), "%s", heard);
}

static bool answers(struct desk *d, const char *id)
{
	return strstr(
		desk_ask(d, id, "tokenize", "{\"model_id\":\"m\",\"text\":\"x\"}"), "\"count\":2");
}

Test(load, an_unload_called_off_leaves_the_model_unless_another_waits_or_its_streams_end)
{
	struct desk *d = desk_new_loaded();
	start_unread(d);
	ask_to_unload(d, 2);
	cr_assert_not(answers(d, "20"));
	call_off(d, 2);
	cr_assert(answers(d, "21"));
	ask_to_unload(d, 3);
	ask_to_unload(d, 4);
	call_off(d, 3);
	cr_assert_not(answers(d, "22"), "another waits");
	call_off(d, 4);
	cr_assert(answers(d, "23"));
	ask_to_unload(d, 5);
	desk_ask(d, "6", "load_model", "{" LOAD "}");
	call_off(d, 5);
	cr_assert(answers(d, "24"), "it was replaced");
	cr_assert_eq(desk_count(d, "stream.event"), 0);
	desk_ask(d, "7", "cancel", "{\"stream_id\":\"s\"}");
	ask_to_unload(d, 8);
	cr_assert(desk_is(desk_hear(d, "\"id\":8,"), "result.success", "true"));
	desk_free(d);
}

Test(load, a_forced_unload_is_past_calling_off)
{
	struct desk *d = desk_new_loaded();
	start_unread(d);
	ask_to_unload(d, 2);
	desk_say(d, "[{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"unload_model\",\"params\":{"
		    "\"model_id\":\"m\",\"force\":true}},{\"jsonrpc\":\"2.0\",\"method\":"
		    "\"$/cancelRequest\",\"params\":{\"id\":2}}]");
	cr_assert(desk_is(desk_hear(d, "\"id\":2,"), "result.success", "true"));
	cr_assert(strstr(desk_hear(d, "\"id\":3,"), "\"success\":true"));
	cr_assert_not(answers(d, "4"));
	desk_free(d);
}

Test(load, an_unload_between_two_loads_is_done_between_them)
{
	struct desk *d = desk_new();
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"load_model\",\"params\":{" LOAD "}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"unload_model\",\"params\":{"
		    "\"model_id\":\"m\"}}");
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"load_model\",\"params\":{" LOAD "}}");
	const char *tokens = desk_ask(d, "4", "tokenize", "{\"model_id\":\"m\",\"text\":\"One\"}");
	cr_assert(strstr(tokens, "\"count\":"), "%s", tokens);
	cr_assert(desk_is(desk_hear(d, "\"id\":2,"), "result.success", "true"));
	cr_assert(desk_is(desk_hear(d, "\"id\":3,"), "result.state", "\"ready\""));
	desk_free(d);
}

Test(load, list_models_knows_what_is_loaded_and_what_could_be)
{
	struct desk *d = desk_new_loaded();
	const char *list = desk_ask(d, "1", "list_models", "{}");
	cr_assert(strstr(list, "{\"model_id\":\"m\",\"state\":\"ready\""));
	cr_assert(strstr(list, "{\"model_id\":\"novel-7m\",\"state\":\"available\","
			       "\"path\":\"models/novel-7m\",\"format\":\"safetensors\","
			       "\"size_bytes\":13910360,\"architecture\":\"llama\"}"));
	desk_free(d);
}
