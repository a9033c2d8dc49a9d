/* batch.c - the items of a batch_* call, each on its own way. */
#include "worker/batch.h"
#include "worker/generate_request.h"
#include "worker/params.h"
#include "worker/session.h"

static const char *const INHERITED[] = { "timeout_ms", "priority", "client" };
#define N_INHERITED (sizeof INHERITED / sizeof *INHERITED)

static bool has_inheritance(struct json_object *batch)
{
	for (size_t i = 0; i < N_INHERITED; i++)
		if (params_has(batch, INHERITED[i]))
			return true;
	return false;
}

/* What the batch says about waiting holds for items that say nothing themselves. */
static void inherit(struct json_object *item, struct json_object *batch)
{
	for (size_t i = 0; i < N_INHERITED; i++) {
		struct json_object *v = params_get(batch, INHERITED[i]);
		if (v && !json_object_object_get_ex(item, INHERITED[i], NULL))
			json_object_object_add(item, INHERITED[i], json_object_get(v));
	}
}

void handle_batch(struct request *rq)
{
	struct json_object *requests = params_get(rq->params, "requests");
	const size_t n = json_object_array_length(requests);
	if (n == 0) {
		reply_result(rq->reply, "{\"results\":[]}", 14);
		json_object_put(rq->params);
		return;
	}
	const struct method *method = method_find(rq->method->item_name);
	const bool inherits = has_inheritance(rq->params);
	struct gather *results = gather_new_results(rq->reply, n);
	/* Items that need the model share their first forward pass. */
	engine_gather(rq->w->engine, true);
	for (size_t i = 0; i < n; i++) {
		struct json_object *item = json_object_array_get_idx(requests, i);
		struct request one = { .w = rq->w,
			.method = method,
			.params = json_object_get(item),
			.reply = reply_new_item(results, i),
			.is_bulky = rq->is_bulky || rq->raw_params.n > LONG_TEXT_BYTES,
			.arrived = rq->arrived };
		if (inherits && json_object_is_type(item, json_type_object))
			inherit(item, rq->params);
		session_dispatch(&one);
	}
	engine_gather(rq->w->engine, false);
	json_object_put(rq->params);
}
