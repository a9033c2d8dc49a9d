/* models_list.c - list_models: what the workers see in their roots, and who has what. */
#include "controller/local.h"
#include "controller/replay.h"
#include "protocol/limits.h"
#include "protocol/mem.h"
#include <stdlib.h>

/* Every worker has the same roots, but maybe not the same models loaded: a loaded model is
 * told by the first worker that has it, any other by the first that was asked. */
struct listing {
	struct controller *c;
	struct call *call;
	int first; /* index of the worker asked first */
	size_t n_left, n_told;
	struct buf models; /* `[` and elements */
	struct buf error;
	struct worker *lost; /* the last worker that ended over it */
	bool is_truncated;   /* some worker's walk through the roots was */
};

struct share {
	struct listing *listing;
	int worker;
};

static bool is_told_by(const struct listing *l, struct json_span item, int worker)
{
	char id[LIMIT_MODEL_ID + 1];
	const struct model *m = NULL;
	if (json_copy_str(json_find(item, "model_id"), id, sizeof id))
		m = models_find(&l->c->models, id);
	if (!m || !m->has)
		return worker == l->first;
	return worker == __builtin_ctzll(m->has);
}

static void take_models(struct listing *l, struct json_span result, int worker)
{
	struct json_cursor cursor = json_iterate(json_find(result, "models"));
	struct json_span item;
	bool is_truncated = false;
	l->n_told++;
	json_get_bool(json_find(result, "truncated"), &is_truncated);
	l->is_truncated = l->is_truncated || is_truncated;
	while (json_next_element(&cursor, &item)) {
		if (!is_told_by(l, item, worker))
			continue;
		jout_sep(&l->models);
		buf_add(&l->models, item.at, item.n);
	}
}

static void answer(struct listing *l)
{
	struct buf out = BUF_INIT;
	buf_adds(&out, "{\"models\":");
	buf_add(&out, l->models.data, l->models.n_bytes);
	buf_addc(&out, ']');
	if (l->is_truncated)
		jout_key_bool(&out, "truncated", true);
	buf_addc(&out, '}');
	registry_finish(l->c->registry, l->call, ANSWER_RESULT,
		(struct json_span) { out.data, out.n_bytes });
	buf_release(&out);
}

/* Without the share of a worker that ended the list may lack what only it had, so that the
 * whole is asked again. */
static void finish(struct listing *l)
{
	if (l->n_told)
		l->call->deaths = 0; /* it kills nobody: others answered it */
	if (l->lost && !l->error.n_bytes && replay_local(l->lost, l->call, &l->error))
		local_again(l->c, l->call);
	else if (l->error.n_bytes)
		registry_finish(l->c->registry, l->call, ANSWER_ERROR,
			(struct json_span) { l->error.data, l->error.n_bytes });
	else
		answer(l);
	buf_release(&l->models);
	buf_release(&l->error);
	free(l);
}

static void on_share(void *arg, const struct peer_reply *r)
{
	struct share *share = arg;
	struct listing *l = share->listing;
	int worker = share->worker;
	free(share);
	if (r->outcome == PEER_RESULT)
		take_models(l, r->body, worker);
	else if (r->outcome == PEER_LOST)
		l->lost = fleet_worker(&l->c->fleet, worker);
	else if (!l->error.n_bytes)
		buf_add(&l->error, r->body.at, r->body.n);
	if (--l->n_left == 0)
		finish(l);
}

static void ask(struct listing *l, struct worker *w)
{
	struct share *share = xcalloc(1, sizeof *share);
	*share = (struct share) { l, w->index };
	if (l->n_left++ == 0)
		l->first = w->index;
	peer_call(w->peer, "list_models", (struct json_span) { NULL, 0 }, on_share, share);
}

void models_list(struct controller *c, struct call *call)
{
	struct listing *l = xcalloc(1, sizeof *l);
	call->owner = CALL_HELD;
	l->c = c;
	l->call = call;
	buf_addc(&l->models, '[');
	for (int i = 0; i < c->fleet.n; i++)
		if (worker_is_ready(&c->fleet.workers[i]))
			ask(l, &c->fleet.workers[i]);
	if (l->n_left > 0)
		return;
	fleet_write_failure(&c->fleet, &l->error);
	finish(l);
}
