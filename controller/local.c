/* local.c - what the controller knows itself. */
#include "controller/local.h"
#include "controller/admit.h"
#include "controller/clock.h"
#include "controller/dispatch.h"
#include "controller/drain.h"
#include "controller/flow.h"
#include "controller/mcp.h"
#include "controller/roster.h"
#include "controller/splice.h"
#include "controller/telemetry.h"
#include "controller/view.h"
#include "protocol/limits.h"
#include "protocol/mem.h"
#include "protocol/version.h"
#include <string.h>
#include <unistd.h>

static void finish(struct controller *c, struct call *call, struct buf *result)
{
	registry_finish(c->registry, call, ANSWER_RESULT,
		(struct json_span) { result->data, result->n_bytes });
	buf_release(result);
}

/* -- initialize, ping, rpc.discover ----------------------------------------------------- */

static void write_method_names(struct buf *out)
{
	const struct method *m;
	buf_addc(out, '[');
	for (size_t i = 0; (m = method_at(i)) != NULL; i++) {
		if (m->refused || !m->result)
			continue;
		jout_sep(out);
		jout_cstr(out, m->name);
	}
	buf_addc(out, ']');
}

static void write_limits(const struct controller *c, struct buf *out)
{
	const struct options *o = c->opt;
	buf_addc(out, '{');
	jout_key_int(out, "message_bytes", (int64_t)o->max_message);
	jout_key_int(out, "frame_out_bytes", (int64_t)FRAME_OUT_MAX);
	jout_key_int(out, "json_depth", JSON_DEPTH_MAX);
	jout_key_int(out, "batch", LIMIT_BATCH);
	jout_key_int(out, "max_tokens", LIMIT_MAX_TOKENS);
	jout_key_int(out, "draft_tokens", LIMIT_DRAFT);
	jout_key_int(out, "stream_id_characters", LIMIT_STREAM_ID);
	jout_key_int(out, "queue_calls", (int64_t)o->queue_calls);
	jout_key_int(out, "queue_bytes", (int64_t)o->queue_bytes);
	jout_key_int(out, "streams_per_worker", (int64_t)o->streams);
	jout_key_int(out, "workers", o->n_workers);
	buf_addc(out, '}');
}

static void answer_initialize(struct controller *c, struct call *call)
{
	struct buf out = BUF_INIT;
	const char *mcp = mcp_negotiate(call->params);
	c->speaks_mcp = mcp != NULL;
	buf_addc(&out, '{');
	jout_key_cstr(&out, "protocolVersion", mcp ? mcp : "1");
	jout_key(&out, "capabilities");
	buf_adds(&out, "{\"tools\":{\"listChanged\":false},\"methods\":");
	write_method_names(&out);
	buf_adds(&out, ",\"framing\":[\"ndjson\",\"lsp\"]");
	jout_key_bool(&out, "batch", true);
	jout_key_bool(&out, "streaming", true);
	buf_addc(&out, '}');
	buf_adds(&out, ",\"serverInfo\":{\"name\":\"tandem\",\"version\":\"" TANDEM_VERSION "\"}");
	if (mcp)
		jout_key_cstr(&out, "instructions", mcp_instructions);
	jout_key(&out, "limits");
	write_limits(c, &out);
	buf_addc(&out, '}');
	finish(c, call, &out);
}

static void answer_ping(struct controller *c, struct call *call)
{
	struct buf out = BUF_INIT;
	buf_addc(&out, '{');
	/* MCP's answer is empty, and its clients insist. */
	if (!c->speaks_mcp)
		jout_key_fixed(&out, "uptime", (double)(clock_us() - c->started_us) / 1e6, 3);
	buf_addc(&out, '}');
	finish(c, call, &out);
}

static void answer_discover(struct controller *c, struct call *call)
{
	struct buf out = BUF_INIT;
	method_write_discover(&out);
	finish(c, call, &out);
}

/* -- runtime/state ---------------------------------------------------------------------- */

static const char *model_state(const struct controller *c, const struct model *m)
{
	for (int i = 0; i < c->fleet.n; i++)
		if (model_is_at(m, i) && worker_is_ready(&c->fleet.workers[i]))
			return "ready";
	return m->is_failed ? "failed" : "loading";
}

static unsigned restarts(const struct controller *c)
{
	unsigned n = 0;
	for (int i = 0; i < c->fleet.n; i++)
		n += c->fleet.workers[i].sup.restarts;
	return n;
}

static void answer_state(struct controller *c, struct call *call)
{
	struct buf out = BUF_INIT;
	buf_adds(&out, "{\"loaded_models\":[");
	for (const struct model *m = c->models.by_id; m; m = m->hh.next) {
		jout_sep(&out);
		buf_addc(&out, '{');
		jout_key_cstr(&out, "model_id", m->id);
		jout_key_cstr(&out, "state", model_state(c, m));
		jout_key_cstr(&out, "type", m->type[0] ? m->type : "text");
		buf_addc(&out, '}');
	}
	buf_addc(&out, ']');
	jout_key_int(&out, "active_streams", (int64_t)c->streams.n);
	jout_key_int(&out, "queued", (int64_t)c->queue.n_calls);
	jout_key_int(&out, "restart_count", restarts(c));
	view_write_workers(c, &out, NULL);
	buf_addc(&out, '}');
	finish(c, call, &out);
}

/* -- runtime/info: ours, and what the workers found on this machine --------------------- */

/* The first worker that told; all run the same binary on the same processors. */
static struct json_span worker_info(const struct controller *c)
{
	for (int i = 0; i < c->fleet.n; i++) {
		const struct buf *info = &c->fleet.workers[i].info;
		if (info->n_bytes)
			return (struct json_span) { info->data, info->n_bytes };
	}
	return (struct json_span) { "{}", 2 };
}

static void answer_info(struct controller *c, struct call *call)
{
	static const char *const ours[] = { "version", "protocol", "memory", "workers",
		"capabilities", "name", NULL };
	struct buf out = BUF_INIT;
	struct view_memory memory = view_read_memory(getpid());
	/* So the reference's hosts ask whether we are ready. */
	if (json_str_is(call->id, "readiness-probe"))
		host_limit_bursts(c->host);
	splice_without(&out, worker_info(c), ours);
	jout_key_cstr(&out, "name", "tandem");
	jout_key_cstr(&out, "version", TANDEM_VERSION);
	jout_key_cstr(&out, "protocol", "json-rpc-2.0");
	jout_key(&out, "capabilities");
	write_method_names(&out);
	jout_key(&out, "memory");
	buf_addf(&out, "{\"rss\":%ld,\"vms\":%ld}", memory.rss, memory.vms);
	view_write_workers(c, &out, NULL);
	buf_addc(&out, '}');
	finish(c, call, &out);
}

/* -- shutdown, notifications, the list -------------------------------------------------- */

static void begin_shutdown(struct controller *c, struct call *call)
{
	if (c->shutdown) {
		struct buf out = BUF_INIT;
		buf_adds(&out, "{\"success\":true}");
		finish(c, call, &out);
		return;
	}
	call->owner = CALL_HELD;
	c->shutdown = call;
	drain_begin(c, "shutdown");
	dispatch_soon(c); /* it may come again when all is drained already */
}

static void answer_exit(struct controller *c, struct call *call)
{
	struct buf out = BUF_INIT;
	buf_adds(&out, "{}");
	finish(c, call, &out);
	drain_leave(c, "exit");
}

static void answer_nothing(struct controller *c, struct call *call)
{
	struct buf out = BUF_INIT;
	buf_adds(&out, "{}");
	finish(c, call, &out);
}

/* A stream that is over needs no credit, so one that is unknown is no mistake. */
static void answer_ack(struct controller *c, struct call *call)
{
	char id[4 * LIMIT_STREAM_ID + 1];
	int64_t index;
	struct stream *s = NULL;
	if (json_copy_str(json_find(call->params, "stream_id"), id, sizeof id))
		s = stream_find(&c->streams, id);
	if (s && json_get_int(json_find(call->params, "index"), &index) && index >= 0)
		flow_acked(c, s, (size_t)index + 1);
	answer_nothing(c, call);
}

static const struct {
	const char *name;
	void (*answer)(struct controller *c, struct call *call);
	bool needs_worker; /* waits until one is up, or none will be */
} METHODS[] = {
	{ "initialize", answer_initialize, false },
	{ "ping", answer_ping, false },
	{ "runtime/info", answer_info, true },
	{ "runtime/state", answer_state, false },
	{ "runtime/telemetry", telemetry_answer, false },
	{ "runtime/add_worker", roster_add, false },
	{ "runtime/drain_worker", roster_drain, false },
	{ "runtime/remove_worker", roster_remove, false },
	{ "rpc.discover", answer_discover, false },
	{ "tools/list", mcp_list, false },
	{ "list_models", models_list, true },
	{ "shutdown", begin_shutdown, false },
	{ "exit", answer_exit, false },
	{ "initialized", answer_nothing, false },
	{ "notifications/initialized", answer_nothing, false },
	{ "stream.ack", answer_ack, false },
};

static bool is_up(const struct controller *c)
{
	for (int i = 0; i < c->fleet.n; i++)
		if (worker_is_ready(&c->fleet.workers[i]))
			return true;
	return !fleet_may_serve(&c->fleet);
}

static bool run(struct controller *c, struct call *call)
{
	for (size_t i = 0; i < sizeof METHODS / sizeof METHODS[0]; i++) {
		if (strcmp(METHODS[i].name, call->method->name) != 0)
			continue;
		if (METHODS[i].needs_worker && !is_up(c))
			return false;
		METHODS[i].answer(c, call);
		return true;
	}
	struct fault f;
	fault_set(&f, ERR_METHOD_NOT_FOUND, "%s is not answered here", call->method->name);
	registry_fail(c->registry, call, &f);
	return true;
}

void local_call(struct controller *c, struct call *call)
{
	struct fault f;
	if (admit_check(call->method, call->params, &f) < 0) {
		registry_fail(c->registry, call, &f);
		return;
	}
	local_again(c, call);
}

void local_again(struct controller *c, struct call *call)
{
	if (run(c, call))
		return;
	call->owner = CALL_HELD;
	TAILQ_INSERT_TAIL(&c->pending, call, pending);
}

void local_workers_changed(struct controller *c)
{
	struct call *call, *next;
	if (!is_up(c))
		return;
	for (call = TAILQ_FIRST(&c->pending); call; call = next) {
		next = TAILQ_NEXT(call, pending);
		TAILQ_REMOVE(&c->pending, call, pending);
		run(c, call);
	}
}
