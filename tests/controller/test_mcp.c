/* test_mcp.c - the Model Context Protocol, between a host and scripted workers. */
#include "controller/mcp.h"
#include "controller/progress.h"
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

RIG_SUITE(mcp);

#define TOOL(id, name, arguments) \
	CALL(id, "tools/call", "{\"name\":\"" name "\",\"arguments\":" arguments "}")

static bool has_waiting(struct rig *rig)
{
	return registry_count(rig->c->registry) >= 2;
}

static struct json_span quoted(const char *text)
{
	return (struct json_span) { text, strlen(text) };
}

static void negotiates(const char *params, const char *answer)
{
	const char *got = mcp_negotiate(quoted(params));
	cr_assert_eq(!got, !answer, "%s", params);
	if (got)
		cr_assert_str_eq(got, answer);
}

Test(mcp, dates_are_versions_and_an_unknown_one_is_answered_with_our_latest)
{
	negotiates("{\"protocolVersion\":\"2024-11-05\"}", "2024-11-05");
	negotiates("{\"protocolVersion\":\"2025-03-26\"}", "2025-03-26");
	negotiates("{\"protocolVersion\":\"2025-06-18\"}", "2025-06-18");
	negotiates("{\"protocolVersion\":\"2025-11-25\"}", "2025-11-25");
	negotiates("{\"protocolVersion\":\"2099-01-01\"}", "2025-11-25");
	negotiates("{\"protocolVersion\":\"1.0\"}", NULL);
	negotiates("{\"protocolVersion\":\"2025-6-18\"}", NULL);
	negotiates("{\"protocolVersion\":\"2025-06-1x\"}", NULL);
	negotiates("{\"protocolVersion\":\"2025_06_18\"}", NULL);
	negotiates("{\"protocolVersion\":\"2025-06-188\"}", NULL);
	negotiates("{\"protocolVersion\":20250618}", NULL);
	negotiates("{\"protocolVersion\":null}", NULL);
	negotiates("{}", NULL);
	cr_assert_null(mcp_negotiate((struct json_span) { NULL, 0 }));
}

Test(mcp, who_gives_all_that_mcp_demands_is_its_host_whatever_version_it_tries)
{
#define ALL(version) "{\"protocolVersion\":" version ",\"capabilities\":{},\"clientInfo\":{}}"
	negotiates(ALL("\"1.0.0\""), "2025-11-25");
	negotiates(ALL("\"DRAFT-2026-v1\""), "2025-11-25");
	negotiates(ALL("\"1\""), NULL);
	negotiates(ALL("\"1.0\""), NULL);
	negotiates(ALL("null"), NULL);
	negotiates("{\"protocolVersion\":\"1.0.0\",\"capabilities\":{}}", NULL);
}

Test(mcp, initialize_with_a_date_tells_tools_and_makes_ping_empty)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, CALL("1", "ping", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"uptime\"");
	rig_send(&r, CALL("2", "initialize", "{\"protocolVersion\":\"2025-06-18\"}"));
	const char *hello = rig_await(&r, "\"id\":2,");
	rig_assert_has(hello, "\"protocolVersion\":\"2025-06-18\"");
	rig_assert_has(hello, "\"capabilities\":{\"tools\":{\"listChanged\":false}");
	rig_assert_has(hello, "\"instructions\":");
	rig_send(&r, NOTE("notifications/initialized", "{}"));
	rig_send(&r, CALL("3", "ping", "{}"));
	cr_assert_str_eq(
		rig_await(&r, "\"id\":3,"), "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}");
}

Test(mcp, initialize_of_other_hosts_stays_what_it_was)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, CALL("1", "initialize", "{\"protocolVersion\":\"1.0\"}"));
	const char *hello = rig_await(&r, "\"id\":1,");
	rig_assert_has(hello, "\"protocolVersion\":\"1\"");
	cr_assert_null(strstr(hello, "instructions"));
	rig_send(&r, CALL("2", "ping", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"uptime\"");
}

Test(mcp, a_tools_result_comes_as_text_and_as_it_is)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, TOOL("1", "load_model", "{\"model_id\":\"m\"}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"structuredContent\":{\"model_id\"");
	rig_send(&r, TOOL("2", "tokenize", "{\"model_id\":\"m\",\"text\":\"hello you\"}"));
	const char *answer = rig_await(&r, "\"id\":2,");
	rig_assert_has(answer, "\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"{\\\"tokens"
			       "\\\": [5, 3]");
	rig_assert_has(answer, "\"structuredContent\":{\"tokens\": [5, 3]");
	rig_assert_has(answer, "\"isError\":false}}");
}

Test(mcp, what_a_method_refuses_is_a_result_and_what_is_no_tool_an_error)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	rig_send(&r, TOOL("1", "tokenize", "{\"model_id\":\"absent\",\"text\":\"x\"}"));
	rig_send(&r, TOOL("2", "tokenize", "{\"model_id\":\"m\",\"text\":5}"));
	rig_send(
		&r, TOOL("3", "generate", "{\"model_id\":\"m\",\"prompt\":\"x\",\"stream\":true}"));
	rig_send(&r, TOOL("4", "tokenise", "{}"));
	rig_send(&r, TOOL("5", "shutdown", "{}"));
	rig_send(&r, TOOL("6", "tokenize", "[]"));
	rig_send(&r, CALL("7", "tools/call", "{}"));
	rig_send(&r, CALL("8", "tools/list", "{\"cursor\":\"x\"}"));
	const char *absent = rig_await(&r, "\"id\":1,");
	rig_assert_has(absent, "\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"Model not "
			       "loaded: absent\"}],\"isError\":true,\"_meta\":{\"tandem/error\":{"
			       "\"code\":-32005,");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"isError\":true");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"path\":\"stream\"");
	rig_assert_has(rig_await(&r, "\"id\":4,"), "\"did_you_mean\":\"tokenize\"");
	rig_assert_has(rig_await(&r, "\"id\":5,"), "\"error\":{\"code\":-32602");
	rig_assert_has(rig_await(&r, "\"id\":6,"), "\"error\":{\"code\":-32602");
	rig_assert_has(rig_await(&r, "\"id\":7,"), "\"error\":{\"code\":-32602");
	rig_assert_has(rig_await(&r, "\"id\":8,"), "\"error\":{\"code\":-32602");
}

Test(mcp, the_requests_progress_token_reaches_the_method)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, CALL("1", "tools/call",
			     "{\"name\":\"load_model\",\"arguments\":{\"model_id\":\"m\"},"
			     "\"_meta\":{\"progressToken\":\"p\"}}"));
	rig_await(&r, "\"id\":1,");
	rig_assert_has(r.messages[0], "notifications/progress");
	rig_assert_has(r.messages[0], "\"progressToken\": \"p\"");
}

Test(mcp, a_cancelled_tool_is_silent_in_its_own_dialect_and_an_error_in_the_others)
{
	rig_open(&r, ARGS("--workers=1", "--", "--mute-first=1"));
	rig_load(&r);
	rig_send(&r, TOOL("1", "tokenize", "{\"model_id\":\"m\",\"text\":\"x\"}"));
	rig_until(&r, has_waiting);
	rig_send(&r, NOTE("notifications/cancelled", "{\"requestId\":1,\"reason\":\"enough\"}"));
	rig_send(&r, CALL("2", "ping", "{}"));
	rig_await(&r, "\"id\":2,");
	cr_assert_eq(registry_count(r.c->registry), 0);
	cr_assert_eq(rig_count(&r, "\"id\":1,"), 0);
}

Test(mcp, language_clients_cancel_tools_too)
{
	rig_open(&r, ARGS("--workers=1", "--", "--mute-first=1"));
	rig_load(&r);
	rig_send(&r, TOOL("1", "tokenize", "{\"model_id\":\"m\",\"text\":\"x\"}"));
	rig_until(&r, has_waiting);
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":1}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"error\":{\"code\":-32800");
}

Test(mcp, tools_in_a_batch_are_answered_in_its_array)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	rig_send(&r, "[%s,%s]", TOOL("1", "tokenize", "{\"model_id\":\"m\",\"text\":\"x\"}"),
		TOOL("2", "nothing", "{}"));
	const char *answers = rig_await(&r, "\"id\":1,");
	cr_assert_eq(answers[0], '[');
	rig_assert_has(answers, "\"id\":2,\"error\"");
	rig_assert_has(answers, "\"isError\":false");
}

Test(mcp, a_result_with_a_text_shows_that_and_a_long_one_is_not_repeated)
{
	struct buf out = BUF_INIT, large = BUF_INIT;
	cr_assert(mcp_write_result(
		&out, ANSWER_RESULT, quoted("{\"text\":\"a \\\"word\\\"\",\"tokens\":[1]}")));
	cr_assert_str_eq(buf_cstr(&out),
		"{\"content\":[{\"type\":\"text\",\"text\":\"a \\\"word\\\"\"}],"
		"\"structuredContent\":{\"text\":\"a "
		"\\\"word\\\"\",\"tokens\":[1]},\"isError\":false}");
	buf_addf(&large, "{\"tokens\":[0");
	while (large.n_bytes <= 1 << 20)
		buf_adds(&large, ",12345678");
	buf_adds(&large, "]}");
	buf_clear(&out);
	cr_assert(mcp_write_result(
		&out, ANSWER_RESULT, (struct json_span) { large.data, large.n_bytes }));
	cr_assert_lt(out.n_bytes, large.n_bytes + 256);
	rig_assert_has(buf_cstr(&out), "see structuredContent");
	buf_release(&out);
	buf_release(&large);
}

static bool is_news(bool is_lsp, const char *params)
{
	return progress_is_news(r.c->registry, is_lsp, quoted(params));
}

Test(mcp, a_call_that_begins_anew_tells_no_step_of_its_progress_twice)
{
	rig_open(&r, ARGS("--workers=1", "--", "--mute-on=quiet"));
	rig_load(&r);
	rig_send(&r, CALL("1", "tokenize",
			     "{\"model_id\":\"m\",\"text\":\"quiet\","
			     "\"_meta\":{\"progressToken\":\"a\\u0062\"}}"));
	rig_send(&r, CALL("2", "tokenize",
			     "{\"model_id\":\"m\",\"text\":\"quiet\",\"workDoneToken\":7}"));
	rig_until(&r, has_waiting);
	cr_assert(is_news(false, "{\"progressToken\":\"ab\",\"progress\":0}"));
	cr_assert(is_news(false, "{\"progressToken\":\"ab\",\"progress\":0.5}"));
	cr_assert_not(is_news(false, "{\"progressToken\":\"ab\",\"progress\":0.1}"));
	cr_assert_not(is_news(false, "{\"progressToken\":\"ab\",\"progress\":0.5}"));
	cr_assert_not(is_news(false, "{\"progressToken\":\"ab\",\"progress\":null}"));
	cr_assert(is_news(false, "{\"progressToken\":\"ab\",\"progress\":1}"));
	cr_assert(is_news(false, "{\"progressToken\":\"another\",\"progress\":0.1}"));
	cr_assert(is_news(false, "{\"progressToken\":{},\"progress\":0.1}"));
	const char *begin = "{\"token\":7,\"value\":{\"kind\":\"begin\",\"percentage\":0}}";
	cr_assert(is_news(true, begin));
	cr_assert_not(is_news(true, begin));
	cr_assert(is_news(true, "{\"token\":\"7\",\"value\":{\"kind\":\"begin\"}}"));
	cr_assert(is_news(true, "{\"token\":7,\"value\":{\"kind\":\"report\",\"percentage\":3}}"));
	cr_assert(is_news(true, "{\"token\":7,\"value\":{\"kind\":\"end\"}}"));
}
