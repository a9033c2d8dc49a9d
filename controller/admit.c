/* admit.c - from a host's message to a call with a place to go: admit_model.c, local.c,
 * models.c or cancel.c. */
#include "controller/admit.h"
#include "controller/cancel.h"
#include "controller/clock.h"
#include "controller/group.h"
#include "controller/local.h"
#include "controller/mcp.h"
#include "controller/splice.h"
#include "protocol/json_tree.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include <string.h>

#define ID_BYTES_MAX 65536 /* an id is echoed in frames that have a limit */

static const struct json_span ABSENT = { NULL, 0 };
static const struct call_seat ALONE = { NULL, 0 };

/* -- the full check, where the controller answers itself -------------------------------- */

int admit_check(const struct method *m, struct json_span params, struct fault *f)
{
	struct json_object *tree = json_tree(params);
	int err;
	if (tree)
		err = method_check(m, tree, f);
	else
		err = fault_set(f, ERR_INVALID_PARAMS, "the params of %s cannot be read", m->name);
	json_object_put(tree);
	return err;
}

/* -- batch_* methods: each item a call of its own --------------------------------------- */

/* timeout_ms, priority and client of the batch hold for the items that have none. */
static void write_item(struct buf *out, struct json_span item, struct json_span batch)
{
	static const char *const shared[] = { "timeout_ms", "priority", "client" };
	static const char *const none[] = { NULL };
	splice_without(out, item, none);
	for (int i = 0; i < 3; i++) {
		struct json_span v = json_find(batch, shared[i]);
		if (v.at && !json_find(item, shared[i]).at)
			jout_key_raw(out, shared[i], v.at, v.n);
	}
	buf_addc(out, '}');
}

static void admit_item(struct controller *c, const struct method *m, struct json_span item,
	struct json_span batch, struct call_seat seat)
{
	if (json_kind(item) != '{') {
		struct fault f;
		fault_set(&f, ERR_INVALID_PARAMS, "requests[%zu] must be an object", seat.slot);
		registry_refuse(c->registry, ABSENT, seat, &f);
		return;
	}
	struct buf params = BUF_INIT;
	write_item(&params, item, batch);
	admit_model_call(c, m, ABSENT, (struct json_span) { params.data, params.n_bytes }, seat);
	buf_release(&params);
}

static size_t count_elements(struct json_span array)
{
	struct json_cursor c = json_iterate(array);
	struct json_span item;
	size_t n = 0;
	while (json_next_element(&c, &item))
		n++;
	return n;
}

static bool is_plain_batch(struct json_span params)
{
	static const char *const known[] = { "requests", "timeout_ms", "priority", "client" };
	struct json_cursor c = json_iterate(params);
	struct json_span key, value;
	bool has_requests = false;
	while (json_next_member(&c, &key, &value)) {
		if (!json_str_is(key, known[0]))
			return false;
		has_requests = json_kind(value) == '[';
	}
	return has_requests;
}

static void admit_batch(struct controller *c, struct call *parent)
{
	struct fault f = { 0 };
	struct json_span params = parent->params, requests = json_find(params, "requests"), item;
	size_t n = count_elements(requests);
	if (!is_plain_batch(params) || n > LIMIT_BATCH)
		admit_check(parent->method, params, &f);
	if (f.err) {
		registry_fail(c->registry, parent, &f);
		return;
	}
	if (n == 0) {
		static const char none[] = "{\"results\":[]}";
		registry_finish(c->registry, parent, ANSWER_RESULT,
			(struct json_span) { none, sizeof none - 1 });
		return;
	}
	const struct method *m = method_find(parent->method->item_name);
	struct json_cursor cursor = json_iterate(requests);
	parent->owner = CALL_HELD;
	parent->leads = group_new_results(n, parent);
	struct call_seat seat = { parent->leads, 0 };
	/* The last item may finish parent, and its bytes with it: so count, and copy nothing
	 * from them after the last. */
	for (; seat.slot < n; seat.slot++) {
		json_next_element(&cursor, &item);
		admit_item(c, m, item, params, seat);
	}
}

/* -- requests and messages -------------------------------------------------------------- */

static void route_call(struct controller *c, struct call *call)
{
	switch (call->method->cls) {
	case METHOD_LOCAL: local_call(c, call); return;
	case METHOD_CANCEL: cancel_method(c, call); return;
	case METHOD_BATCH: admit_batch(c, call); return;
	case METHOD_TOOL: mcp_call(c, call); return;
	case METHOD_CATALOG:
		if (!strcmp(call->method->name, "load_model"))
			models_load(c, call);
		else if (!strcmp(call->method->name, "unload_model"))
			models_unload(c, call);
		else
			local_call(c, call);
		return;
	case METHOD_PURE:
	case METHOD_STREAM: break;
	}
	log_fatal("%s is not routed here", call->method->name);
}

void admit_call(struct controller *c, const struct method *m, struct json_span id,
	struct json_span params, struct call_seat seat)
{
	if (m->cls == METHOD_PURE || m->cls == METHOD_STREAM) {
		admit_model_call(c, m, id, params, seat);
		return;
	}
	struct call_seed seed = { m, id, params, seat, clock_us() };
	route_call(c, registry_admit(c->registry, &seed));
}

/* While draining, only what tells or cancels is still answered. */
static int check_phase(const struct controller *c, const struct method *m, struct fault *f)
{
	if (c->phase == PHASE_SERVING || m->cls == METHOD_LOCAL || m->cls == METHOD_CANCEL)
		return 0;
	return fault_set(f, ERR_SHUTTING_DOWN, "tandem is shutting down");
}

static void admit_request(struct controller *c, const struct rpc_msg *m, struct call_seat seat)
{
	struct fault f = { 0 };
	struct buf named = BUF_INIT;
	struct json_span id = m->kind == RPC_REQUEST ? m->id : ABSENT;
	const struct method *method = method_find(m->method);
	bool ok = method || (method_unknown(m->method, &f), false);
	ok = ok && check_phase(c, method, &f) == 0;
	ok = ok && method_name_params(method, m->params, &named, &f);
	struct json_span params = { named.data, named.n_bytes };
	if (id.at && id.n > ID_BYTES_MAX) {
		fault_set(&f, ERR_INVALID_REQUEST, "an id may have %d bytes, not %zu", ID_BYTES_MAX,
			id.n);
		id = RPC_ID_NULL;
		ok = false;
	}
	if (!ok) {
		metrics_answered(
			&c->metrics, method ? method->name : "unknown", err_info(f.err)->code);
		registry_refuse(c->registry, id, seat, &f);
	} else {
		admit_call(c, method, id, params, seat);
	}
	buf_release(&named);
}

static void admit_value(struct controller *c, struct json_span value, struct call_seat seat)
{
	struct rpc_msg m;
	rpc_parse(value, &m);
	switch (m.kind) {
	case RPC_REQUEST:
	case RPC_NOTIFICATION: admit_request(c, &m, seat); return;
	case RPC_INVALID:
		c->metrics.counts[METRICS_BAD_MESSAGES]++;
		registry_refuse(c->registry, m.id, seat, &m.fault);
		return;
	case RPC_RESULT:
	case RPC_ERROR: break;
	}
	/* An answer, to us who never asked a host anything. */
	registry_refuse(c->registry, ABSENT, seat, NULL);
}

static void admit_array(struct controller *c, struct json_span array)
{
	size_t n = count_elements(array);
	if (n == 0 || n > LIMIT_BATCH) {
		struct fault f;
		fault_set(&f, ERR_INVALID_REQUEST, "a batch must hold 1 to %d messages, not %zu",
			LIMIT_BATCH, n);
		c->metrics.counts[METRICS_BAD_MESSAGES]++;
		registry_refuse(c->registry, RPC_ID_NULL, ALONE, &f);
		return;
	}
	struct call_seat seat = { group_new_array(n), 0 };
	struct json_cursor cursor = json_iterate(array);
	struct json_span value;
	for (; seat.slot < n; seat.slot++) {
		json_next_element(&cursor, &value);
		admit_value(c, value, seat);
	}
}

void admit_message(struct controller *c, const char *text, size_t n)
{
	struct fault f;
	if (json_scan(text, n, &f) < 0) {
		c->metrics.counts[METRICS_BAD_MESSAGES]++;
		registry_refuse(c->registry, RPC_ID_NULL, ALONE, &f);
		return;
	}
	while (n && strchr(" \t\r\n", text[0]))
		text++, n--;
	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	struct json_span value = { text, n };
	if (json_kind(value) == '[')
		admit_array(c, value);
	else
		admit_value(c, value, ALONE);
}

void admit_unreadable(struct controller *c, enum frame_status why)
{
	struct fault f;
	c->metrics.counts[METRICS_BAD_MESSAGES]++;
	if (why == FRAME_TOO_LONG) {
		fault_set(&f, ERR_INVALID_REQUEST, "message longer than %zu bytes",
			c->opt->max_message);
		fault_add_int(&f, "max", (int64_t)c->opt->max_message);
	} else {
		fault_set(&f, ERR_PARSE, "header block without a usable Content-Length");
	}
	registry_refuse(c->registry, RPC_ID_NULL, ALONE, &f);
}
