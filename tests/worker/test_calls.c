#include "worker/calls.h"
#include <criterion/criterion.h>
#include <string.h>

static struct outbox o;
static struct calls cs;

struct probe {
	struct call call;
	int n_cancelled;
	enum cancel_how how;
	bool ends_at_once;
};

static void on_cancel(struct call *c, enum cancel_how how)
{
	struct probe *p = (struct probe *)c;
	p->n_cancelled++;
	p->how = how;
	if (p->ends_at_once)
		calls_over(&cs, c);
}

static void begin(void)
{
	outbox_init(&o, -1);
	o.framing = FRAMING_NDJSON;
}
TestSuite(calls, .init = begin, .timeout = 60);

static struct reply *reply_for(const char *id)
{
	return reply_new(&(struct reply_to) { .out = &o, .id = { id, strlen(id) } });
}

static void add(struct probe *p, const char *id, const char *stream_id)
{
	struct reply *r = reply_for(id);
	p->call.cancel = on_cancel;
	calls_add(&cs, &p->call, r, stream_id);
	reply_drop(r);
}

static size_t cancel_id(const char *id)
{
	return calls_cancel_id(&cs, (struct json_span) { id, strlen(id) }, CANCEL_ERROR);
}

static bool said(const char *text)
{
	return strstr(buf_cstr(&o.out), text);
}

Test(calls, are_found_by_id_in_any_spelling_of_it)
{
	struct probe a = { 0 }, b = { 0 }, c = { 0 };
	add(&a, "100", NULL);
	add(&b, "\"100\"", NULL);
	add(&c, "1.5", NULL);
	cr_assert_eq(cancel_id("1e2"), 1);
	cr_assert_eq(a.n_cancelled, 1);
	cr_assert_eq(a.how, CANCEL_ERROR);
	cr_assert_eq(cancel_id("\"\\u00310\\u0030\""), 1);
	cr_assert_eq(b.n_cancelled, 1);
	cr_assert_eq(cancel_id("1.5"), 1);
	cr_assert_eq(cancel_id("101"), 0);
	cr_assert_eq(cancel_id("null"), 0);
	calls_over(&cs, &a.call);
	calls_over(&cs, &b.call);
	calls_over(&cs, &c.call);
	cr_assert_eq(cs.n, 0);
}

Test(calls, of_one_batch_share_its_id_and_are_cancelled_together)
{
	struct probe p[3] = { 0 };
	for (int i = 0; i < 3; i++) {
		p[i].ends_at_once = i != 1;
		add(&p[i], "7", NULL);
	}
	calls_cancel_and_tell(&cs, NULL, (struct json_span) { "7", 1 }, reply_for("8"));
	cr_assert(p[0].n_cancelled && p[1].n_cancelled && p[2].n_cancelled);
	cr_assert_not(said("cancelled"), "one of them may still say something");
	calls_over(&cs, &p[1].call);
	cr_assert(said("{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{\"cancelled\":true}}\n"));
	outbox_release(&o);
}

Test(calls, are_found_by_stream_id_until_they_are_over)
{
	struct probe p = { 0 };
	add(&p, "1", "s");
	cr_assert_eq(calls_find_stream(&cs, "s"), &p.call);
	cr_assert_null(calls_find_stream(&cs, "t"));
	calls_cancel_and_tell(&cs, "s", (struct json_span) { 0 }, reply_for("2"));
	calls_cancel_and_tell(&cs, "s", (struct json_span) { 0 }, reply_for("3"));
	cr_assert_eq(p.how, CANCEL_FINISH);
	cr_assert_not(said("cancelled"));
	calls_over(&cs, &p.call);
	cr_assert(said("\"id\":2,\"result\":{\"cancelled\":true}"));
	cr_assert(said("\"id\":3,\"result\":{\"cancelled\":true}"));
	cr_assert_null(calls_find_stream(&cs, "s"));
	calls_cancel_and_tell(&cs, "s", (struct json_span) { 0 }, reply_for("4"));
	cr_assert(said("\"id\":4,\"result\":{\"cancelled\":false}"));
	outbox_release(&o);
}
