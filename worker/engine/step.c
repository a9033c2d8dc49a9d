/* step.c - one forward pass for everyone, and what each sequence makes of its logits. Stop 17;
 * next: worker/model/model.c */
#include "protocol/log.h"
#include "worker/engine/lane.h"
#include "worker/engine/verify.h"
#include <assert.h>

static void fail(struct sequence *s, const struct fault *f)
{
	task_end_all(s->task, &(struct ending) { .finish = FINISH_ERROR, .fault = f });
}

/* The rows of those who decode, drafts and all. */
static size_t decoding_rows(const struct lane *l)
{
	size_t n_rows = 0;
	for (size_t i = 0; i < l->n_running; i++)
		n_rows += l->wants[i].n_prefill == 0 ? l->wants[i].n_exact : 0;
	return n_rows;
}

/* Prompts get what those who decode can bear. As long as nobody knows what these take alone,
 * they are let go alone, once. */
static size_t prefill_rows(struct lane *l)
{
	size_t n_rows = decoding_rows(l);
	l->decode_s = 0;
	if (!l->is_paced || n_rows == 0 || n_rows > STEP_COST_ROWS)
		return l->budget.prefill_rows;
	if (step_cost_expect(&l->cost, n_rows, 0, &l->decode_s) < 0)
		return 0;
	return sched_pace_rows(&l->pace, l->decode_s, l->budget.prefill_rows);
}

static void plan(struct lane *l)
{
	for (size_t i = 0; i < l->n_running; i++) {
		struct sched_seq *want = &l->wants[i];
		want->rank = l->running[i]->task->rank;
		sequence_wants(l->running[i], want);
		l->seats[i] = (struct turn_seat) { .turn = l->running[i]->task->turn,
			.decodes = want->n_prefill == 0 && want->n_exact > 0 };
	}
	turns_plan(l->seats, l->n_running, ++l->n_steps);
	for (size_t i = 0; i < l->n_running; i++)
		if (!l->seats[i].may)
			l->wants[i].n_exact = 0;
	struct sched_budget budget = l->budget;
	budget.prefill_rows = prefill_rows(l);
	sched_plan(l->wants, l->n_running, &budget, l->shares);
}

/* Room for more positions, taken from the prefix cache where nothing else is left. */
static int make_room(struct lane *l, struct sequence *s, size_t more)
{
	if (kv_reserve(&s->kv, more) == 0)
		return 0;
	/* One for the rest of a block that is begun, one for a shared block's copy. */
	prefix_yield(l->prefixes, more / KV_BLOCK_TOKENS + 2);
	return kv_reserve(&s->kv, more);
}

/* Admission promised everyone this room, so a failure means memory that the system does not
 * have. It ends the job, and comes before any row is written: its other choices may have
 * rows in this step too. */
static void reserve(struct lane *l)
{
	for (size_t i = 0; i < l->n_running; i++) {
		struct sequence *s = l->running[i];
		size_t more = l->shares[i].n_prefill + l->shares[i].n_exact;
		if (s->ended || make_room(l, s, more) == 0)
			continue;
		struct fault f = { 0 };
		fault_set(&f, ERR_NOMEM, "the KV cache of %s has no room for %zu more tokens",
			l->model_id, more);
		fail(s, &f);
	}
}

static size_t gather_rows(struct lane *l)
{
	size_t n = 0;
	float *hidden = l->hidden;
	for (size_t i = 0; i < l->n_running; i++) {
		struct sequence *s = l->running[i];
		l->n_logits[i] = 0;
		if (s->ended) {
			l->shares[i] = (struct sched_share) { 0 };
			continue;
		}
		size_t more = sequence_rows(s, &l->shares[i], l->rows + n, &l->n_logits[i]);
		if (s->job->kind == JOB_EMBED)
			hidden = pooled_ask(&s->pooled, l->rows + n, more, hidden);
		n += more;
	}
	return n;
}

static void end_stuck(struct sequence *s)
{
	struct fault f = { 0 };
	fault_set(&f, ERR_GENERATION,
		"no token is possible at position %zu: every logit is banned, -inf or not a number",
		s->n_prompt + s->n_generated);
	task_end(s->task, s->choice, &(struct ending) { .finish = FINISH_ERROR, .fault = &f });
}

/* True if the draft goes on, so that the next row of logits counts too. */
static bool emit(struct lane *l, struct sequence *s, const float *logits)
{
	struct sampled x;
	struct job_token t;
	struct ending end = { 0 };
	sequence_pick(s, l->sampler, logits, &x);
	if (x.id < 0) {
		end_stuck(s);
		return false;
	}
	bool over = sequence_accept(s, &x, &t, &end.finish, &end.detail);
	s->last_progress = clock_now();
	if (s->first_token == 0)
		s->first_token = s->last_progress;
	s->job->sink->tokens(s->job->sink_arg, &t, 1);
	buf_clear(&s->text);
	if (s->task->turn)
		s->task->turn->n_tokens++;
	if (over)
		task_end(s->task, s->choice, &end);
	return !over && t.from_draft;
}

/* Row i says what follows the i-th token of the draft: it counts as long as those held. */
static void emit_rows(struct lane *l, struct sequence *s, const float *logits, size_t n)
{
	for (size_t i = 0; i < n && emit(l, s, logits + i * l->vocab_size); i++)
		if (atomic_load(&s->task->cancelled))
			break;
}

static bool is_resumed(const struct sequence *s)
{
	return s->n_generated > 0;
}

/* The prompt is computed: the other choices begin with its cache and the same logits. Those of
 * one that is resumed tell what comes after its tokens: who has none needs the prompt's last row
 * once more. */
static void fork_choices(struct lane *l, struct sequence *s, const float *logits)
{
	const int first = s->choice + 1, n = s->job->n_choices;
	for (int i = first; i < n; i++) {
		struct sequence *other = lane_begin(l, s->task, i);
		if (!other)
			continue;
		const bool lacks_row = is_resumed(s) && !is_resumed(other);
		kv_share(&other->kv, &s->kv, s->n_prompt - lacks_row);
		other->n_prefilled = s->n_prompt;
		other->n_cached = s->n_cached;
		lane_run(l, other);
	}
	for (int i = first; i < n && !is_resumed(s); i++)
		if (!is_resumed(s->task->seqs[i]))
			emit_rows(l, s->task->seqs[i], logits, 1);
}

/* It is the first that runs, and has not told the others yet. */
static bool leads(const struct sequence *s)
{
	return s->choice + 1 < s->job->n_choices && !s->task->seqs[s->choice + 1];
}

static void judge(struct lane *l, struct sequence *s, const float *logits, size_t n)
{
	switch (verify_judge(s, l->sampler, logits, n, l->vocab_size)) {
	case VERIFY_MORE: return;
	case VERIFY_STUCK: end_stuck(s); return;
	case VERIFY_DONE: break;
	}
	s->first_token = clock_now();
	task_end(s->task, 0, &(struct ending) { verify_finish(s), s->verify.detail, NULL });
}

/* A text's vector has no first token; it is whole with its last row. */
static void take_hidden(struct sequence *s, const struct batch_row *rows, size_t n)
{
	pooled_take(&s->pooled, rows, n);
	if (s->kv.n_tokens < s->n_prompt)
		return;
	pooled_finish(&s->pooled);
	s->first_token = clock_now();
	task_end(s->task, 0, &(struct ending) { .finish = FINISH_STOP });
}

/* Sequence i of this step, its rows, and the logits of those that wanted them. */
static void hand_out(struct lane *l, size_t i, const struct batch_row *rows, const float *logits)
{
	struct sequence *s = l->running[i];
	const struct job *j = s->job;
	if (atomic_load(&s->task->cancelled)) {
		task_end_all(s->task, &(struct ending) { .finish = FINISH_CANCELLED });
		return;
	}
	prefix_publish(&s->place, &s->kv, s->ids, s->n_prompt);
	bool first = s->first_token == 0;
	s->last_progress = clock_now();
	size_t have = s->kv.n_tokens < s->n_prompt ? s->kv.n_tokens : s->n_prompt;
	if (s->n_prefilled < have && j->sink->progress) {
		s->n_prefilled = have;
		j->sink->progress(j->sink_arg, s->n_prefilled, s->n_prompt);
	}
	if (j->kind == JOB_EMBED)
		take_hidden(s, rows, l->shares[i].n_prefill);
	if (l->n_logits[i] == 0)
		return;
	if (j->kind == JOB_CHECK_DRAFT) {
		judge(l, s, logits, l->n_logits[i]);
		return;
	}
	/* Before the first choice's own token: that may end it, and its cache with it. */
	if (first && leads(s))
		fork_choices(l, s, logits);
	emit_rows(l, s, logits, l->n_logits[i]);
}

/* Who was computed together; and what a step of exact rows alone took. */
static void note_step(struct lane *l, size_t n_rows, double seconds)
{
	size_t n_prefill = 0, n_together = 0;
	for (size_t i = 0; i < l->n_running; i++) {
		n_prefill += l->shares[i].n_prefill;
		n_together += l->shares[i].n_prefill + l->shares[i].n_exact > 0;
	}
	for (size_t i = 0; i < l->n_running; i++) {
		if (l->shares[i].n_prefill + l->shares[i].n_exact == 0)
			continue;
		l->running[i]->n_steps++;
		l->running[i]->n_mates += n_together - 1;
	}
	log_trace("sched", "step: %zu prompt rows and %zu others in %.2f ms; these alone %.2f ms",
		n_prefill, n_rows - n_prefill, seconds * 1e3, l->decode_s * 1e3);
	if (n_prefill == 0)
		step_cost_note(&l->cost, n_rows, seconds);
	else if (l->decode_s > 0)
		sched_pace_note(&l->pace, n_prefill, seconds, l->decode_s);
}

void lane_step(struct lane *l)
{
	struct fault f = { 0 };
	drafter_run(l);
	plan(l);
	reserve(l);
	size_t n_rows = gather_rows(l), n = l->n_running;
	const double began = clock_now();
	int rc = n_rows ? model_forward(l->context, l->rows, n_rows, l->logits, &f) : 0;
	note_step(l, n_rows, clock_now() - began);
	const float *logits = l->logits;
	const struct batch_row *rows = l->rows;
	for (size_t i = 0; i < n; i++) {
		struct sequence *s = l->running[i];
		size_t n_own = l->shares[i].n_prefill + l->shares[i].n_exact;
		/* One that a sister choice ended in this very step has its rows here all the same.
		 */
		if (!s->ended && n_own > 0 && rc < 0)
			fail(s, &f);
		else if (!s->ended && n_own > 0)
			hand_out(l, i, rows, logits);
		logits += l->n_logits[i] * l->vocab_size;
		rows += n_own;
	}
	lane_settle(l);
}
