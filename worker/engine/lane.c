/* lane.c - one model's line: who waits, who is let in, who has to go. */
#include "worker/engine/lane.h"
#include "protocol/log.h"
#include "protocol/mem.h"
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
	free(l->n_logits);
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
	l->budget.prefill_rows = opt->chunk_rows ? opt->chunk_rows : ENGINE_CHUNK_ROWS;
	/* Room for everyone's decode row, and for some drafts of any length beside them. */
	l->budget.exact_rows = l->cap_running + (size_t)2 * LIMIT_DRAFT;
	l->running = xcalloc(l->cap_running, sizeof(struct sequence *));
	l->wants = xcalloc(l->cap_running, sizeof *l->wants);
	l->shares = xcalloc(l->cap_running, sizeof *l->shares);
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

/* -- coming in ------------------------------------------------------------------------------ */

static size_t blocks_of(size_t n_positions)
{
	return (n_positions + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}

/* Choices share the whole blocks of the prompt, and nothing else. */
static size_t blocks_needed(const struct task *t)
{
	const struct job *j = t->job;
	size_t one = blocks_of(sequence_positions(j));
	size_t shared = j->n_prompt / KV_BLOCK_TOKENS;
	size_t n = (size_t)task_choices(t);
	return one + (n - 1) * (one - shared);
}

static void end_with_fault(struct task *t, const struct fault *f)
{
	task_end_all(t, &(struct ending) { .finish = FINISH_ERROR, .fault = f });
}

static void never_fits(struct lane *l, struct task *t)
{
	struct fault f = { 0 };
	fault_set(&f, ERR_NOMEM,
		"the request may need %zu KV blocks of %d tokens, all there are for %s is %zu: "
		"ask for fewer tokens or give more --kv-bytes",
		t->blocks, KV_BLOCK_TOKENS, l->model_id, l->capacity.blocks);
	fault_add_str(&f, "model_id", l->model_id);
	fault_add_int(&f, "blocks_needed", (int64_t)t->blocks);
	fault_add_int(&f, "blocks", (int64_t)l->capacity.blocks);
	fault_add_int(&f, "block_tokens", KV_BLOCK_TOKENS);
	end_with_fault(t, &f);
}

/* Ranks mostly rise with arrival, so the place is found fastest from the end. */
static void insert_by_rank(struct lane *l, struct task *t)
{
	struct task *at = l->waiting ? l->waiting->prev : NULL;
	while (at && at->rank > t->rank)
		at = at == l->waiting ? NULL : at->prev;
	if (at)
		DL_APPEND_ELEM(l->waiting, at, t);
	else
		DL_PREPEND(l->waiting, t);
}

/* max_tokens 0 (only the echo, if any, is wanted), or a resumption of what had ended. */
static void end_without_tokens(struct lane *l, struct task *t)
{
	for (int i = 0; i < t->job->n_choices; i++) {
		t->seqs[i] = sequence_new(t, i, l->kv);
		enum stop_detail d = t->seqs[i]->resumed_stop;
		enum finish finish = d == STOP_NONE ? FINISH_LENGTH : FINISH_STOP;
		task_end(t, i, &(struct ending) { .finish = finish, .detail = d });
	}
}

void lane_take(struct lane *l, struct task *t)
{
	struct fault f = { 0 };
	t->rank = sched_rank(t->job->priority, t->job->arrived);
	if (job_fit(t->job, &f) < 0) {
		end_with_fault(t, &f);
	} else if (t->job->kind == JOB_GENERATE && sequence_is_full(t->job)) {
		end_without_tokens(l, t);
	} else {
		t->blocks = blocks_needed(t);
		if (t->blocks > l->capacity.blocks)
			never_fits(l, t);
	}
	if (t->n_open == 0)
		DL_APPEND(l->dead, t);
	else
		insert_by_rank(l, t);
}

/* -- between steps -------------------------------------------------------------------------- */

void lane_run(struct lane *l, struct sequence *s)
{
	s->task->seqs[s->choice] = s;
	l->running[l->n_running++] = s;
}

static void admit(struct lane *l, struct task *t, double now)
{
	DL_DELETE(l->waiting, t);
	DL_APPEND(l->active, t);
	t->started = now;
	l->promised.blocks += t->blocks;
	l->promised.slots += (size_t)task_choices(t);
	struct sequence *s = sequence_new(t, 0, l->kv);
	sequence_use_cache(s, l->prefixes);
	lane_run(l, s);
	if (s->resumed_stop != STOP_NONE)
		task_end(t, 0,
			&(struct ending) { .finish = FINISH_STOP, .detail = s->resumed_stop });
	log_trace("sched", "job %llu: let in after %.1f ms, %zu blocks promised",
		(unsigned long long)t->job->key, (now - t->job->arrived) * 1e3, t->blocks);
}

/* Nobody overtakes the first in line: what is large would else wait for ever. */
static void admit_who_fits(struct lane *l, double now)
{
	while (l->waiting) {
		struct sched_demand need = { .blocks = l->waiting->blocks,
			.slots = (size_t)task_choices(l->waiting) };
		if (sched_admit(&need, &l->promised, &l->capacity) != SCHED_NOW)
			return;
		admit(l, l->waiting, now);
	}
}

static bool is_idle_too_long(const struct task *t, double now)
{
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
	admit_who_fits(l, now);
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
		if (!l->running[i]->ended)
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
