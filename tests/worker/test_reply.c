#include "protocol/mem.h"
#include "worker/reply.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct outbox o;

static void closed_outbox(void)
{
	/* Never flushed: frames are looked at where they wait. */
	outbox_init(&o, -1);
	o.framing = FRAMING_NDJSON;
}
TestSuite(reply, .init = closed_outbox, .timeout = 60);

static struct reply *reply_for(const char *id, struct gather *array)
{
	return reply_new(&(struct reply_to) {
		.out = &o, .id = { id, id ? strlen(id) : 0 }, .array = array });
}

static void must_be(const char *text)
{
	cr_assert_str_eq(buf_cstr(&o.out), text);
	outbox_release(&o);
}

static void count(void *arg)
{
	++*(int *)arg;
}

Test(reply, a_result_leaves_at_once_with_its_id)
{
	int sent = 0;
	struct reply *r = reply_for("1.0", NULL);
	reply_on_sent(r, count, &sent);
	reply_result(r, "{\"a\":1}", 7);
	cr_assert_eq(sent, 1);
	must_be("{\"jsonrpc\":\"2.0\",\"id\":1.0,\"result\":{\"a\":1}}\n");
}

Test(reply, a_notification_is_never_answered)
{
	const struct fault f = { .err = ERR_INTERNAL, .text = "x" };
	reply_result(reply_for(NULL, NULL), "{}", 2);
	reply_fault(reply_for(NULL, NULL), &f);
	must_be("");
}

Test(reply, an_array_leaves_with_its_last_member_in_the_order_of_the_request)
{
	int sent = 0;
	struct gather *g = gather_new_array(&o, 4);
	struct reply *a = reply_for("1", g), *n = reply_for(NULL, g), *b = reply_for("2", g),
		     *dropped = reply_for("3", g);
	reply_on_sent(a, count, &sent);
	reply_result(b, "{}", 2);
	reply_result(n, "{}", 2);
	reply_result(a, "{}", 2);
	cr_assert_eq(sent, 0, "a stream may not begin before its handshake is out");
	cr_assert_eq(outbox_unsent(&o), 0);
	reply_drop(dropped);
	cr_assert_eq(sent, 1);
	must_be("[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}},"
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}]\n");
}

Test(reply, an_array_of_notifications_writes_nothing)
{
	struct gather *g = gather_new_array(&o, 2);
	struct reply *a = reply_for(NULL, g), *b = reply_for(NULL, g);
	reply_result(a, "{}", 2);
	reply_result(b, "{}", 2);
	must_be("");
}

Test(reply, results_say_for_each_item_whether_it_succeeded)
{
	struct gather *g = gather_new_results(reply_for("9", NULL), 2);
	struct fault f = { 0 };
	fault_set(&f, ERR_MODEL_NOT_LOADED, "Model not loaded: x");
	fault_add_str(&f, "model_id", "x");
	struct reply *a = reply_new_item(g, 0), *b = reply_new_item(g, 1);
	reply_fault(b, &f);
	reply_result(a, "{\"n\":1}", 7);
	must_be("{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{\"results\":["
		"{\"success\":true,\"result\":{\"n\":1},\"error\":null,\"error_code\":null,"
		"\"error_data\":null},{\"success\":false,\"result\":null,\"error\":"
		"\"Model not loaded: x\",\"error_code\":-32005,\"error_data\":{\"type\":"
		"\"model_not_loaded\",\"retryable\":false,\"model_id\":\"x\"}}]}}\n");
}

Test(reply, results_nest_in_an_array)
{
	struct gather *array = gather_new_array(&o, 1);
	struct gather *results = gather_new_results(reply_for("1", array), 1);
	reply_result(reply_new_item(results, 0), "{}", 2);
	must_be("[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"results\":[{\"success\":true,"
		"\"result\":{},\"error\":null,\"error_code\":null,\"error_data\":null}]}}]\n");
}

Test(reply, a_dropped_item_silences_the_whole_call)
{
	struct gather *g = gather_new_results(reply_for("1", NULL), 2);
	struct reply *a = reply_new_item(g, 0), *b = reply_new_item(g, 1);
	reply_result(a, "{}", 2);
	reply_drop(b);
	must_be("");
}

Test(reply, a_result_larger_than_a_frame_becomes_an_error)
{
	const size_t n = FRAME_OUT_MAX + 1;
	char *large = xmalloc(n);
	memset(large, ' ', n);
	large[0] = '{';
	large[n - 1] = '}';
	reply_result(reply_for("1", NULL), large, n);
	cr_assert(strstr(buf_cstr(&o.out), "-32602"));
	cr_assert(strstr(buf_cstr(&o.out), "8388608"));
	cr_assert_lt(outbox_unsent(&o), 1000);
	free(large);
	outbox_release(&o);
}

Test(reply, of_an_array_only_the_members_that_do_not_fit_become_errors)
{
	const size_t n = (size_t)3 << 20;
	char *large = xmalloc(n);
	struct gather *g = gather_new_array(&o, 4);
	struct reply *r[4];
	memset(large, ' ', n);
	large[0] = '{';
	large[n - 1] = '}';
	for (int i = 0; i < 4; i++)
		r[i] = reply_for("1", g);
	for (int i = 0; i < 4; i++)
		reply_result(r[i], large, n);
	cr_assert_leq(outbox_unsent(&o), FRAME_OUT_MAX + 1);
	cr_assert_gt(outbox_unsent(&o), 2 * n);
	size_t errors = 0;
	for (const char *p = buf_cstr(&o.out); (p = strstr(p, "-32602")); p++)
		errors++;
	cr_assert_eq(errors, 2);
	free(large);
	outbox_release(&o);
}
