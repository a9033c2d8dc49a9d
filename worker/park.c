/* park.c - requests that wait for their model to be loaded. */
#include "worker/park.h"
#include "protocol/mem.h"
#include "worker/params.h"
#include "worker/session.h"
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct parked {
	struct call call; /* first: a call * is a parked * */
	struct request rq;
	const char *model_id;
	struct parked **list;
	double deadline; /* clock_now() based, 0 = none */
	struct parked *prev, *next;
};

/* Out of the list; the request itself is the caller's. */
static void unpark(struct parked *p)
{
	DL_DELETE(*p->list, p);
	calls_over(&p->rq.w->calls, &p->call);
	free(p);
}

/* f: why, or NULL for silence. */
static void refuse(struct parked *p, const struct fault *f)
{
	if (f)
		reply_fault(p->rq.reply, f);
	else
		reply_drop(p->rq.reply);
	json_object_put(p->rq.params);
	unpark(p);
}

static void on_cancel(struct call *c, enum cancel_how how)
{
	struct parked *p = (struct parked *)c;
	struct fault f;
	fault_set(&f, p->rq.w->phase == PHASE_SERVING ? ERR_CANCELLED : ERR_SHUTTING_DOWN,
		"cancelled while %s was being loaded", p->model_id);
	refuse(p, how == CANCEL_SILENT ? NULL : &f);
}

void park(struct parked **list, const struct request *rq, const char *model_id)
{
	struct parked *p = xcalloc(1, sizeof *p);
	const int64_t timeout = params_int(rq->params, "timeout_ms", 0);
	p->rq = *rq;
	p->rq.raw_params = (struct json_span) { 0 };
	p->model_id = model_id;
	p->list = list;
	p->deadline = timeout > 0 ? rq->arrived + (double)timeout / 1e3 : 0;
	p->call.cancel = on_cancel;
	calls_add(&rq->w->calls, &p->call, rq->reply,
		rq->method->cls == METHOD_STREAM ? params_str(rq->params, "stream_id") : NULL);
	DL_APPEND(*list, p);
}

void park_resume(struct parked **list)
{
	while (*list) {
		struct request rq = (*list)->rq;
		unpark(*list);
		session_dispatch(&rq);
	}
}

void park_refuse(struct parked **list, const struct fault *f)
{
	while (*list)
		refuse(*list, f);
}

bool park_has(const struct parked *list, const char *method)
{
	const struct parked *p;
	DL_FOREACH (list, p)
		if (strcmp(p->rq.method->name, method) == 0)
			return true;
	return false;
}

bool park_names(const struct parked *list, const char *model_id)
{
	static const char *const keys[] = { "model_id", "draft_model", "primary_id", "draft_id" };
	const struct parked *p;
	DL_FOREACH (list, p)
		for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
			const char *id = params_str(p->rq.params, keys[i]);
			if (id && strcmp(id, model_id) == 0)
				return true;
		}
	return false;
}

double park_tick(struct parked **list, double now)
{
	double soonest = -1;
	struct parked *p, *next;
	DL_FOREACH_SAFE (*list, p, next) {
		struct fault f;
		const double left = p->deadline - now;
		if (p->deadline == 0)
			continue;
		if (left > 0) {
			soonest = soonest < 0 || left < soonest ? left : soonest;
			continue;
		}
		fault_set(&f, ERR_TIMEOUT, "timeout_ms passed while %s was being loaded",
			p->model_id);
		refuse(p, &f);
	}
	return soonest;
}
