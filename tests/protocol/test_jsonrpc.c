#include "protocol/jsonrpc.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct rpc_msg m;
static struct buf out;

static void release(void)
{
	buf_release(&out);
}
TestSuite(jsonrpc, .fini = release);

static enum rpc_kind parse(const char *text)
{
	struct fault f;
	cr_assert_eq(json_scan(text, strlen(text), &f), 0, "%s: %s", text, f.text);
	rpc_parse((struct json_span) { text, strlen(text) }, &m);
	return m.kind;
}

static bool is(struct json_span s, const char *text)
{
	return s.at && s.n == strlen(text) && memcmp(s.at, text, s.n) == 0;
}

static void wrote(const char *text)
{
	cr_assert_str_eq(buf_cstr(&out), text);
	cr_assert_eq(json_scan(out.data, out.n_bytes, NULL), 0);
	buf_clear(&out);
}

Test(jsonrpc, the_examples_of_the_specification)
{
	cr_assert_eq(
		parse("{\"jsonrpc\":\"2.0\",\"method\":\"subtract\",\"params\":[42,23],\"id\":1}"),
		RPC_REQUEST);
	cr_assert_str_eq(m.method, "subtract");
	cr_assert(is(m.id, "1") && is(m.params, "[42,23]"));
	cr_assert_eq(
		parse("{\"jsonrpc\":\"2.0\",\"method\":\"subtract\",\"params\":{\"minuend\":42},"
		      "\"id\":3}"),
		RPC_REQUEST);
	cr_assert(is(m.params, "{\"minuend\":42}"));
	cr_assert_eq(parse("{\"jsonrpc\":\"2.0\",\"method\":\"update\",\"params\":[1,2,3]}"),
		RPC_NOTIFICATION);
	cr_assert_eq(parse("{\"jsonrpc\":\"2.0\",\"method\":\"foobar\"}"), RPC_NOTIFICATION);
	cr_assert_null(m.params.at);
	cr_assert_eq(parse("{\"jsonrpc\":\"2.0\",\"method\":1,\"params\":\"bar\"}"), RPC_INVALID);
	cr_assert(is(m.id, "null"));
	cr_assert_eq(m.fault.err, ERR_INVALID_REQUEST);
	cr_assert_eq(parse("1"), RPC_INVALID);
	cr_assert_eq(parse("{\"foo\":\"boo\"}"), RPC_INVALID);
	cr_assert_eq(parse("{\"jsonrpc\":\"2.0\",\"result\":19,\"id\":1}"), RPC_RESULT);
	cr_assert(is(m.result, "19"));
	cr_assert_eq(parse("{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32601,\"message\":\"x\"},"
			   "\"id\":\"1\"}"),
		RPC_ERROR);
	cr_assert(is(m.error, "{\"code\":-32601,\"message\":\"x\"}"));
}

Test(jsonrpc, ids_are_kept_byte_for_byte)
{
	static const char *const ids[] = { "0", "1.0", "1e2", "-0",
		"123456789012345678901234567890", "\"x\"", "\"\\u0041\\n\"", "\"\"", "null", "1E+2",
		"-1.50" };
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		struct buf text = BUF_INIT, wanted = BUF_INIT;
		buf_addf(&text, "{ \"id\" : %s , \"method\" : \"ping\" }", ids[i]);
		cr_assert_eq(parse(buf_cstr(&text)), RPC_REQUEST, "%s", ids[i]);
		rpc_write_result(&out, m.id, NULL, 0);
		buf_addf(&wanted, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{}}", ids[i]);
		wrote(buf_cstr(&wanted));
		buf_release(&text);
		buf_release(&wanted);
	}
}

Test(jsonrpc, an_id_of_another_kind_is_no_id)
{
	static const char *const ids[] = { "true", "false", "[1]", "{\"a\":1}" };
	for (size_t i = 0; i < 4; i++) {
		struct buf text = BUF_INIT;
		buf_addf(&text, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"ping\"}", ids[i]);
		cr_assert_eq(parse(buf_cstr(&text)), RPC_INVALID, "%s", ids[i]);
		cr_assert(is(m.id, "null"));
		buf_release(&text);
	}
}

Test(jsonrpc, what_is_wrong_is_said_to_the_id_that_was_readable)
{
	static const char *const bad[] = { "{\"id\":7,\"method\":1}", "{\"id\":7}",
		"{\"id\":7,\"jsonrpc\":\"1.0\",\"method\":\"a\"}",
		"{\"id\":7,\"jsonrpc\":2.0,\"method\":\"a\"}",
		"{\"id\":7,\"method\":\"a\",\"params\":1}",
		"{\"id\":7,\"method\":\"a\",\"params\":null}",
		"{\"id\":7,\"method\":\"a\",\"params\":\"x\"}",
		"{\"id\":7,\"result\":1,\"error\":{}}", "{\"id\":7,\"error\":\"x\"}",
		"{\"id\":7,\"method\":null}" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(parse(bad[i]), RPC_INVALID, "%s", bad[i]);
		cr_assert(is(m.id, "7"), "%s", bad[i]);
		cr_assert_eq(m.fault.err, ERR_INVALID_REQUEST);
		cr_assert_neq(m.fault.text[0], '\0');
	}
}

Test(jsonrpc, values_that_are_no_objects_have_no_members)
{
	static const char *const bad[] = { "[]", "[\"id\",5]", "[\"method\",\"a\",\"id\",5]",
		"null", "\"id\"", "true", "1e5" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(parse(bad[i]), RPC_INVALID, "%s", bad[i]);
		cr_assert(is(m.id, "null"), "%s", bad[i]);
	}
}

Test(jsonrpc, the_version_may_be_missing_and_null_is_an_id)
{
	cr_assert_eq(parse("{\"id\":null,\"method\":\"ping\"}"), RPC_REQUEST);
	cr_assert(is(m.id, "null"));
	cr_assert_eq(parse("{\"method\":\"ping\"}"), RPC_NOTIFICATION);
	cr_assert_eq(parse("{\"id\":null,\"result\":null}"), RPC_RESULT);
	cr_assert_eq(parse("{\"\\u006dethod\":\"\\u0070ing\",\"\\u0069d\":1}"), RPC_REQUEST);
	cr_assert_str_eq(m.method, "ping");
}

Test(jsonrpc, a_method_name_never_turns_into_another)
{
	parse("{\"method\":\"ping\\u0000x\",\"id\":1}");
	cr_assert_str_eq(m.method, "ping?x");
	struct buf text = BUF_INIT;
	buf_adds(&text, "{\"id\":1,\"method\":\"");
	for (int i = 0; i < 100; i++)
		buf_adds(&text, "\xe2\x82\xac");
	buf_adds(&text, "\"}");
	cr_assert_eq(parse(buf_cstr(&text)), RPC_REQUEST);
	cr_assert_eq(strlen(m.method), 126, "cut between characters");
	buf_release(&text);
}

Test(jsonrpc, messages_are_written_in_one_piece)
{
	rpc_write_request(&out, "12", 2, "tokenize", "{\"a\":1}", 7);
	wrote("{\"jsonrpc\":\"2.0\",\"id\":12,\"method\":\"tokenize\",\"params\":{\"a\":1}}");
	rpc_write_request(&out, "12", 2, "ping", NULL, 0);
	wrote("{\"jsonrpc\":\"2.0\",\"id\":12,\"method\":\"ping\",\"params\":{}}");
	rpc_write_notification(&out, "$/cancelRequest", "{\"id\":1}", 8);
	wrote("{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":1}}");
	rpc_write_result(&out, RPC_ID_NULL, "[1]", 3);
	wrote("{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":[1]}");
	struct json_span none = { NULL, 0 };
	rpc_write_result(&out, none, NULL, 0);
	wrote("{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{}}");
}

Test(jsonrpc, errors_carry_type_and_retryable)
{
	struct fault f;
	fault_set(&f, ERR_OVERLOADED, "busy");
	fault_add_int(&f, "retry_after_ms", 12);
	rpc_write_error(&out, RPC_ID_NULL, &f);
	wrote("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32006,\"message\":\"busy\","
	      "\"data\":"
	      "{\"type\":\"overloaded\",\"retryable\":true,\"retry_after_ms\":12}}}");
	fault_set(&f, ERR_MODEL_LOAD, "no \"file\"");
	fault_add_bool(&f, "retryable", true);
	rpc_write_error_object(&out, &f);
	wrote("{\"code\":-32001,\"message\":\"no \\\"file\\\"\",\"data\":{\"type\":\"model_load\","
	      "\"retryable\":true}}");
}

Test(jsonrpc, details_of_our_own_faults_stay_here)
{
	static const int own[] = { ERR_INTERNAL, ERR_IO, ERR_AGAIN, ERR_NOT_FOUND, 0 };
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
		struct fault f = { 0 };
		fault_set(&f, own[i], "secret %zu", i);
		rpc_write_error_object(&out, &f);
		wrote("{\"code\":-32603,\"message\":\"An unexpected internal error "
		      "occurred\",\"data\":"
		      "{\"type\":\"internal\",\"retryable\":false}}");
	}
}

Test(jsonrpc, an_error_survives_being_read_and_written_again)
{
	struct fault f;
	fault_set(&f, ERR_MODEL_NOT_LOADED, "Model not loaded: é\"");
	fault_add_str(&f, "model_id", "a/b");
	fault_add_json(&f, "list", "[1,{\"x\":null}]");
	rpc_write_error_object(&out, &f);
	char *once = buf_detach(&out);
	struct fault back;
	rpc_read_error((struct json_span) { once, strlen(once) }, &back);
	cr_assert_eq(back.err, ERR_MODEL_NOT_LOADED);
	cr_assert_str_eq(back.text, f.text);
	rpc_write_error_object(&out, &back);
	wrote(once);
	free(once);
}

static struct fault read_error(const char *text)
{
	struct fault f;
	rpc_read_error((struct json_span) { text, strlen(text) }, &f);
	return f;
}

Test(jsonrpc, a_code_of_someone_elses_is_kept)
{
	struct fault f =
		read_error("{\"code\":-31999,\"message\":\"odd\",\"data\":{\"type\":\"theirs\"}}");
	cr_assert_eq(f.err, ERR_RUNTIME);
	rpc_write_error_object(&out, &f);
	wrote("{\"code\":-31999,\"message\":\"odd\",\"data\":{\"retryable\":false,\"type\":"
	      "\"theirs\"}}");
}

Test(jsonrpc, an_error_of_the_wrong_shape_is_still_one)
{
	static const char *const odd[] = { "{}", "{\"code\":\"x\"}",
		"{\"code\":1e300,\"message\":5}", "{\"code\":-5.5,\"data\":[1]}",
		"{\"message\":\"m\",\"data\":\"text\"}" };
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		struct fault f = read_error(odd[i]);
		cr_assert_eq(f.err, ERR_RUNTIME, "%s", odd[i]);
		cr_assert_eq(f.code, 0, "%s", odd[i]);
		cr_assert_str_eq(f.data, "", "%s", odd[i]);
	}
}

Test(jsonrpc, a_workers_error_is_spliced_as_it_is)
{
	const char *error = "{\"code\":-32005,\"message\":\"m\", \"data\":{ }}";
	rpc_write_error_raw(&out, (struct json_span) { "\"a\"", 3 },
		(struct json_span) { error, strlen(error) });
	wrote("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"error\":{\"code\":-32005,\"message\":\"m\", "
	      "\"data\":{ }}}");
}
