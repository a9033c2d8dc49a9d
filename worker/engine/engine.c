/* engine.c - the compute thread: jobs in, steps, results out. Stop 15; next: sched.c */
#include "worker/engine/engine.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/engine/inbox.h"
#include "worker/engine/lane.h"
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#define HELD_TICK_S 0.05 /* how often time limits are looked at while everyone is held */

struct engine {
	struct engine_options opt;
	struct inbox inbox;
	struct pool *pool;
	struct kernels kernels;
	/* compute thread */
	struct lane *lanes;  /* with work; the one whose turn is next comes first (utlist) */
	struct task *buried; /* over without ever having had a lane */
};

double clock_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct engine *engine_new(const struct engine_options *opt)
{
	struct engine *e = xcalloc(1, sizeof *e);
	unsigned mask;
	/* A name we do not know is reported where models load; the bits are the same anyway. */
	if (!kernels_parse_mask(getenv("KERNELS_MASK"), &mask))
		mask = KERNELS_ALL;
	kernels_select(&e->kernels, mask);
	e->opt = *opt;
	inbox_init(&e->inbox);
	e->pool = pool_new(opt->threads > 1 ? (size_t)opt->threads : 1);
	if (!e->pool)
		log_fatal("cannot start %d compute threads", opt->threads);
	return e;
}

/* -- any thread ----------------------------------------------------------------------------- */

void engine_submit(struct engine *e, struct job *j)
{
	log_trace("engine", "job %llu: submitted, %zu prompt tokens", (unsigned long long)j->key,
		j->n_prompt);
	inbox_put(&e->inbox, task_new(j, &e->inbox));
}

void engine_gather(struct engine *e, bool gathers)
{
	inbox_gather(&e->inbox, gathers);
}

bool engine_cancel(struct engine *e, uint64_t key)
{
	return inbox_cancel(&e->inbox, key);
}

bool engine_hold(struct engine *e, uint64_t key, bool is_held)
{
	return inbox_hold(&e->inbox, key, is_held);
}

void engine_cancel_model(struct engine *e, const struct model_ref *m)
{
	inbox_cancel_model(&e->inbox, m);
}

size_t engine_active(struct engine *e)
{
	return inbox_count(&e->inbox);
}

void engine_stop(struct engine *e, bool drain)
{
	inbox_stop(&e->inbox, drain);
}

/* -- compute thread ------------------------------------------------------------------------- */

static void refuse(struct engine *e, struct task *t, const struct fault *f)
{
	task_end_all(t, &(struct ending) { .finish = FINISH_ERROR, .fault = f });
	DL_APPEND(e->buried, t);
}

static void take(struct engine *e, struct task *t)
{
	struct fault f = { 0 };
	if (t->refused) {
		fault_set(&f, ERR_SHUTTING_DOWN, "the worker is shutting down");
		refuse(e, t, &f);
		return;
	}
	struct lane_options opt = { .pool = e->pool,
		.kernels = &e->kernels,
		.kv_bytes = e->opt.kv_bytes,
		.max_running = e->opt.max_running,
		.chunk_rows = e->opt.chunk_rows };
	struct lane *l = lane_get(t->job->model, &opt, &f);
	struct model_ref *draft = t->job->draft_model;
	if (!l || (draft && !lane_get(draft, &opt, &f))) {
		refuse(e, t, &f);
		return;
	}
	if (t->job->touches)
		lane_touch(l, e->pool);
	lane_take(l, t);
	if (!l->busy)
		DL_APPEND(e->lanes, l);
	l->busy = true;
}

static void take_all(struct engine *e, struct task *line)
{
	struct task *t, *next;
	DL_FOREACH_SAFE (line, t, next) {
		DL_DELETE(line, t);
		take(e, t);
	}
}

static void bury(struct task *dead)
{
	struct task *t, *next;
	DL_FOREACH_SAFE (dead, t, next) {
		DL_DELETE(dead, t);
		task_free(t);
	}
}

/* Free what is over. The last task of a lane may hold the last reference to its model and
 * thereby to the lane, so the lane is let go of before. */
static void clean(struct engine *e)
{
	struct lane *l, *next;
	bury(e->buried);
	e->buried = NULL;
	DL_FOREACH_SAFE (e->lanes, l, next) {
		struct task *dead = l->dead, *t;
		l->dead = NULL;
		DL_FOREACH (dead, t)
			turns_leave(&l->turns, t->turn);
		if (!lane_has_work(l)) {
			DL_DELETE(e->lanes, l);
			l->busy = false;
		}
		bury(dead);
	}
}

static void tick_all(struct engine *e)
{
	struct lane *l;
	double now = clock_now();
	DL_FOREACH (e->lanes, l)
		lane_tick(l, now);
}

/* Models take turns, a step each. False if everyone is held or waits for those. */
static bool step_next(struct engine *e)
{
	struct lane *l;
	DL_FOREACH (e->lanes, l)
		if (l->n_running)
			break;
	if (!l)
		return false;
	DL_DELETE(e->lanes, l);
	DL_APPEND(e->lanes, l);
	lane_step(l);
	return true;
}

void engine_run(struct engine *e)
{
	bool steps = true;
	if (e->opt.pin && !pool_pin(e->pool))
		log_warn("--pin: fewer processors than the %zu threads, or no choice",
			pool_threads(e->pool));
	while (e->lanes || !inbox_is_over(&e->inbox)) {
		/* Before the looks at what was asked meanwhile: what was cancelled does not
		 * get another step. */
		if (e->lanes && steps && e->opt.gate)
			e->opt.gate(e->opt.gate_arg);
		take_all(e, inbox_take(&e->inbox, !e->lanes ? -1 : steps ? 0 : HELD_TICK_S));
		tick_all(e);
		clean(e);
		steps = step_next(e);
		clean(e);
	}
}

void engine_free(struct engine *e)
{
	struct fault f = { 0 };
	struct task *t, *next, *line;
	if (!e)
		return;
	fault_set(&f, ERR_SHUTTING_DOWN, "the worker is shutting down");
	line = inbox_take(&e->inbox, false);
	DL_FOREACH_SAFE (line, t, next) {
		DL_DELETE(line, t);
		refuse(e, t, &f);
	}
	clean(e);
	pool_free(e->pool);
	inbox_release(&e->inbox);
	free(e);
}
