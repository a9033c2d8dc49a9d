/* task.c - the end of every job, told once. */
#include "worker/engine/task.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/engine/inbox.h"
#include "worker/engine/sequence.h"
#include <stdlib.h>

struct task *task_new(struct job *j, struct inbox *inbox)
{
	struct task *t = xcalloc(1, sizeof *t);
	t->job = j;
	t->inbox = inbox;
	t->n_open = task_choices(t);
	atomic_init(&t->cancelled, false);
	atomic_init(&t->held, false);
	return t;
}

int task_choices(const struct task *t)
{
	return t->job->kind == JOB_GENERATE ? t->job->n_choices : 1;
}

void task_free(struct task *t)
{
	for (int i = 0; i < LIMIT_N; i++)
		sequence_free(t->seqs[i]);
	job_free(t->job);
	free(t);
}

static double ms(double from, double to)
{
	return from > 0 && to > from ? (to - from) * 1e3 : 0;
}

static void fill_times(const struct task *t, const struct sequence *s, struct job_result *r)
{
	double now = clock_now(), arrived = t->job->arrived;
	double first = s ? s->first_token : 0;
	r->total_ms = ms(arrived, now);
	r->queue_ms = ms(arrived, t->started > 0 ? t->started : now);
	r->prefill_ms = t->started > 0 ? ms(t->started, first > 0 ? first : now) : 0;
	r->decode_ms = ms(first, now);
	r->ttft_ms = ms(arrived, first);
}

static void fill_result(const struct task *t, const struct sequence *s, const struct ending *how,
	struct job_result *r)
{
	r->finish = how->finish;
	r->stop_detail = how->detail;
	if (how->finish == FINISH_ERROR)
		r->fault = *how->fault;
	const bool is_check = t->job->kind == JOB_CHECK_DRAFT;
	r->prompt_tokens = t->job->n_prompt - (is_check ? 0 : t->job->n_resumed);
	r->n_followed = is_check ? t->job->n_resumed : 0;
	r->truncated_tokens = t->job->truncated_tokens;
	fill_times(t, s, r);
	if (!s)
		return;
	r->completion_tokens = is_check ? s->verify.n_verdicts : s->n_generated;
	r->cached_tokens = s->n_cached;
	bool is_text = t->job->kind == JOB_GENERATE;
	r->accepted = is_text ? s->spec.n_accepted : s->verify.accepted;
	r->n_drafted = s->spec.n_drafted;
	r->by_position = s->spec.counts;
	r->draft_ms = s->drafter.seconds * 1e3;
	r->batch_mates = s->n_steps ? (double)s->n_mates / (double)s->n_steps : 0;
	r->verdicts = s->verify.verdicts;
	r->n_verdicts = s->verify.n_verdicts;
	r->draft_logprobs = s->verify.draft_logprobs;
	r->n_judged = s->verify.n_judged;
	r->embedding = s->pooled.sum;
	r->n_embedding = s->pooled.dim;
}

void task_end(struct task *t, int choice, const struct ending *how)
{
	static const struct ending CANCELLED = { .finish = FINISH_CANCELLED };
	if (t->ended[choice])
		return;
	t->ended[choice] = true;
	bool last = --t->n_open == 0;
	/* From here engine_cancel does not know the job; who was told `true` before gets what
	 * was promised. */
	if (last && inbox_close(t->inbox, t))
		how = &CANCELLED;
	struct sequence *s = t->seqs[choice];
	struct job_result r = { 0 };
	fill_result(t, s, how, &r);
	if (s)
		sequence_end(s);
	log_trace("engine", "job %llu choice %d: %s after %zu tokens",
		(unsigned long long)t->job->key, choice, finish_name(r.finish),
		r.completion_tokens);
	t->job->sink->done(t->job->sink_arg, choice, &r, s ? buf_cstr(&s->text) : "",
		s ? s->text.n_bytes : 0, last);
}

void task_end_all(struct task *t, const struct ending *how)
{
	for (int i = 0, n = task_choices(t); i < n; i++)
		task_end(t, i, how);
}
