/* session.c - scan, envelope, parameter check, handler. Stop 11; next: handlers.c */
#include "worker/session.h"
#include "protocol/json_tree.h"
#include "protocol/jsonrpc.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include "worker/generate_request.h"
#include "worker/handlers.h"
#include "worker/params.h"

#define ID_BYTES_MAX 65536 /* an id is echoed in frames that have a limit */

/* Unsent answers beyond which new work is refused: the host does not read. */
#define OUTBOX_REFUSE ((size_t)32 << 20)

/* Where a message stood: alone, or in a batch array. */
struct origin {
	struct gather *array;
	bool is_bulky; /* struct request */
};

static void answer_fault(
	struct worker *w, struct json_span id, struct gather *array, const struct fault *f)
{
	w->telemetry.bad_frames++;
	reply_fault(reply_new(&(struct reply_to) { &w->out, NULL, id, array }), f);
}

void session_bad_frame(struct worker *w, enum frame_status status)
{
	struct fault f;
	if (status == FRAME_TOO_LONG) {
		fault_set(&f, ERR_INVALID_REQUEST, "message longer than %zu bytes",
			w->options.max_frame);
		fault_add_int(&f, "max", (int64_t)w->options.max_frame);
	} else {
		fault_set(&f, ERR_PARSE, "header block without a usable Content-Length");
	}
	answer_fault(w, RPC_ID_NULL, NULL, &f);
}

static int admit(const struct request *rq, struct fault *f)
{
	const struct worker *w = rq->w;
	const enum method_class cls = rq->method->cls;
	if (cls == METHOD_LOCAL || cls == METHOD_CANCEL)
		return 0;
	const int64_t timeout = params_int(rq->params, "timeout_ms", 0);
	if (timeout > 0 && clock_now() - rq->arrived > (double)timeout / 1e3)
		return fault_set(f, ERR_TIMEOUT, "timeout_ms passed before it could begin");
	if (rq->admitted)
		return 0;
	if (w->phase != PHASE_SERVING)
		return fault_set(f, ERR_SHUTTING_DOWN, "the worker is shutting down");
	if (w->calls.n >= LIMIT_QUEUE_CALLS) {
		fault_set(f, ERR_OVERLOADED, "%zu calls are waiting", w->calls.n);
		fault_add_int(f, "depth", (int64_t)w->calls.n);
		fault_add_int(f, "retry_after_ms", 1000);
		return ERR_OVERLOADED;
	}
	if (json_object_object_get_ex(rq->params, "idempotency_key", NULL)) {
		fault_set(f, ERR_INVALID_PARAMS,
			"idempotency_key: a worker keeps no answers, the controller does");
		fault_add_str(f, "path", "idempotency_key");
		return ERR_INVALID_PARAMS;
	}
	if (outbox_unsent(&w->out) > OUTBOX_REFUSE) {
		fault_set(f, ERR_OVERLOADED, "%zu bytes of answers wait for the host to read them",
			outbox_unsent(&w->out));
		fault_add_int(f, "retry_after_ms", 1000);
		return ERR_OVERLOADED;
	}
	return 0;
}

void session_dispatch(struct request *rq)
{
	struct fault f = { 0 };
	handler_fn *handler = handler_find(rq->method->name);
	reply_about(rq->reply, rq->method, rq->arrived);
	if (method_check(rq->method, rq->params, &f) == 0 && admit(rq, &f) == 0 && !handler)
		fault_set(&f, ERR_METHOD_NOT_FOUND, "%s is not answered by a worker",
			rq->method->name);
	if (f.err || !handler) {
		log_debug("%s refused: %s", rq->method->name, f.text);
		reply_fault(rq->reply, &f);
		json_object_put(rq->params);
		return;
	}
	log_trace("handler", "%s", rq->method->name);
	rq->admitted = true;
	handler(rq);
}

static void take_call(struct worker *w, const struct rpc_msg *m, const struct origin *from)
{
	const bool is_request = m->kind == RPC_REQUEST;
	struct buf named = BUF_INIT;
	struct fault f = { 0 };
	struct request rq = {
		.w = w,
		.method = method_find(m->method),
		.arrived = clock_now(),
		.is_bulky = from->is_bulky,
		.reply = reply_new(&(struct reply_to) { &w->out, &w->telemetry,
			is_request ? m->id : (struct json_span) { 0 }, from->array }),
	};
	if (!rq.method)
		method_unknown(m->method, &f);
	else if (method_name_params(rq.method, m->params, &named, &f)) {
		rq.params = json_tree((struct json_span) { named.data, named.n_bytes });
		rq.raw_params = (struct json_span) { named.data, named.n_bytes };
		if (!rq.params)
			fault_set(&f, ERR_NOMEM, "no memory for the parameters");
	}
	if (f.err || !rq.method) {
		log_debug("%s: %s", m->method, f.text);
		reply_about(rq.reply, rq.method, rq.arrived);
		reply_fault(rq.reply, &f);
	} else {
		session_dispatch(&rq);
	}
	buf_release(&named);
}

static void take_one(struct worker *w, struct json_span value, const struct origin *from)
{
	struct rpc_msg m;
	rpc_parse(value, &m);
	if (m.id.n > ID_BYTES_MAX) {
		m.kind = RPC_INVALID;
		m.id = RPC_ID_NULL;
		fault_set(&m.fault, ERR_INVALID_REQUEST, "an id is at most %d bytes", ID_BYTES_MAX);
	}
	log_trace("session", "%s %.*s", m.method, (int)m.id.n, m.id.at ? m.id.at : "");
	if (m.kind == RPC_INVALID) {
		answer_fault(w, m.id.at ? m.id : RPC_ID_NULL, from->array, &m.fault);
	} else if (m.kind == RPC_REQUEST || m.kind == RPC_NOTIFICATION) {
		take_call(w, &m, from);
	} else {
		log_debug("an answer to nothing we asked was ignored");
		if (from->array)
			reply_drop(reply_new(
				&(struct reply_to) { &w->out, NULL, { 0 }, from->array }));
	}
}

static void take_array(struct worker *w, struct json_span value)
{
	struct json_cursor c = json_iterate(value);
	struct json_span element;
	struct fault f;
	size_t n = 0;
	while (n <= LIMIT_BATCH && json_next_element(&c, &element))
		n++;
	if (n == 0 || n > LIMIT_BATCH) {
		fault_set(&f, ERR_INVALID_REQUEST,
			n ? "a batch holds at most %d messages" : "an empty batch", LIMIT_BATCH);
		answer_fault(w, RPC_ID_NULL, NULL, &f);
		return;
	}
	const struct origin from = { gather_new_array(&w->out, n), value.n > LONG_TEXT_BYTES };
	c = json_iterate(value);
	while (json_next_element(&c, &element))
		take_one(w, element, &from);
}

void session_text(struct worker *w, const char *text, size_t n)
{
	struct fault f = { 0 };
	w->telemetry.frames_in++;
	w->telemetry.bytes_in += n;
	heap_took(&w->heap, n, clock_now());
	if (json_scan(text, n, &f) != 0) {
		answer_fault(w, RPC_ID_NULL, NULL, &f);
		return;
	}
	const struct json_span value = json_whole(text, n);
	if (json_kind(value) == '[')
		take_array(w, value);
	else
		take_one(w, value, &(struct origin) { 0 });
}
