/* test_registry.c - one answer for each id, alone or in company. */
#include "controller/group.h"
#include "controller/registry.h"
#include "protocol/frame.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct registry *r;
static struct buf written; /* messages, one a line */
static int n_answered;

static void on_write(void *arg, const char *text, size_t n)
{
	(void)arg;
	buf_add(&written, text, n);
	buf_addc(&written, '\n');
}

static void on_consumed(void *arg, struct call *c, enum answer a, struct json_span body)
{
	(void)arg, (void)c, (void)a, (void)body;
}

static void on_answered(void *arg, struct call *c)
{
	(void)arg, (void)c;
	n_answered++;
}

static void start(void)
{
	static const struct registry_events events = { on_write, on_consumed, on_answered };
	r = registry_new(&events, NULL);
}

static void stop(void)
{
	cr_assert_eq(registry_count(r), 0);
	registry_free(r);
	buf_release(&written);
}
TestSuite(registry, .init = start, .fini = stop);

static struct json_span span(const char *text)
{
	return (struct json_span) { text, strlen(text) };
}

static struct call *admit(const char *id, struct group *g, size_t slot)
{
	struct call_seed seed = {
		.method = method_find("ping"), .params = span("{}"), .seat = { g, slot }
	};
	if (id)
		seed.id = span(id);
	return registry_admit(r, &seed);
}

static void answer(struct call *c, const char *result)
{
	registry_finish(r, c, ANSWER_RESULT, span(result));
}

Test(registry, echoes_the_id_byte_for_byte)
{
	const char *ids[] = { "1.0", "1e2", "123456789012345678901234567890", "\"\\u0041\"",
		"null" };
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		buf_clear(&written);
		answer(admit(ids[i], NULL, 0), "{\"a\":1}");
		char want[128];
		snprintf(want, sizeof want,
			"{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"a\":1}}\n", ids[i]);
		cr_assert_str_eq(buf_cstr(&written), want);
	}
}

Test(registry, a_notification_runs_and_is_never_answered)
{
	answer(admit(NULL, NULL, 0), "{}");
	cr_assert_eq(written.n_bytes, 0);
	cr_assert_eq(n_answered, 1);
}

Test(registry, an_answered_id_is_unknown_again_and_equal_ids_are_each_answered)
{
	struct call *a = admit("7", NULL, 0), *b = admit("7", NULL, 0);
	cr_assert_not_null(registry_find(r, span("7")));
	answer(a, "{}");
	cr_assert_eq(registry_find(r, span("7")), b);
	answer(b, "{}");
	cr_assert_null(registry_find(r, span("7")));
	cr_assert_eq(n_answered, 2);
}

Test(registry, a_silent_call_ends_without_a_word)
{
	struct call *c = admit("1", NULL, 0);
	c->is_silent = true;
	answer(c, "{}");
	cr_assert_eq(written.n_bytes, 0);
	cr_assert_eq(n_answered, 1);
}

Test(registry, a_result_beyond_the_frame_limit_becomes_an_error)
{
	struct buf big = BUF_INIT;
	buf_adds(&big, "{\"a\":\"");
	buf_reserve(&big, FRAME_OUT_MAX);
	memset(big.data + big.n_bytes, 'x', FRAME_OUT_MAX);
	big.n_bytes += FRAME_OUT_MAX;
	buf_adds(&big, "\"}");
	registry_finish(r, admit("1", NULL, 0), ANSWER_RESULT,
		(struct json_span) { big.data, big.n_bytes });
	buf_release(&big);
	cr_assert_not_null(strstr(buf_cstr(&written), "-32099"));
	cr_assert_lt(written.n_bytes, 1000);
}

/* -- groups ----------------------------------------------------------------------------- */

Test(registry, a_batch_array_is_written_once_with_the_last_answer)
{
	struct group *g = group_new_array(4);
	struct call *a = admit("1", g, 0), *b = admit("\"b\"", g, 1), *n = admit(NULL, g, 2);
	struct fault f;
	fault_set(&f, ERR_METHOD_NOT_FOUND, "no");
	answer(n, "{}");
	answer(b, "{\"b\":1}");
	registry_refuse(r, span("9"), (struct call_seat) { g, 3 }, &f);
	cr_assert_eq(written.n_bytes, 0);
	cr_assert_eq(n_answered, 0, "not before the bytes are written");
	answer(a, "{\"a\":1}");
	cr_assert_eq(n_answered, 3);
	const char *text = buf_cstr(&written);
	cr_assert_eq(text[0], '[');
	cr_assert_eq(json_scan(text, strlen(text), NULL), 0, "%s", text);
	cr_assert(strstr(text, "\"id\":1,") && strstr(text, "\"id\":\"b\",") &&
		  strstr(text, "-32601"));
}

Test(registry, a_batch_of_notifications_alone_writes_nothing)
{
	struct group *g = group_new_array(2);
	answer(admit(NULL, g, 0), "{}");
	registry_refuse(r, (struct json_span) { NULL, 0 }, (struct call_seat) { g, 1 }, NULL);
	cr_assert_eq(written.n_bytes, 0);
}

Test(registry, results_come_in_request_order_and_one_bad_item_fails_alone)
{
	struct call *parent = admit("1", NULL, 0);
	struct group *g = group_new_results(3, parent);
	struct call *a = admit(NULL, g, 0), *b = admit(NULL, g, 1), *c = admit(NULL, g, 2);
	struct fault f;
	fault_set(&f, ERR_MODEL_NOT_LOADED, "Model not loaded: x");
	answer(c, "{\"c\":3}");
	registry_fail(r, b, &f);
	answer(a, "{\"a\":1}");
	cr_assert_str_eq(buf_cstr(&written),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"results\":["
		"{\"success\":true,\"result\":{\"a\":1},\"error\":null},"
		"{\"success\":false,\"result\":null,\"error\":\"Model not loaded: x\","
		"\"error_code\":-32005,\"error_data\":{\"type\":\"model_not_loaded\","
		"\"retryable\":false}},"
		"{\"success\":true,\"result\":{\"c\":3},\"error\":null}]}}\n");
	cr_assert_eq(n_answered, 4);
}

Test(registry, results_inside_a_batch_array_wait_for_the_array)
{
	struct group *array = group_new_array(2);
	struct call *parent = admit("1", array, 0), *other = admit("2", array, 1);
	struct group *g = group_new_results(1, parent);
	answer(admit(NULL, g, 0), "{}");
	cr_assert_eq(n_answered, 0);
	answer(other, "{}");
	cr_assert_eq(n_answered, 3);
}
