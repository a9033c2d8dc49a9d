/* models.c - who has which model, and who should. */
#include "controller/models.h"
#include "controller/admit.h"
#include "controller/controller.h"
#include "controller/dispatch.h"
#include "controller/model_op.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t model_bit(int worker)
{
	return UINT64_C(1) << worker;
}

struct model *models_find(struct models *ms, const char *id)
{
	struct model *m;
	HASH_FIND(hh, ms->by_id, id, strlen(id), m);
	return m;
}

bool model_is_at(const struct model *m, int worker)
{
	return m->has & model_bit(worker);
}

/* What the latest op will leave behind decides: an unload that waits for running streams
 * already refuses new ones. */
bool model_is_expected(const struct model *m)
{
	const struct model_op *last = TAILQ_LAST(&m->ops, model_ops);
	if (last)
		return last->kind == OP_LOAD;
	return m->wanted != 0;
}

static struct model *model_get(struct models *ms, const char *id)
{
	struct model *m = models_find(ms, id);
	if (m)
		return m;
	m = xcalloc(1, sizeof *m);
	m->id = xstrdup(id);
	TAILQ_INIT(&m->ops);
	HASH_ADD_KEYPTR(hh, ms->by_id, m->id, strlen(m->id), m);
	return m;
}

void model_free(struct models *ms, struct model *m)
{
	HASH_DEL(ms->by_id, m);
	buf_release(&m->params);
	free(m->id);
	free(m);
}

void models_free(struct models *ms)
{
	struct model *m, *tmp;
	HASH_ITER (hh, ms->by_id, m, tmp) {
		assert(TAILQ_EMPTY(&m->ops));
		model_free(ms, m);
	}
}

static struct json_span span_of(const struct buf *b)
{
	return (struct json_span) { b->data, b->n_bytes };
}

/* Calls that waited for a model that will not come. */
void model_fail_waiting(struct controller *c, const struct model *m)
{
	struct queue_item *it;
	while ((it = queue_find_model(&c->queue, m->id)) != NULL) {
		struct call *call = call_of_item(it);
		queue_remove(&c->queue, it);
		if (m->is_failed) {
			struct buf error = BUF_INIT;
			fleet_write_failure(&c->fleet, &error);
			registry_finish(c->registry, call, ANSWER_ERROR, span_of(&error));
			buf_release(&error);
		} else {
			struct fault f;
			fault_set(&f, ERR_MODEL_NOT_LOADED, "Model not loaded: %s", m->id);
			fault_add_str(&f, "model_id", m->id);
			registry_fail(c->registry, call, &f);
		}
	}
}

void models_advance(struct controller *c)
{
	struct model *m, *tmp;
	if (c->models.n_ops == 0)
		return;
	HASH_ITER (hh, c->models.by_id, m, tmp) {
		struct model_op *op = TAILQ_FIRST(&m->ops);
		if (!op || m->is_running)
			continue;
		size_t before = c->models.n_ops;
		model_op_start(op);
		/* An op that ended at once has advanced the rest, and m may be gone. */
		if (c->models.n_ops != before)
			return;
	}
}

/* -- the calls -------------------------------------------------------------------------- */

static void push_op(struct controller *c, struct model_op *op)
{
	op->c = c;
	op->call->owner = CALL_HELD;
	TAILQ_INSERT_TAIL(&op->model->ops, op, next);
	c->models.n_ops++;
	models_advance(c);
}

/* The model the call names, or NULL once it was refused. */
static bool read_model_id(struct controller *c, struct call *call, char *id, size_t cap)
{
	struct fault f = { 0 };
	if (admit_check(call->method, call->params, &f) == 0 &&
		!json_copy_str(json_find(call->params, "model_id"), id, cap))
		fault_set(&f, ERR_INVALID_PARAMS, "model_id is required");
	if (f.err)
		registry_fail(c->registry, call, &f);
	return !f.err;
}

void models_load(struct controller *c, struct call *call)
{
	char id[LIMIT_MODEL_ID + 1] = "";
	int size = fleet_size(&c->fleet);
	int64_t replicas = size;
	struct json_span workers = json_find(call->params, "workers");
	if (!read_model_id(c, call, id, sizeof id))
		return;
	if (workers.at && json_kind(workers) != 'n')
		json_get_int(workers, &replicas);
	if (replicas < 1 || replicas > size) {
		struct fault f;
		fault_set(&f, ERR_INVALID_PARAMS, "workers must be 1 to %d, the workers there are",
			size);
		fault_add_str(&f, "path", "workers");
		registry_fail(c->registry, call, &f);
		return;
	}
	struct model_op *op = xcalloc(1, sizeof *op);
	op->kind = OP_LOAD;
	op->call = call;
	op->replicas = (int)replicas;
	op->everywhere = json_kind(workers) != '0';
	op->model = model_get(&c->models, id);
	poison_forget(&c->poison);
	push_op(c, op);
}

void models_unload(struct controller *c, struct call *call)
{
	char id[LIMIT_MODEL_ID + 1] = "";
	if (!read_model_id(c, call, id, sizeof id))
		return;
	struct model *m = models_find(&c->models, id);
	/* One that is being unloaded may be so once more: to wait, too, or to wait no longer. */
	if (!m || (!model_is_expected(m) && !m->is_failed && TAILQ_EMPTY(&m->ops))) {
		struct fault f;
		fault_set(&f, ERR_MODEL_NOT_LOADED, "Model not loaded: %s", id);
		fault_add_str(&f, "model_id", id);
		registry_fail(c->registry, call, &f);
		return;
	}
	struct model_op *op = xcalloc(1, sizeof *op);
	op->kind = OP_UNLOAD;
	op->call = call;
	op->model = m;
	json_get_bool(json_find(call->params, "force"), &op->force);
	if (op->force)
		model_op_force(m);
	push_op(c, op);
}

bool models_cancel(struct controller *c, struct call *call)
{
	struct model *m;
	struct model_op *op;
	for (m = c->models.by_id; m; m = m->hh.next)
		TAILQ_FOREACH (op, &m->ops, next)
			if (op->call == call)
				goto found;
	return false;
found:
	model_op_cancel(op);
	return true;
}

/* -- workers that come and go ----------------------------------------------------------- */

/* The model by name: it may be unloaded before the answer comes. */
struct reload {
	struct worker *worker;
	char model[];
};

static void note_reload(struct worker *w, struct model *m, const struct peer_reply *r)
{
	if (r->outcome == PEER_RESULT) {
		/* Unless a load elsewhere has replaced it meanwhile. */
		m->has |= m->wanted & model_bit(w->index);
		return;
	}
	log_warn(
		"worker %d did not get %s back: %.*s", w->index, m->id, (int)r->body.n, r->body.at);
	snprintf(w->last_error, sizeof w->last_error, "cannot load %.200s", m->id);
	w->change.is_lacking = true;
	m->wanted &= ~model_bit(w->index);
	m->is_failed = !m->wanted;
	if (m->is_failed)
		model_fail_waiting(w->c, m);
}

static void on_reloaded(void *arg, const struct peer_reply *r)
{
	struct reload *reload = arg;
	struct worker *w = reload->worker;
	struct model *m = models_find(&w->c->models, reload->model);
	free(reload);
	if (r->outcome == PEER_LOST)
		return;
	if (m)
		note_reload(w, m, r);
	if (--w->n_reloading == 0)
		fleet_happened(w, SUP_MODELS_BACK);
	dispatch_soon(w->c);
}

static void load_at(struct model *m, struct worker *w)
{
	size_t n = strlen(m->id) + 1;
	struct reload *reload = xcalloc(1, sizeof *reload + n);
	reload->worker = w;
	memcpy(reload->model, m->id, n);
	m->wanted |= model_bit(w->index);
	w->n_reloading++;
	peer_call(w->peer, "load_model", span_of(&m->params), on_reloaded, reload);
}

static bool is_loaded(const struct model *m)
{
	return m->wanted != 0 && m->params.n_bytes > 0;
}

void models_reload(struct controller *c, struct worker *w)
{
	struct model *m;
	w->n_reloading = 0;
	for (m = c->models.by_id; m; m = m->hh.next)
		if ((m->wanted & model_bit(w->index)) || (m->is_everywhere && is_loaded(m)))
			load_at(m, w);
	if (w->n_reloading == 0)
		fleet_happened(w, SUP_MODELS_BACK);
}

void models_spread(struct controller *c, struct model *m)
{
	for (int i = 0; m->is_everywhere && is_loaded(m) && i < c->fleet.n; i++)
		if (!(m->wanted & model_bit(i)) && worker_is_ready(&c->fleet.workers[i]))
			load_at(m, &c->fleet.workers[i]);
}

void models_inherit(struct controller *c, const struct worker *from, const struct worker *to)
{
	for (struct model *m = c->models.by_id; m; m = m->hh.next)
		if (m->wanted & model_bit(from->index))
			m->wanted |= model_bit(to->index);
}

static struct worker *idlest_other(struct controller *c, const struct worker *w)
{
	struct worker *best = NULL;
	for (int i = 0; i < c->fleet.n; i++) {
		struct worker *other = &c->fleet.workers[i];
		if (other == w || !worker_is_ready(other) || other->change.is_leaving)
			continue;
		if (!best || other->n_tokens < best->n_tokens)
			best = other;
	}
	return best;
}

void models_move(struct controller *c, const struct worker *w)
{
	for (struct model *m = c->models.by_id; m; m = m->hh.next) {
		struct worker *other = idlest_other(c, w);
		if (other && m->wanted == model_bit(w->index) && is_loaded(m))
			load_at(m, other);
	}
}

bool models_can_spare(const struct controller *c, const struct worker *w)
{
	for (const struct model *m = c->models.by_id; m; m = m->hh.next) {
		uint64_t others = m->wanted & ~model_bit(w->index);
		bool is_there = others == 0 || !(m->wanted & model_bit(w->index));
		for (int i = 0; i < c->fleet.n; i++)
			is_there = is_there || ((others & m->has & model_bit(i)) &&
						       worker_is_ready(&c->fleet.workers[i]));
		if (!is_there)
			return false;
	}
	return true;
}

void models_worker_lost(struct controller *c, struct worker *w, bool for_good)
{
	struct model *m, *tmp;
	HASH_ITER (hh, c->models.by_id, m, tmp) {
		bool was_wanted = m->wanted & model_bit(w->index);
		m->has &= ~model_bit(w->index);
		if (!for_good || !was_wanted)
			continue;
		m->wanted &= ~model_bit(w->index);
		m->is_failed = m->wanted == 0;
		if (m->is_failed && TAILQ_EMPTY(&m->ops))
			model_fail_waiting(c, m);
	}
}
