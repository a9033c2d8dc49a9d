/* load_room.c - room for models: who waits for it, who leaves, who is kept how long. */
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/load.h"
#include "worker/loading.h"
#include "worker/residency.h"
#include <stdlib.h>
#include <utlist.h>

/* Everything in memory, or on its way there. records[i] of r[i]; NULL for a load. */
struct census_of_room {
	struct resident *r;
	struct loaded **records;
	size_t n;
};

static void take_census(struct worker *w, struct census_of_room *c)
{
	struct loaded *record;
	struct load *l;
	size_t n = 0;
	LL_FOREACH(w->models->loaded, record)
	n++;
	DL_FOREACH (w->models->loads, l)
		n++;
	*c = (struct census_of_room) { .r = xcalloc(n + 1, sizeof *c->r),
		.records = xcalloc(n + 1, sizeof(struct loaded *)) };
	LL_FOREACH(w->models->loaded, record)
	{
		if (record->is_asleep)
			continue;
		c->records[c->n] = record;
		c->r[c->n++] = (struct resident) { .n_bytes = record->n_bytes,
			.last_used = record->last_used,
			.in_use = models_is_used(w, record->spec.model_id),
			.stays = record->spec.keep_alive == KEEP_PINNED };
	}
	DL_FOREACH (w->models->loads, l)
		if (l->has_room && !l->is_warming)
			c->r[c->n++] = (struct resident) { .n_bytes = l->n_bytes, .in_use = true };
}

static void census_release(struct census_of_room *c)
{
	free(c->r);
	free(c->records);
}

static void put_to_sleep(struct worker *w, const struct census_of_room *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->r[i].leaves)
			models_sleep(w, c->records[i]);
}

/* What the calls that wait for l need beside it may not leave for it, or they would wait for
 * ever in turn; and what older loads' calls need does not leave now. */
static void protect(const struct load *l, struct census_of_room *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const char *id = c->records[i] ? c->records[i]->spec.model_id : NULL;
		if (!id)
			continue;
		c->r[i].stays = c->r[i].stays || park_names(l->parked, id);
		for (const struct load *older = l->next; older; older = older->next)
			c->r[i].in_use = c->r[i].in_use || park_names(older->parked, id);
	}
}

static void refuse(struct load *l, const struct census_of_room *c)
{
	const size_t budget = l->w->options.model_bytes;
	uint64_t kept = 0;
	for (size_t i = 0; i < c->n; i++)
		kept += c->r[i].stays ? c->r[i].n_bytes : 0;
	fault_set(&l->fault, ERR_NOMEM,
		"%s needs about %llu bytes, --model-bytes allows %zu, and models that must stay "
		"hold %llu",
		l->spec.model_id, (unsigned long long)l->n_bytes, budget, (unsigned long long)kept);
	fault_add_int(&l->fault, "bytes_needed", (int64_t)l->n_bytes);
	fault_add_int(&l->fault, "model_bytes", (int64_t)budget);
	fault_add_int(&l->fault, "bytes_kept", (int64_t)kept);
	load_end(l);
}

/* True if it is no longer waiting: it runs, or has failed. */
static bool start(struct load *l)
{
	struct worker *w = l->w;
	struct census_of_room c;
	take_census(w, &c);
	protect(l, &c);
	const enum residency is = residency_plan(c.r, c.n, l->n_bytes, w->options.model_bytes);
	if (is == RESIDENCY_FITS) {
		put_to_sleep(w, &c);
		load_run(l);
	} else if (is == RESIDENCY_NEVER) {
		refuse(l, &c);
	} else {
		load_tell(l, 0, "waiting for room");
	}
	census_release(&c);
	return is != RESIDENCY_LATER;
}

static struct load *oldest_waiting(const struct models *m)
{
	struct load *l, *oldest = NULL;
	DL_FOREACH (m->loads, l)
		if (!l->has_room)
			oldest = l;
	return oldest;
}

static void drop(struct load *l)
{
	fault_set(&l->fault, ERR_CANCELLED, "loading of %s was no longer waited for",
		l->spec.model_id);
	load_end(l);
}

void load_start_waiting(struct worker *w)
{
	for (struct load *l; (l = oldest_waiting(w->models));) {
		if (!l->waiters && !l->parked)
			drop(l);
		else if (!start(l))
			return;
	}
}

void load_trim(struct worker *w)
{
	struct census_of_room c;
	if (w->options.model_bytes == 0)
		return;
	take_census(w, &c);
	if (residency_plan(c.r, c.n, 0, w->options.model_bytes) == RESIDENCY_FITS)
		put_to_sleep(w, &c);
	census_release(&c);
}

bool load_wake(const struct request *rq, const struct loaded *record)
{
	struct load_spec spec;
	load_spec_copy(&spec, &record->spec);
	struct load *l = load_new(rq->w, &spec);
	l->is_wake = true;
	l->n_bytes = record->n_bytes;
	DL_PREPEND(rq->w->models->loads, l);
	park(&l->parked, rq, l->spec.model_id);
	load_start_waiting(rq->w);
	return true;
}

/* -- keep_alive ----------------------------------------------------------------------------- */

/* Seconds until the model is to leave, -1 = never or not known. */
static double keep(struct worker *w, struct loaded *l, double now)
{
	const double keep_alive = l->spec.keep_alive;
	if (l->is_asleep || keep_alive < 0 || (keep_alive == 0 && !l->was_used))
		return -1;
	if (models_is_used(w, l->spec.model_id)) {
		l->last_used = now;
		return -1;
	}
	const double left = l->last_used + keep_alive - now;
	if (left > 0)
		return left;
	l->was_used = false;
	models_sleep(w, l);
	return -1;
}

static double sooner(double a, double b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

double load_tick(struct worker *w, double now)
{
	double soonest = -1;
	struct load *l;
	struct loaded *record;
	load_start_waiting(w);
	DL_FOREACH (w->models->loads, l)
		soonest = sooner(soonest, park_tick(&l->parked, now));
	LL_FOREACH(w->models->loaded, record)
	soonest = sooner(soonest, keep(w, record, now));
	return soonest;
}
