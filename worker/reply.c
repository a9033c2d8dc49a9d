/* reply.c - one answer per request. */
#include "worker/reply.h"
#include "protocol/jsonrpc.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <stdlib.h>

/* Room kept in a shared frame for each member still to come: at least its error. */
#define MEMBER_RESERVE 4096

/* Around a result and its id: enough, or the buffer grows. */
#define ENVELOPE_BYTES 128

struct sent {
	void (*fn)(void *arg);
	void *arg;
};

struct reply {
	struct outbox *out;
	struct telemetry *telemetry;
	char *id; /* NULL for a notification */
	size_t n_id;
	struct gather *in; /* NULL: a frame of its own */
	size_t at;         /* in->parts */
	const struct method *method;
	double arrived;
	struct sent sent;
};

struct gather {
	struct outbox *out;
	struct reply *parent; /* results[] of a batch_* call; NULL for a JSON-RPC array */
	struct buf *parts;    /* [n] answers, empty = silent */
	struct sent *sent;    /* [n] */
	size_t n, n_taken, n_pending, n_bytes;
	bool dropped;
};

struct reply *reply_new(const struct reply_to *to)
{
	struct reply *r = xcalloc(1, sizeof *r);
	r->out = to->out;
	r->telemetry = to->telemetry;
	r->in = to->array;
	r->at = to->array ? to->array->n_taken++ : 0;
	if (to->id.at) {
		r->id = xstrndup(to->id.at, to->id.n);
		r->n_id = to->id.n;
	}
	return r;
}

static struct gather *gather_new(size_t n)
{
	struct gather *g = xcalloc(1, sizeof *g);
	g->parts = xcalloc(n, sizeof *g->parts);
	g->sent = xcalloc(n, sizeof *g->sent);
	g->n = g->n_pending = n;
	return g;
}

struct gather *gather_new_array(struct outbox *out, size_t n)
{
	struct gather *g = gather_new(n);
	g->out = out;
	return g;
}

struct gather *gather_new_results(struct reply *parent, size_t n)
{
	struct gather *g = gather_new(n);
	g->out = parent->out;
	g->parent = parent;
	return g;
}

struct reply *reply_new_item(struct gather *results, size_t i)
{
	const struct reply *p = results->parent;
	struct reply *r = reply_new(&(struct reply_to) {
		.out = p->out, .telemetry = p->telemetry, .id = { p->id, p->n_id } });
	r->in = results;
	r->at = i;
	return r;
}

void reply_about(struct reply *r, const struct method *m, double arrived)
{
	r->method = m;
	r->arrived = arrived;
}

void reply_on_sent(struct reply *r, void (*fn)(void *arg), void *arg)
{
	r->sent = (struct sent) { fn, arg };
}

bool reply_is_wanted(const struct reply *r)
{
	return r->id;
}

const char *reply_id(const struct reply *r, size_t *n)
{
	*n = r->n_id;
	return r->id;
}

static void reply_free(struct reply *r)
{
	free(r->id);
	free(r);
}

static void gather_free(struct gather *g)
{
	for (size_t i = 0; i < g->n; i++)
		buf_release(&g->parts[i]);
	free(g->parts);
	free(g->sent);
	free(g);
}

static void gather_sent(void *arg)
{
	struct gather *g = arg;
	for (size_t i = 0; i < g->n; i++)
		if (g->sent[i].fn)
			g->sent[i].fn(g->sent[i].arg);
	gather_free(g);
}

static void join_parts(const struct gather *g, struct buf *out)
{
	bool first = true;
	buf_reserve(out, g->n_bytes + g->n + 2);
	buf_addc(out, '[');
	for (size_t i = 0; i < g->n; i++) {
		if (!g->parts[i].n_bytes)
			continue;
		if (!first)
			buf_addc(out, ',');
		first = false;
		buf_add(out, g->parts[i].data, g->parts[i].n_bytes);
	}
	buf_addc(out, ']');
}

static void gather_leave(struct gather *g)
{
	struct buf text = BUF_INIT;
	if (g->parent && g->dropped) {
		reply_drop(g->parent);
		gather_sent(g);
	} else if (g->parent) {
		buf_adds(&text, "{\"results\":");
		join_parts(g, &text);
		buf_addc(&text, '}');
		reply_on_sent(g->parent, gather_sent, g);
		reply_result(g->parent, text.data, text.n_bytes);
	} else {
		join_parts(g, &text);
		if (text.n_bytes > 2)
			outbox_put(g->out, text.data, text.n_bytes);
		gather_sent(g);
	}
	buf_release(&text);
}

/* Would a part of n bytes still leave room for an error of every member to come? */
static bool gather_has_room(const struct gather *g, size_t n)
{
	const size_t reserve = (g->n_pending - 1) * MEMBER_RESERVE + MEMBER_RESERVE;
	return n <= FRAME_OUT_MAX && g->n_bytes + n + reserve <= FRAME_OUT_MAX;
}

static void write_item(struct buf *out, const char *result, size_t n, const struct fault *f)
{
	if (f) {
		buf_adds(out, "{\"success\":false,\"result\":null");
		struct buf object = BUF_INIT;
		rpc_write_error_object(&object, f);
		const struct json_span all = { object.data, object.n_bytes };
		const struct json_span data = json_find(all, "data");
		jout_key_cstr(out, "error", f->text);
		jout_key_int(out, "error_code", f->code ? f->code : err_info(f->err)->code);
		jout_key_raw(out, "error_data", data.at ? data.at : "null", data.at ? data.n : 4);
		buf_release(&object);
	} else {
		buf_adds(out, "{\"success\":true,\"result\":");
		buf_add(out, result, n);
		buf_adds(out, ",\"error\":null,\"error_code\":null,\"error_data\":null");
	}
	buf_addc(out, '}');
}

static void too_large(size_t n, struct fault *f)
{
	fault_set(f, ERR_INVALID_PARAMS,
		"the result is %zu bytes and a frame holds at most %zu: ask for less at once", n,
		(size_t)FRAME_OUT_MAX);
	fault_add_int(f, "result_bytes", (int64_t)n);
	fault_add_int(f, "max", (int64_t)FRAME_OUT_MAX);
}

static void write_answer(
	const struct reply *r, struct buf *out, const char *json, size_t n, const struct fault *f)
{
	const struct json_span id = { r->id, r->n_id };
	if (r->in && r->in->parent)
		write_item(out, json, n, f);
	else if (f)
		rpc_write_error(out, id, f);
	else
		rpc_write_result(out, id, json, n);
}

/* Everything ends here: the answer is written to where it belongs, and r is gone. */
static void finish(struct reply *r, const char *json, size_t n, const struct fault *f)
{
	struct fault large;
	struct buf text = BUF_INIT;
	struct gather *g = r->in;
	const size_t framed = n + r->n_id + MEMBER_RESERVE;
	if (!f && (g ? !gather_has_room(g, framed) : framed > FRAME_OUT_MAX)) {
		too_large(n, &large);
		f = &large;
	}
	log_trace("reply", "%s %s", r->id ? r->id : "(notification)", f ? f->text : "result");
	if (r->telemetry)
		telemetry_answer(r->telemetry, r->method, f ? f->err : 0,
			r->arrived > 0 ? clock_now() - r->arrived : 0);
	if (r->id) {
		buf_reserve(&text, n + r->n_id + ENVELOPE_BYTES);
		write_answer(r, &text, json, n, f);
	}
	if (g) {
		g->n_bytes += text.n_bytes;
		g->parts[r->at] = text;
		g->sent[r->at] = r->sent;
		reply_free(r);
		if (--g->n_pending == 0)
			gather_leave(g);
		return;
	}
	if (text.n_bytes)
		outbox_put(r->out, text.data, text.n_bytes);
	buf_release(&text);
	const struct sent sent = r->sent;
	reply_free(r);
	if (sent.fn)
		sent.fn(sent.arg);
}

void reply_result(struct reply *r, const char *json, size_t n)
{
	finish(r, json, n, NULL);
}

void reply_fault(struct reply *r, const struct fault *f)
{
	finish(r, NULL, 0, f);
}

void reply_drop(struct reply *r)
{
	free(r->id);
	r->id = NULL;
	r->n_id = 0;
	if (r->in)
		r->in->dropped = true;
	static const struct fault dropped = { .err = ERR_CANCELLED, .text = "cancelled" };
	finish(r, NULL, 0, &dropped);
}
