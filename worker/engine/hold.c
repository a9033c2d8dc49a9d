/* hold.c - tasks whose readers are behind: out of the steps, and back. */
#include "protocol/log.h"
#include "worker/engine/lane.h"
#include <utlist.h>

/* Their places go to others, or a few readers that sleep would stop everyone; their KV
 * stays, or each pause would cost the prompt again. */
static void leave(struct lane *l, struct task *t)
{
	size_t n = 0;
	for (size_t i = 0; i < l->n_running; i++)
		if (l->running[i]->task != t)
			l->running[n++] = l->running[i];
	l->n_running = n;
	l->promised.slots -= (size_t)task_choices(t);
	DL_DELETE(l->active, t);
	DL_APPEND(l->held, t);
	log_trace("sched", "job %llu: held", (unsigned long long)t->job->key);
}

static void come_back(struct lane *l, struct task *t, double now)
{
	l->promised.slots += (size_t)task_choices(t);
	DL_DELETE(l->held, t);
	DL_APPEND(l->active, t);
	for (int i = 0; i < task_choices(t); i++) {
		struct sequence *s = t->seqs[i];
		if (!s || s->ended)
			continue;
		s->last_progress = now;
		lane_run(l, s);
	}
	log_trace("sched", "job %llu: goes on", (unsigned long long)t->job->key);
}

void hold_tick(struct lane *l, double now)
{
	struct task *t, *next;
	DL_FOREACH_SAFE (l->active, t, next)
		if (atomic_load(&t->held) && t->n_open > 0)
			leave(l, t);
	DL_FOREACH_SAFE (l->held, t, next) {
		const struct sched_demand need = { .slots = (size_t)task_choices(t) };
		if (atomic_load(&t->held) || t->n_open == 0)
			continue;
		/* Its blocks are its own already. */
		const struct sched_demand taken = { .slots = l->promised.slots };
		if (sched_admit(&need, &taken, &l->capacity) != SCHED_NOW)
			return;
		come_back(l, t, now);
	}
}
