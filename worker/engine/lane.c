/* lane.c - one model's line: who waits, who is let in, who has to go. */
#include "worker/engine/lane.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/engine/follow.h"
#include "worker/engine/room.h"
#include <stdlib.h>
#include <utlist.h>

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* -- opening and closing -------------------------------------------------------------------- */

static void lane_free(void *state)
{
	struct lane *l = state;
	sampler_free(l->sampler);
	model_context_free(l->context);
	prefix_cache_free(l->prefixes);
	if (l->kv)
		kv_pool_free(l->kv);
	free(l->hidden);
	free(l->logits);
	free(l->rows);
	free(l->holders);
	free(l->n_logits);
	free(l->seats);
	free(l->shares);
	free(l->wants);
	free(l->running);
	free(l);
}

static int open_model_parts(struct lane *l, const struct lane_options *opt, struct fault *f)
{
	size_t n_rows = l->budget.prefill_rows + l->budget.exact_rows;
	size_t n_floats;
	l->kv = model_kv_pool(l->model, opt->kv_bytes, f);
	if (!l->kv)
		return ERR_NOMEM;
	l->prefixes = prefix_cache_new(l->kv, NULL, f);
	if (!l->prefixes)
		return ERR_NOMEM;
	l->context = model_context_new(l->model, opt->pool, n_rows, f);
	if (!l->context)
		return ERR_NOMEM;
	if (mem_mul(l->budget.exact_rows + l->cap_running, l->vocab_size, &n_floats))
		l->logits = mem_try_array(n_floats, sizeof *l->logits);
	if (mem_mul(l->budget.prefill_rows, l->dim, &n_floats))
		l->hidden = mem_try_array(n_floats, sizeof *l->hidden);
	if (!l->logits || !l->hidden)
		return fault_set(f, ERR_NOMEM, "no memory for the results of %s", l->model_id);
	l->capacity.blocks = kv_pool_blocks(l->kv);
	return 0;
}

static struct lane *lane_open(
	struct model_ref *ref, const struct lane_options *opt, struct fault *f)
{
	struct lane *l = xcalloc(1, sizeof *l);
	l->model = model_ref_model(ref);
	l->model_id = model_ref_id(ref);
	l->vocab_size = model_info(l->model)->vocab_size;
	l->dim = model_info(l->model)->dim;
	l->capacity.slots = larger(opt->max_running, 1);
	/* A job with more choices than slots runs alone, but it does run. */
	l->cap_running = larger(l->capacity.slots, LIMIT_N);
	l->is_paced = opt->chunk_rows == 0;
	l->budget.prefill_rows = opt->chunk_rows ? opt->chunk_rows : ENGINE_CHUNK_ROWS;
	/* Room for everyone's decode row, and for some drafts of any length beside them. */
	l->budget.exact_rows = l->cap_running + (size_t)2 * LIMIT_DRAFT;
	l->running = xcalloc(l->cap_running, sizeof(struct sequence *));
	l->wants = xcalloc(l->cap_running, sizeof *l->wants);
	l->seats = xcalloc(l->cap_running, sizeof *l->seats);
	l->shares = xcalloc(l->cap_running, sizeof *l->shares);
	l->holders = xcalloc(l->cap_running, sizeof *l->holders);
	l->n_logits = xcalloc(l->cap_running, sizeof *l->n_logits);
	l->rows = xcalloc(l->budget.prefill_rows + l->budget.exact_rows, sizeof *l->rows);
	l->sampler = sampler_new(opt->kernels, l->vocab_size);
	if (open_model_parts(l, opt, f) == 0)
		return l;
	lane_free(l);
	return NULL;
}

struct lane *lane_get(struct model_ref *ref, const struct lane_options *opt, struct fault *f)
{
	struct lane *l = model_ref_state(ref);
	if (l)
		return l;
	l = lane_open(ref, opt, f);
	if (!l)
		return NULL;
	model_ref_set_state(ref, l, lane_free);
	log_debug(
		"%s: %zu KV blocks of %d tokens", l->model_id, l->capacity.blocks, KV_BLOCK_TOKENS);
	return l;
}

void lane_touch(struct lane *l, struct pool *threads)
{
	const struct model_info *info = model_info(l->model);
	size_t n_bytes;

	if (!mem_mul(info->context_length, info->kv_bytes_per_token, &n_bytes) ||
		n_bytes > LANE_TOUCH_BYTES)
		n_bytes = LANE_TOUCH_BYTES;
	kv_pool_touch(l->kv, n_bytes, threads);
	model_context_touch(l->context);
}

/* -- coming in ------------------------------------------------------------------------------ */

static void end_with_fault(struct task *t, const struct fault *f)
{
	task_end_all(t, &(struct ending) { .finish = FINISH_ERROR, .fault = f });
}

/* max_tokens 0 (only the echo, if any, is wanted), or a resumption of what had ended. */
static void end_without_tokens(struct lane *l, struct task *t)
{
	for (int i = 0; i < t->job->n_choices; i++) {
		struct ending how = { 0 };
		t->seqs[i] = sequence_new(t, i, l->kv);
		sequence_is_over(t->seqs[i], &how.finish, &how.detail);
		task_end(t, i, &how);
	}
}

void lane_take(struct lane *l, struct task *t)
{
	struct fault f = { 0 };
	t->rank = sched_rank(t->job->priority, t->job->arrived);
	if (t->job->kind == JOB_GENERATE)
		t->turn = turns_join(&l->turns, t->job->priority, t->job->client);
	bool fits = follow_begin(l, t->job, &f) == 0 && job_fit(t->job, &f) == 0;
	if (fits && t->job->kind == JOB_GENERATE && sequence_is_full(t->job))
		end_without_tokens(l, t);
	else if (fits)
		fits = room_measure(l, t, &f);
	if (!fits)
		end_with_fault(t, &f);
	if (t->n_open == 0)
		DL_APPEND(l->dead, t);
	else
		room_queue(l, t);
}

/* -- between steps -------------------------------------------------------------------------- */

struct sequence *lane_begin(struct lane *l, struct task *t, int choice)
{
	struct ending how = { 0 };
	struct sequence *s = sequence_new(t, choice, l->kv);
	t->seqs[choice] = s;
	if (t->job->kind != JOB_GENERATE || !sequence_is_over(s, &how.finish, &how.detail))
		return s;
	task_end(t, choice, &how);
	return NULL;
}

void lane_run(struct lane *l, struct sequence *s)
{
	l->running[l->n_running++] = s;
	drafter_begin(s);
}

static bool is_idle_too_long(const struct task *t, double now)
{
	if (t->is_parked)
		return false;
	for (int i = 0; i < task_choices(t); i++) {
		const struct sequence *s = t->seqs[i];
		if (s && !s->ended && now - s->last_progress > t->job->idle_timeout)
			return true;
	}
	return false;
}

static void end_if_due(struct task *t, double now)
{
	bool late = t->job->deadline > 0 && now >= t->job->deadline;
	bool is_watched = t->job->idle_timeout > 0 && !atomic_load(&t->held);
	if (atomic_load(&t->cancelled))
		task_end_all(t, &(struct ending) { .finish = FINISH_CANCELLED });
	else if (late || (is_watched && is_idle_too_long(t, now)))
		task_end_all(t, &(struct ending) { .finish = FINISH_TIMEOUT });
}

void lane_tick(struct lane *l, double now)
{
	struct task *t, *next;
	DL_FOREACH (l->active, t)
		end_if_due(t, now);
	DL_FOREACH (l->held, t)
		end_if_due(t, now);
	DL_FOREACH_SAFE (l->waiting, t, next) {
		end_if_due(t, now);
		if (t->n_open > 0)
			continue;
		DL_DELETE(l->waiting, t);
		DL_APPEND(l->dead, t);
	}
	lane_settle(l);
	hold_tick(l, now);
	room_grow(l);
	room_admit(l, now);
	lane_settle(l);
}

static void bury(struct lane *l, struct task **from, struct task *t)
{
	l->promised.blocks -= t->blocks;
	DL_DELETE(*from, t);
	DL_APPEND(l->dead, t);
}

void lane_settle(struct lane *l)
{
	struct task *t, *next;
	size_t n = 0;
	for (size_t i = 0; i < l->n_running; i++)
		if (!l->running[i]->ended && !l->running[i]->task->is_parked)
			l->running[n++] = l->running[i];
	l->n_running = n;
	DL_FOREACH_SAFE (l->active, t, next) {
		if (t->n_open > 0)
			continue;
		l->promised.slots -= (size_t)task_choices(t);
		bury(l, &l->active, t);
	}
	DL_FOREACH_SAFE (l->held, t, next)
		if (t->n_open == 0)
			bury(l, &l->held, t);
}

bool lane_has_work(const struct lane *l)
{
	return l->active || l->held || l->waiting;
}
