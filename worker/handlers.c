/* handlers.c - the table of handlers, and those that need no model. Stop 12; next: generate.c */
#include "worker/handlers.h"
#include "protocol/jsonrpc.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include "worker/batch.h"
#include "worker/chat_prompt.h"
#include "worker/check_draft.h"
#include "worker/embed.h"
#include "worker/generate.h"
#include "worker/info.h"
#include "worker/list_models.h"
#include "worker/load.h"
#include "worker/loop.h"
#include "worker/models.h"
#include "worker/params.h"
#include "worker/text_calls.h"
#include <stdlib.h>
#include <string.h>

/* The usual end of a handler that is done at once. */
static void answer(struct request *rq, const char *json, size_t n)
{
	reply_result(rq->reply, json, n);
	json_object_put(rq->params);
}

static void handle_nothing(struct request *rq)
{
	answer(rq, "{}", 2);
}

static void handle_ping(struct request *rq)
{
	struct buf out = BUF_INIT;
	buf_addc(&out, '{');
	jout_key_fixed(&out, "uptime", clock_now() - rq->w->started, 3);
	buf_addc(&out, '}');
	answer(rq, out.data, out.n_bytes);
	buf_release(&out);
}

static void handle_discover(struct request *rq)
{
	struct buf out = BUF_INIT;
	method_write_discover(&out);
	answer(rq, out.data, out.n_bytes);
	buf_release(&out);
}

static void handle_cancel(struct request *rq)
{
	const char *stream_id = params_str(rq->params, "stream_id");
	struct json_span id = json_find(rq->raw_params, "id");
	struct fault f;
	if (!id.at)
		id = json_find(rq->raw_params, "request_id");
	if (!stream_id == !id.at) {
		fault_set(&f, ERR_INVALID_PARAMS, "give exactly one of stream_id and id");
		fault_add_str(&f, "path", stream_id ? "id" : "stream_id");
		reply_fault(rq->reply, &f);
	} else {
		calls_cancel_and_tell(&rq->w->calls, stream_id, id, rq->reply);
	}
	json_object_put(rq->params);
}

/* LSP: the request itself is then answered. */
static void handle_cancel_request(struct request *rq)
{
	calls_cancel_id(&rq->w->calls, json_find(rq->raw_params, "id"), CANCEL_ERROR);
	answer(rq, "{}", 2);
}

/* MCP: nothing more is written for the request. */
static void handle_cancelled(struct request *rq)
{
	calls_cancel_id(&rq->w->calls, json_find(rq->raw_params, "requestId"), CANCEL_SILENT);
	answer(rq, "{}", 2);
}

static void handle_shutdown(struct request *rq)
{
	struct worker *w = rq->w;
	struct fault f;
	if (w->on_drained && reply_is_wanted(rq->reply)) {
		fault_set(&f, ERR_SHUTTING_DOWN, "shutdown was asked for already");
		reply_fault(rq->reply, &f);
	} else if (w->on_drained) {
		reply_drop(rq->reply);
	} else {
		w->on_drained = rq->reply;
	}
	json_object_put(rq->params);
	loop_drain(w, "shutdown");
}

static void handle_exit(struct request *rq)
{
	rq->w->exit_asked = true;
	loop_drain(rq->w, "exit");
	answer(rq, "{}", 2);
}

static const struct {
	const char *method;
	handler_fn *fn;
} table[] = {
	{ "initialize", handle_initialize },
	{ "initialized", handle_nothing },
	{ "notifications/initialized", handle_nothing },
	{ "runtime/info", handle_runtime_info },
	{ "runtime/state", handle_runtime_state },
	{ "runtime/telemetry", handle_runtime_telemetry },
	{ "ping", handle_ping },
	{ "rpc.discover", handle_discover },
	{ "cancel", handle_cancel },
	{ "$/cancelRequest", handle_cancel_request },
	{ "notifications/cancelled", handle_cancelled },
	{ "stream.ack", handle_stream_ack },
	{ "shutdown", handle_shutdown },
	{ "exit", handle_exit },
	{ "load_model", handle_load_model },
	{ "unload_model", handle_unload_model },
	{ "list_models", handle_list_models },
	{ "tokenize", handle_tokenize },
	{ "detokenize", handle_detokenize },
	{ "apply_chat_template", handle_apply_chat_template },
	{ "generate", handle_generate },
	{ "check_draft", handle_check_draft },
	{ "embed", handle_embed },
	{ "batch_tokenize", handle_batch },
	{ "batch_generate", handle_batch },
	{ "batch_check_draft", handle_batch },
};

handler_fn *handler_find(const char *method)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].method[0] == method[0] && strcmp(table[i].method, method) == 0)
			return table[i].fn;
	return NULL;
}
