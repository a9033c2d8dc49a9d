/* model_op.c - loading and unloading on several workers as one call. */
#include "controller/model_op.h"
#include "controller/dispatch.h"
#include "controller/load.h"
#include "controller/splice.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>

/* One worker's share. */
struct part {
	struct model_op *op;
	struct worker *worker;
};

static struct json_span span_of(const struct buf *b)
{
	return (struct json_span) { b->data, b->n_bytes };
}

/* -- the end of an op ------------------------------------------------------------------- */

static void answer_op(struct model_op *op)
{
	struct controller *c = op->c;
	if (op->n_ok == 0 || (op->is_called_off && op->n_ok < op->n_sent)) {
		registry_finish(c->registry, op->call, ANSWER_ERROR, span_of(&op->error));
		return;
	}
	if (op->kind == OP_UNLOAD) {
		if (!op->result.n_bytes)
			buf_adds(&op->result, "{\"success\":true}");
		registry_finish(c->registry, op->call, ANSWER_RESULT, span_of(&op->result));
		return;
	}
	struct buf replicas = BUF_INIT, merged = BUF_INIT;
	jout_int(&replicas, (int64_t)op->n_ok);
	splice_set(&merged, span_of(&op->result), "replicas", span_of(&replicas));
	registry_finish(c->registry, op->call, ANSWER_RESULT, span_of(&merged));
	buf_release(&replicas);
	buf_release(&merged);
}

static void finish_op(struct model_op *op)
{
	struct controller *c = op->c;
	struct model *m = op->model;
	TAILQ_REMOVE(&m->ops, op, next);
	if (op->n_sent)
		m->is_running = false;
	m->coming = 0;
	c->models.n_ops--;
	if (op->n_ok < op->n_sent && op->n_ok > 0 && !op->is_called_off)
		log_warn("%s: %zu of %zu workers failed: %s", m->id, op->n_sent - op->n_ok,
			op->n_sent, buf_cstr(&op->error));
	answer_op(op);
	if (model_is_expected(m)) {
		/* Those that were through with it get it back. */
		if (op->is_called_off)
			models_spread(c, m);
	} else if (TAILQ_EMPTY(&m->ops)) {
		model_fail_waiting(c, m);
		if (!m->is_failed)
			model_free(&c->models, m);
	}
	buf_release(&op->result);
	buf_release(&op->error);
	free(op);
	models_advance(c);
	dispatch_soon(c);
}

static void note_failure(struct model_op *op, struct worker *w, const struct peer_reply *r)
{
	if (op->error.n_bytes)
		return;
	if (r->outcome == PEER_LOST)
		worker_write_crash(w,
			&(struct crash_note) {
				.phase = op->kind == OP_LOAD ? "load" : "unload", .tokens = -1 },
			&op->error);
	else
		buf_add(&op->error, r->body.at, r->body.n);
}

/* What is for us alone: how many workers load it, and who hears of the progress. */
static const char *const OUR_PARAMS[] = { "workers", "_meta", "workDoneToken", "progress", NULL };

/* What a worker started again must repeat: from the first success on, since that worker may
 * die before the others have answered. */
static void remember_params(struct model *m, struct json_span params)
{
	buf_clear(&m->params);
	splice_without(&m->params, params, OUR_PARAMS);
	buf_addc(&m->params, '}');
}

static void note_result(struct model_op *op, struct worker *w, const struct peer_reply *r)
{
	struct model *m = op->model;
	if (op->n_ok++ == 0 && r->outcome == PEER_RESULT)
		buf_add(&op->result, r->body.at, r->body.n);
	if (op->kind == OP_UNLOAD) {
		m->has &= ~model_bit(w->index);
		m->wanted &= ~model_bit(w->index);
		return;
	}
	if (op->n_ok == 1)
		remember_params(m, op->call->params);
	bool is_vision = false;
	json_get_bool(json_find(r->body, "is_vision_model"), &is_vision);
	strncpy(m->type, is_vision ? "vision" : "text", sizeof m->type - 1);
	op->done |= model_bit(w->index);
	m->has |= model_bit(w->index);
	m->wanted |= model_bit(w->index);
	m->is_failed = false;
}

static void on_dropped(void *arg, const struct peer_reply *r)
{
	(void)arg, (void)r;
}

/* The load replaced what this id meant. A worker that still has the old model (it was not
 * among those asked, or failed) must not go on answering with it. */
static void drop_stale(const struct model_op *op)
{
	struct model *m = op->model;
	uint64_t stale = (m->has | m->wanted) & ~op->done;
	struct buf params = BUF_INIT;
	buf_addc(&params, '{');
	jout_key_cstr(&params, "model_id", m->id);
	buf_addc(&params, '}');
	for (int i = 0; i < op->c->fleet.n; i++) {
		struct worker *w = &op->c->fleet.workers[i];
		if ((stale & m->has & model_bit(i)) && worker_is_ready(w))
			peer_call(w->peer, "unload_model", span_of(&params), on_dropped, NULL);
	}
	m->has &= op->done;
	m->wanted &= op->done;
	buf_release(&params);
}

/* Nothing was left there to unload: the worker died, or has the model no more. */
static bool is_gone(const struct model_op *op, const struct peer_reply *r)
{
	int64_t code = 0;
	if (r->outcome == PEER_ERROR)
		json_get_int(json_find(r->body, "code"), &code);
	return op->kind == OP_UNLOAD &&
	       (r->outcome == PEER_LOST || code == err_info(ERR_MODEL_NOT_LOADED)->code);
}

static void on_part(void *arg, const struct peer_reply *r)
{
	struct part *part = arg;
	struct model_op *op = part->op;
	if (r->outcome == PEER_RESULT || is_gone(op, r))
		note_result(op, part->worker, r);
	else
		note_failure(op, part->worker, r);
	/* A load that failed leaves what was there before: the worker's old model, if any. */
	if (r->outcome == PEER_ERROR && op->kind == OP_LOAD &&
		!model_is_at(op->model, part->worker->index))
		op->model->wanted &= ~model_bit(part->worker->index);
	load_drop_calls(part->worker, 1, 0);
	free(part);
	if (--op->n_left > 0)
		return;
	if (op->kind == OP_LOAD && op->n_ok > 0) {
		drop_stale(op);
		op->model->is_everywhere = op->everywhere;
		models_spread(op->c, op->model);
	}
	finish_op(op);
}

/* -- starting an op --------------------------------------------------------------------- */

static void send_part(struct model_op *op, struct worker *w, struct json_span params)
{
	struct part *part = xcalloc(1, sizeof *part);
	*part = (struct part) { op, w };
	load_add_calls(w, 1, 0);
	op->n_sent++;
	op->n_left++;
	op->ids[w->index] = peer_call(w->peer, op->kind == OP_LOAD ? "load_model" : "unload_model",
		params, on_part, part);
}

/* `progress: true` asks for notifications with the request's id as token. Worker and host
 * know the request by different ids, so the token is put in here. */
static void write_first_params(struct buf *out, const struct call *call)
{
	static const char *const keys[] = { "workers", "_meta", "progress", NULL };
	static const char *const workers[] = { "workers", NULL };
	struct json_span meta = json_find(call->params, "_meta");
	bool wanted = false;
	json_get_bool(json_find(call->params, "progress"), &wanted);
	if (!wanted || !call->id.at || json_find(meta, "progressToken").at) {
		splice_without(out, call->params, workers);
		buf_addc(out, '}');
		return;
	}
	splice_without(out, call->params, keys);
	jout_key(out, "_meta");
	buf_adds(out, "{\"progressToken\":");
	buf_add(out, call->id.at, call->id.n);
	buf_adds(out, "}}");
}

/* Only the first of several workers reports progress: the host knows one load. */
static void send_all(struct model_op *op, uint64_t targets)
{
	struct fleet *f = &op->c->fleet;
	struct buf quiet = BUF_INIT, first = BUF_INIT;
	write_first_params(&first, op->call);
	splice_without(&quiet, op->call->params, OUR_PARAMS);
	buf_addc(&quiet, '}');
	op->model->is_running = true;
	op->model->coming = op->kind == OP_LOAD ? targets : 0;
	for (int i = 0; i < f->n; i++)
		if (targets & model_bit(i))
			send_part(op, &f->workers[i], span_of(op->n_sent == 0 ? &first : &quiet));
	buf_release(&first);
	buf_release(&quiet);
}

static size_t models_at(const struct models *ms, int worker)
{
	size_t n = 0;
	for (const struct model *m = ms->by_id; m; m = m->hh.next)
		n += ((m->has | m->coming) & model_bit(worker)) != 0;
	return n;
}

/* The workers for a load: those that have it already, then those with the fewest models. */
static uint64_t choose_targets(const struct model_op *op)
{
	struct fleet *f = &op->c->fleet;
	uint64_t targets = 0;
	for (int k = 0; k < op->replicas; k++) {
		int best = -1;
		size_t best_n = 0;
		for (int i = 0; i < f->n; i++) {
			if ((targets & model_bit(i)) || !worker_is_ready(&f->workers[i]))
				continue;
			size_t n = model_is_at(op->model, i) ? 0 : 1 + models_at(&op->c->models, i);
			if (best < 0 || n < best_n) {
				best = i;
				best_n = n;
			}
		}
		if (best >= 0)
			targets |= model_bit(best);
	}
	return targets;
}

static void start_load(struct model_op *op)
{
	struct controller *c = op->c;
	if (fleet_is_settling(&c->fleet))
		return;
	uint64_t targets = choose_targets(op);
	if (!targets && fleet_may_serve(&c->fleet))
		return;
	if (!targets) {
		fleet_write_failure(&c->fleet, &op->error);
		finish_op(op);
		return;
	}
	send_all(op, targets);
}

/* A worker that waits for streams of the model joins the two, and ends them. */
static void force_parts(const struct model_op *op)
{
	struct buf params = BUF_INIT;
	buf_addc(&params, '{');
	jout_key_cstr(&params, "model_id", op->model->id);
	jout_key_bool(&params, "force", true);
	buf_addc(&params, '}');
	for (int i = 0; i < op->c->fleet.n; i++)
		if (op->ids[i] && op->c->fleet.workers[i].peer)
			peer_call(op->c->fleet.workers[i].peer, "unload_model", span_of(&params),
				on_dropped, NULL);
	buf_release(&params);
}

static void cancel_waiting(struct model_op *op)
{
	struct queue_item *it;
	while ((it = queue_find_model(&op->c->queue, op->model->id)) != NULL) {
		struct fault f;
		fault_set(&f, ERR_CANCELLED, "Model %s is being unloaded", op->model->id);
		queue_remove(&op->c->queue, it);
		registry_fail(op->c->registry, call_of_item(it), &f);
	}
}

/* What was asked before the unload is served before it, unless it is forced. */
static void start_unload(struct model_op *op)
{
	struct controller *c = op->c;
	/* Who is getting it back just now has it soon. */
	const uint64_t held = op->model->has | op->model->wanted;
	uint64_t targets = 0;
	if (op->force)
		cancel_waiting(op);
	if (fleet_is_settling(&c->fleet))
		return;
	if (op->model->has && queue_find_model(&c->queue, op->model->id))
		return;
	for (int i = 0; i < c->fleet.n; i++)
		if ((held & model_bit(i)) && worker_is_ready(&c->fleet.workers[i]))
			targets |= model_bit(i);
	op->model->wanted = targets;
	if (targets) {
		send_all(op, targets);
		if (op->is_overruled)
			force_parts(op);
		return;
	}
	/* Nobody has it now: it only had to be forgotten. */
	op->n_ok = op->n_sent = 1;
	op->model->is_failed = false;
	finish_op(op);
}

void model_op_start(struct model_op *op)
{
	if (op->kind == OP_LOAD)
		start_load(op);
	else
		start_unload(op);
}

void model_op_force(struct model *m)
{
	struct model_op *op;
	TAILQ_FOREACH_REVERSE(op, &m->ops, model_ops, next)
	{
		if (op->kind == OP_LOAD)
			return;
		if (op->force)
			continue;
		op->force = op->is_overruled = true;
		if (op->n_sent && !op->is_called_off)
			force_parts(op);
	}
}

/* -- giving up -------------------------------------------------------------------------- */

static void abandon(struct model_op *op)
{
	struct fault f;
	fault_set(&f, ERR_CANCELLED, "the request was cancelled");
	rpc_write_error_object(&op->error, &f);
	finish_op(op);
}

static void cancel_parts(const struct model_op *op)
{
	for (int i = 0; i < op->c->fleet.n; i++) {
		struct worker *w = &op->c->fleet.workers[i];
		if (!op->ids[i] || !w->peer)
			continue;
		struct buf params = BUF_INIT;
		buf_addf(&params, "{\"id\":%llu}", (unsigned long long)op->ids[i]);
		peer_notify(w->peer, "$/cancelRequest", span_of(&params));
		buf_release(&params);
	}
}

void model_op_cancel(struct model_op *op)
{
	op->is_called_off = op->kind == OP_UNLOAD;
	if (op->n_sent)
		cancel_parts(op);
	else
		abandon(op);
}
