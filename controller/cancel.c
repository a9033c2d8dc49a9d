/* cancel.c - one way down for three dialects. */
#include "controller/cancel.h"
#include "controller/admit.h"
#include "controller/dispatch.h"
#include "controller/share.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include <string.h>

enum dialect {
	OURS, /* `cancel`: a generate ends normally, finish_reason "cancelled" */
	LSP,  /* a request not answered yet is answered -32800 */
	MCP,  /* a request not answered yet gets no answer at all */
};

static void finish_cancelled(struct controller *c, struct call *call)
{
	struct fault f;
	c->metrics.counts[METRICS_CANCELS]++;
	fault_set(&f, ERR_CANCELLED, "the request was cancelled");
	registry_fail(c->registry, call, &f);
}

bool cancel_withdraw(struct controller *c, struct call *call)
{
	switch (call->owner) {
	case CALL_QUEUED: queue_remove(&c->queue, &call->waiting); break;
	case CALL_IN_FLIGHT: dispatch_detach(c, call); break;
	case CALL_JOINED: once_leave(call); break;
	case CALL_ADMITTED:
	case CALL_HELD:
	case CALL_ANSWERED: return false;
	}
	call->owner = CALL_ADMITTED;
	return true;
}

static void write_stream_id(const struct stream *s, struct buf *out)
{
	buf_addc(out, '{');
	jout_key_cstr(out, "stream_id", s->id);
	buf_addc(out, '}');
}

static void on_nothing(void *arg, const struct peer_reply *r)
{
	(void)arg, (void)r;
}

/* Send the worker a cancel of the stream; fn gets its answer. False: nobody to send it to. */
static bool ask_worker(struct controller *c, struct stream *s, peer_reply_fn fn, void *arg)
{
	struct worker *w = fleet_worker(&c->fleet, s->worker);
	struct buf params = BUF_INIT;
	if (!w || !w->peer)
		return false;
	s->is_cancelled = true;
	c->metrics.counts[METRICS_CANCELS]++;
	write_stream_id(s, &params);
	peer_call(w->peer, "cancel", (struct json_span) { params.data, params.n_bytes }, fn, arg);
	buf_release(&params);
	return true;
}

/* It lost its worker and waits for another: it ends here. */
static bool end_waiting(struct controller *c, struct stream *s)
{
	struct call *call = s->continuation;
	if (!call || call->owner != CALL_QUEUED || !cancel_withdraw(c, call))
		return false;
	finish_cancelled(c, call);
	return true;
}

void cancel_at_worker(struct controller *c, struct stream *s)
{
	if (!end_waiting(c, s))
		ask_worker(c, s, on_nothing, NULL);
}

/* -- calls not answered yet ------------------------------------------------------------- */

static bool cancel_call(struct controller *c, struct call *call, enum dialect d);

/* Its caller leaves; whoever else waits for its answer stays. */
static bool leave_call(struct controller *c, struct call *call, enum dialect d)
{
	return cancel_call(c, share_leave(c, call), d);
}

/* The items of a batch_* call: each fails by itself, and with the last the batch is
 * answered. */
static bool cancel_members(struct controller *c, const struct call *parent)
{
	struct call *members[LIMIT_BATCH], *call;
	size_t n = 0;
	TAILQ_FOREACH (call, registry_live(c->registry), live)
		if (call->seat.group == parent->leads && n < LIMIT_BATCH)
			members[n++] = call;
	/* The latest first: who waits for another's answer is gone before that one. */
	for (size_t i = n; i-- > 0;)
		leave_call(c, members[i], LSP);
	return n > 0;
}

static bool cancel_call(struct controller *c, struct call *call, enum dialect d)
{
	log_trace("cancel", "#%llu", (unsigned long long)call->number);
	call->is_silent = d == MCP;
	if (call->leads)
		return cancel_members(c, call);
	if (call->owner == CALL_HELD)
		return models_cancel(c, call);
	/* The stream is over for the host now, whatever its worker still does. */
	if (call->owner == CALL_IN_FLIGHT && call->stream)
		cancel_at_worker(c, call->stream);
	if (!cancel_withdraw(c, call))
		return false;
	finish_cancelled(c, call);
	return true;
}

/* -- what the worker says ------------------------------------------------------------- */

static void answer(struct controller *c, struct call *call, bool cancelled)
{
	const char *text = cancelled ? "{\"cancelled\":true}" : "{\"cancelled\":false}";
	registry_finish(
		c->registry, call, ANSWER_RESULT, (struct json_span) { text, strlen(text) });
}

/* The worker's word, since only it knows when nothing more can come. */
static void on_cancelled(void *arg, const struct peer_reply *r)
{
	struct call *call = arg;
	bool cancelled = r->outcome == PEER_LOST;
	if (r->outcome == PEER_RESULT)
		json_get_bool(json_find(r->body, "cancelled"), &cancelled);
	answer(call->controller, call, cancelled);
}

static struct stream *find_stream(struct controller *c, struct json_span stream_id)
{
	char name[4 * LIMIT_STREAM_ID + 1];
	if (!json_copy_str(stream_id, name, sizeof name))
		return NULL;
	return stream_find(&c->streams, name);
}

static void cancel_named(
	struct controller *c, struct call *asker, struct call *target, struct stream *s)
{
	if (s && !target && s->call && s->call->owner != CALL_ANSWERED)
		target = s->call;
	asker->owner = CALL_HELD;
	asker->controller = c;
	if (target && (target->owner != CALL_IN_FLIGHT || !target->stream)) {
		answer(c, asker, cancel_call(c, target, OURS));
		return;
	}
	if (target)
		s = target->stream;
	if (s && end_waiting(c, s))
		answer(c, asker, true);
	else if (!s || !ask_worker(c, s, on_cancelled, asker))
		answer(c, asker, false);
}

/* By its id a caller leaves what others want, too; a stream_id means the stream. */
static bool leave_shared(struct controller *c, struct call *target, struct json_span id)
{
	struct stream *s = stream_find_call(&c->streams, id);
	if (!target)
		return s && stream_leave(&c->streams, s, id);
	return share_is_wanted(target) && leave_call(c, target, OURS);
}

/* -- the other two, and `cancel` -------------------------------------------------------- */

/* Unknown ids are ignored: the answer and the cancel may have crossed. */
static void cancel_notified(struct controller *c, struct call *call)
{
	enum dialect d = strcmp(call->method->name, "$/cancelRequest") ? MCP : LSP;
	struct json_span id = json_find(call->params, d == MCP ? "requestId" : "id");
	struct call *target = registry_find(c->registry, id);
	struct stream *s = stream_find_call(&c->streams, id);
	if (target && target != call)
		leave_call(c, target, d);
	else if (s && !stream_leave(&c->streams, s, id))
		cancel_at_worker(c, s);
	registry_finish(c->registry, call, ANSWER_RESULT, (struct json_span) { "{}", 2 });
}

void cancel_method(struct controller *c, struct call *call)
{
	struct fault f = { 0 };
	struct json_span stream_id = json_find(call->params, "stream_id");
	struct json_span id = json_find(call->params, "id");
	if (!id.at)
		id = json_find(call->params, "request_id");
	if (json_kind(stream_id) == 'n')
		stream_id = (struct json_span) { NULL, 0 };
	if (!call->method->result) {
		cancel_notified(c, call);
		return;
	}
	if (admit_check(call->method, call->params, &f) == 0 && !stream_id.at == !id.at)
		fault_set(&f, ERR_INVALID_PARAMS, "cancel takes either stream_id or id");
	if (f.err) {
		registry_fail(c->registry, call, &f);
		return;
	}
	struct call *target = id.at ? registry_find(c->registry, id) : NULL;
	if (target == call)
		target = NULL;
	if (id.at && leave_shared(c, target, id)) {
		answer(c, call, true);
		return;
	}
	struct stream *s = id.at ? stream_find_call(&c->streams, id) : find_stream(c, stream_id);
	cancel_named(c, call, target, s);
}

/* -- deadlines -------------------------------------------------------------------------- */

void cancel_overdue(struct controller *c, struct call *call)
{
	struct fault f;
	int64_t waited_ms = (int64_t)(call->deadline_us - call->arrived_us) / 1000;
	bool was_queued = call->owner == CALL_QUEUED;
	call = share_leave(c, call);
	if (call->owner == CALL_IN_FLIGHT && call->stream)
		cancel_at_worker(c, call->stream);
	if (!cancel_withdraw(c, call))
		return;
	c->metrics.counts[METRICS_TIMEOUTS]++;
	fault_set(&f, ERR_TIMEOUT, "the request did not finish within its timeout of %lld ms",
		(long long)waited_ms);
	fault_add_str(&f, "phase", was_queued ? "queued" : "running");
	registry_fail(c->registry, call, &f);
}
