/* roster.c - who belongs to the fleet. */
#include "controller/roster.h"
#include "controller/dispatch.h"
#include "protocol/log.h"
#include <string.h>

/* -- answers ---------------------------------------------------------------------------- */

static void answer(struct worker *w)
{
	struct buf out = BUF_INIT;
	struct call *call = w->change.asker;
	w->change.asker = NULL;
	w->change.wish = ROSTER_NOTHING;
	if (!call)
		return;
	buf_addc(&out, '{');
	jout_key_int(&out, "worker", w->index);
	jout_key_cstr(&out, "state", sup_state_name(worker_is_ready(w) ? SUP_READY : w->sup.state));
	jout_key_int(&out, "workers", fleet_size(&w->c->fleet));
	buf_addc(&out, '}');
	registry_finish(
		w->c->registry, call, ANSWER_RESULT, (struct json_span) { out.data, out.n_bytes });
	buf_release(&out);
}

static void answer_lost(struct worker *w, const char *phase)
{
	struct buf out = BUF_INIT;
	struct crash_note note = { .phase = phase, .tokens = -1 };
	struct call *call = w->change.asker;
	w->change.asker = NULL;
	w->change.wish = ROSTER_NOTHING;
	if (!call)
		return;
	worker_write_crash(w, &note, &out);
	registry_finish(
		w->c->registry, call, ANSWER_ERROR, (struct json_span) { out.data, out.n_bytes });
	buf_release(&out);
}

/* -- leaving ---------------------------------------------------------------------------- */

static void leave(struct worker *w)
{
	struct controller *c = w->c;
	switch (w->sup.state) {
	case SUP_READY:
	case SUP_BUSY:
		if (!w->change.has_moved)
			models_move(c, w);
		w->change.has_moved = true;
		if (models_can_spare(c, w))
			fleet_happened(w, SUP_DRAIN);
		break;
	case SUP_STARTING:
	case SUP_LOADING:
	case SUP_PARKED:
	case SUP_BACKOFF:
	case SUP_FAILED: fleet_happened(w, SUP_STOP); break;
	case SUP_STOPPED:
		answer(w);
		fleet_vacate(w);
		break;
	case SUP_RETIRING:
	case SUP_SILENCED:
	case SUP_ENDING:
	case SUP_KILLED:
	case SUP_N_STATES: break;
	}
}

/* -- successors ------------------------------------------------------------------------- */

static void give_up_renewal(struct controller *c, struct worker *successor)
{
	log_error("worker %d stays: its successor does not come up: %s", successor->change.replaces,
		successor->last_error);
	for (int i = 0; i < c->fleet.n; i++)
		c->fleet.workers[i].change.is_due = false;
	successor->change.replaces = -1;
	successor->change.is_leaving = true;
}

static void succeed(struct controller *c, struct worker *w)
{
	struct worker *old = &c->fleet.workers[w->change.replaces];
	if (w->sup.state == SUP_FAILED || w->sup.state == SUP_STOPPED || w->change.is_lacking) {
		give_up_renewal(c, w);
	} else if (worker_is_ready(w)) {
		log_info("worker %d takes the place of worker %d", w->index, old->index);
		w->change.replaces = -1;
		old->change.is_leaving = true;
		/* Its turn in this step may be over, and with nothing to do it causes no other. */
		dispatch_soon(c);
	}
}

/* One successor at a time, so that not all the memory is needed twice. */
static void start_successor(struct controller *c)
{
	struct worker *due = NULL;
	for (int i = 0; i < c->fleet.n; i++) {
		struct worker *w = &c->fleet.workers[i];
		if (w->change.replaces >= 0)
			return;
		if (!due && w->change.is_due && !w->change.is_leaving && !w->is_vacant)
			due = w;
	}
	struct worker *w = due ? fleet_add(c, due) : NULL;
	if (!w)
		return; /* nobody is due, or a slot has to become free first */
	due->change.is_due = false;
	w->change.replaces = due->index;
	models_inherit(c, due, w);
}

void roster_renew(struct controller *c)
{
	if (c->phase != PHASE_SERVING)
		return;
	log_info("replacing %d workers", fleet_size(&c->fleet));
	poison_forget(&c->poison);
	for (int i = 0; i < c->fleet.n; i++) {
		struct worker *w = &c->fleet.workers[i];
		w->change.is_due = !w->is_vacant && !w->change.is_leaving;
	}
	dispatch_soon(c);
}

/* -- the step --------------------------------------------------------------------------- */

static void fulfil(struct worker *w)
{
	bool is_down = w->sup.state == SUP_FAILED || w->sup.state == SUP_STOPPED;
	switch (w->change.wish) {
	case ROSTER_ADD:
		if (worker_is_ready(w)) {
			answer(w);
		} else if (is_down) {
			answer_lost(w, "start");
			w->change.is_leaving = true;
		}
		break;
	case ROSTER_DRAIN:
		if (w->sup.state == SUP_PARKED)
			answer(w);
		else if (is_down)
			answer_lost(w, "drain");
		break;
	case ROSTER_REMOVE: /* leave() answers it */
	case ROSTER_NOTHING: break;
	}
}

void roster_step(struct controller *c)
{
	if (c->phase == PHASE_OVER)
		return;
	for (int i = 0; i < c->fleet.n; i++) {
		struct worker *w = &c->fleet.workers[i];
		if (w->is_vacant)
			continue;
		fulfil(w);
		if (w->change.replaces >= 0)
			succeed(c, w);
		/* One that was drained and died is not missed by anybody. */
		if (w->change.is_leaving ||
			(w->sup.state == SUP_STOPPED && c->phase == PHASE_SERVING))
			leave(w);
	}
	if (c->phase == PHASE_SERVING)
		start_successor(c);
}

/* -- the methods ------------------------------------------------------------------------ */

static void hold(struct worker *w, struct call *call, enum roster_wish wish)
{
	call->owner = CALL_HELD;
	w->change.asker = call;
	w->change.wish = wish;
	dispatch_soon(w->c);
}

static void refuse(struct controller *c, struct call *call, struct fault *f)
{
	registry_fail(c->registry, call, f);
}

static bool has_successor(const struct controller *c, const struct worker *w)
{
	for (int i = 0; i < c->fleet.n; i++)
		if (c->fleet.workers[i].change.replaces == w->index)
			return true;
	return false;
}

/* The worker the call names, if nothing is under way with it; else the call is answered. */
static struct worker *named(struct controller *c, struct call *call)
{
	struct fault f;
	int64_t i = -1;
	json_get_int(json_find(call->params, "worker"), &i);
	struct worker *w = fleet_worker(&c->fleet, i < OPTIONS_WORKERS_MAX ? (int)i : -1);
	if (c->phase != PHASE_SERVING) {
		fault_set(&f, ERR_SHUTTING_DOWN, "tandem is shutting down");
	} else if (!w || w->is_vacant) {
		fault_set(&f, ERR_INVALID_PARAMS, "there is no worker %lld", (long long)i);
		fault_add_str(&f, "path", "worker");
	} else if (w->change.asker || w->change.is_leaving || w->change.replaces >= 0 ||
		   has_successor(c, w)) {
		fault_set(&f, ERR_MODEL_BUSY,
			"worker %d is being added, drained, removed or replaced", w->index);
	} else {
		return w;
	}
	refuse(c, call, &f);
	return NULL;
}

void roster_add(struct controller *c, struct call *call)
{
	struct fault f;
	struct worker *w = NULL;
	if (c->phase != PHASE_SERVING)
		fault_set(&f, ERR_SHUTTING_DOWN, "tandem is shutting down");
	else if ((w = fleet_add(c, NULL)) == NULL)
		fault_set(&f, ERR_RUNTIME, "there are %d workers, and there cannot be more",
			OPTIONS_WORKERS_MAX);
	if (w)
		hold(w, call, ROSTER_ADD);
	else
		refuse(c, call, &f);
}

void roster_drain(struct controller *c, struct call *call)
{
	struct fault f;
	struct worker *w = named(c, call);
	bool undo = false;
	if (!w)
		return;
	json_get_bool(json_find(call->params, "undo"), &undo);
	if (!worker_is_ready(w) && w->sup.state != SUP_RETIRING && w->sup.state != SUP_PARKED) {
		fault_set(&f, ERR_MODEL_BUSY, "worker %d is not up: %s", w->index,
			sup_state_name(w->sup.state));
		refuse(c, call, &f);
		return;
	}
	hold(w, call, ROSTER_DRAIN);
	fleet_happened(w, undo ? SUP_RESUME : SUP_DRAIN);
	if (undo)
		answer(w);
}

void roster_remove(struct controller *c, struct call *call)
{
	struct fault f;
	struct worker *w = named(c, call);
	bool force = false;
	if (!w)
		return;
	if (fleet_size(&c->fleet) == 1) {
		fault_set(&f, ERR_INVALID_PARAMS, "worker %d is the only one", w->index);
		fault_add_str(&f, "path", "worker");
		refuse(c, call, &f);
		return;
	}
	json_get_bool(json_find(call->params, "force"), &force);
	hold(w, call, ROSTER_REMOVE);
	w->change.is_leaving = true;
	if (!force)
		return;
	fleet_happened(w, SUP_STOP);
	fleet_happened(w, SUP_STOP);
}
