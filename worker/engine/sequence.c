/* sequence.c - one choice of a job, from its prompt to its last byte of text. */
#include "worker/engine/sequence.h"
#include "protocol/mem.h"
#include "worker/catalog.h"
#include "worker/engine/task.h"
#include "worker/text/tokenizer.h"
#include <stdlib.h>
#include <string.h>

/* Prompt tokens shown to the detokenizer so that what follows is decoded as what follows
 * them: more than a character's bytes or a leading space ever depend on. */
#define PRIME_TOKENS 8

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t id_limit(const struct job *j)
{
	size_t max = model_info(model_ref_model(j->model))->context_length;
	/* A draft's last verdict is the token after it: it needs a place too. */
	bool is_text = j->kind == JOB_GENERATE;
	size_t more = is_text ? j->max_tokens : j->n_draft + 1;
	size_t n_prompt = j->n_prompt - (is_text ? j->n_resumed : 0);
	return more < max - n_prompt ? n_prompt + more : max;
}

static size_t resumed(const struct job *j, int choice)
{
	size_t n;
	job_resumed(j, choice, &n);
	return n;
}

bool sequence_is_full(const struct job *j)
{
	const size_t n_prompt = j->n_prompt - j->n_resumed;
	for (int i = 0; i < j->n_choices; i++)
		if (n_prompt + resumed(j, i) < id_limit(j))
			return false;
	return true;
}

size_t sequence_positions(const struct job *j)
{
	/* The last token is never fed back. */
	size_t n = id_limit(j) - 1;
	for (int i = 0; i == 0 || i < j->n_choices; i++)
		if (j->n_prompt - j->n_resumed + resumed(j, i) > n)
			n = j->n_prompt - j->n_resumed + resumed(j, i);
	return n;
}

static void fill_ends(struct sequence *s)
{
	const struct job *j = s->job;
	const struct model_defaults *d = model_defaults(model_ref_model(j->model));
	s->n_eos = d->n_eos;
	s->n_ends = d->n_eos + j->n_stop_ids;
	s->ends = xcalloc(s->n_ends + 1, sizeof *s->ends);
	memcpy(s->ends, d->eos, d->n_eos * sizeof *s->ends);
	if (j->n_stop_ids)
		memcpy(s->ends + d->n_eos, j->stop_ids, j->n_stop_ids * sizeof *s->ends);
}

/* Text that ends before min_tokens cannot be a stop: it goes past the matcher. */
static bool show(struct sequence *s)
{
	bool found = false;
	if (s->n_generated < s->job->min_tokens)
		buf_add(&s->text, s->fresh.data, s->fresh.n_bytes);
	else
		found = stops_push(s->stops, s->fresh.data, s->fresh.n_bytes, &s->text);
	buf_clear(&s->fresh);
	return found;
}

static void flush(struct sequence *s)
{
	detok_flush(s->detok, &s->fresh);
	show(s);
	stops_flush(s->stops, &s->text);
}

/* The text of a token into s->text; true if a stop string is complete. */
static bool decode(struct sequence *s, int32_t id, bool is_end)
{
	if (!is_end || s->job->include_stop)
		detok_push(s->detok, id, &s->fresh);
	return show(s) && !is_end;
}

/* Repeat what the lost run did with its tokens; their text has been delivered. */
static void resume_text(struct sequence *s)
{
	const struct job_sink *sink = s->job->sink;
	for (size_t i = s->n_prompt; i < s->n_ids; i++) {
		bool is_end = sequence_is_end(s, s->ids[i], &s->resumed_stop);
		s->n_generated++;
		if (decode(s, s->ids[i], is_end))
			s->resumed_stop = STOP_STRING;
	}
	if (s->resumed_stop != STOP_NONE || s->n_ids >= s->n_limit)
		flush(s);
	if (sink && sink->resumed)
		sink->resumed(s->job->sink_arg, s->choice, buf_cstr(&s->text), s->text.n_bytes);
	buf_clear(&s->text);
}

bool sequence_is_over(const struct sequence *s, enum finish *finish, enum stop_detail *detail)
{
	*detail = s->resumed_stop;
	*finish = s->resumed_stop == STOP_NONE ? FINISH_LENGTH : FINISH_STOP;
	return s->resumed_stop != STOP_NONE || s->n_ids >= s->n_limit;
}

static void start_text(struct sequence *s)
{
	const struct job *j = s->job;
	s->detok = detok_new(model_tokenizer(model_ref_model(j->model)), j->skip_special);
	s->stops = stops_new(j->stops, j->n_stops, j->include_stop);
	size_t from = j->echo || s->n_prompt < PRIME_TOKENS ? 0 : s->n_prompt - PRIME_TOKENS;
	for (size_t i = from; i < s->n_prompt; i++)
		detok_push(s->detok, s->ids[i], &s->text);
	if (!j->echo)
		buf_clear(&s->text);
	if (s->n_ids > s->n_prompt)
		resume_text(s);
}

static void start_draft(struct sequence *s)
{
	const struct job *j = s->job;
	size_t n = smaller(j->n_draft, s->n_limit - s->n_ids - 1);
	if (n > 0)
		memcpy(s->ids + s->n_ids, j->draft, n * sizeof *s->ids);
	s->n_ids += n;
	s->verify.verdicts = xcalloc(n + 1, sizeof *s->verify.verdicts);
	s->verify.draft_logprobs = xcalloc(n + 1, sizeof *s->verify.draft_logprobs);
}

static void start_ids(struct sequence *s)
{
	const struct job *j = s->job;
	size_t n_more;
	const int32_t *more = job_resumed(j, s->choice, &n_more);
	s->n_prompt = j->n_prompt - j->n_resumed;
	s->n_ids = s->n_settled = s->n_prompt + n_more;
	s->kv.n_prompt = s->n_prompt;
	s->ids = xcalloc(s->n_limit > s->n_ids ? s->n_limit : s->n_ids, sizeof *s->ids);
	memcpy(s->ids, j->prompt, s->n_prompt * sizeof *s->ids);
	if (n_more)
		memcpy(s->ids + s->n_prompt, more, n_more * sizeof *s->ids);
}

struct sequence *sequence_new(struct task *t, int choice, struct kv_pool *pool)
{
	const struct job *j = t->job;
	struct sequence *s = xcalloc(1, sizeof *s);
	s->task = t;
	s->job = j;
	s->choice = choice;
	kv_seq_init(&s->kv, pool);
	s->n_limit = id_limit(j);
	start_ids(s);
	s->sampling = j->sampling;
	s->sampling.seed += (uint64_t)choice;
	fill_ends(s);
	switch (j->kind) {
	case JOB_GENERATE:
		start_text(s);
		s->spec = (struct speculation) { .prediction = j->prediction,
			.n_prediction = j->n_prediction,
			.look_up = j->look_up,
			.always = j->draft_always,
			.max = j->max_draft };
		speculate_init(&s->spec, s->n_prompt);
		break;
	case JOB_CHECK_DRAFT: start_draft(s); break;
	case JOB_EMBED:
		pooled_init(&s->pooled, j->pooling, j->n_prompt,
			model_info(model_ref_model(j->model))->dim);
		break;
	}
	s->last_progress = clock_now();
	return s;
}

/* Whole blocks of the prompt, but for the token whose logits are wanted. */
static size_t find_cached(struct sequence *s, struct prefix_cache *c)
{
	const struct job *j = s->job;
	const struct model_info *info = model_info(model_ref_model(j->model));
	/* A vector needs every token's hidden state; logits need the last token's row. */
	if (!j->cache_prompt || j->kind == JOB_EMBED || s->n_prompt > info->plain_length)
		return 0;
	prefix_enter(&s->place, c, j->cache_scope ? j->cache_scope : "");
	return prefix_find(&s->place, &s->kv, s->ids, smaller(s->n_prompt, s->n_settled - 1));
}

void sequence_use_cache(struct sequence *s, struct prefix_cache *c)
{
	s->n_cached = find_cached(s, c);
}

void sequence_park(struct sequence *s)
{
	drafter_end(s);
	prefix_leave(&s->place);
	kv_seq_release(&s->kv);
	s->kv.n_prompt = s->n_prompt;
}

void sequence_unpark(struct sequence *s, struct prefix_cache *c)
{
	find_cached(s, c);
	s->last_progress = clock_now();
}

void sequence_free(struct sequence *s)
{
	if (!s)
		return;
	drafter_end(s);
	prefix_leave(&s->place);
	kv_seq_release(&s->kv);
	pooled_release(&s->pooled);
	free(s->verify.draft_logprobs);
	free(s->verify.verdicts);
	buf_release(&s->text);
	buf_release(&s->fresh);
	stops_free(s->stops);
	detok_free(s->detok);
	free(s->ends);
	free(s->ids);
	free(s);
}

void sequence_wants(const struct sequence *s, struct sched_seq *out)
{
	size_t have = s->kv.n_tokens;
	out->n_prefill = have < s->n_prompt ? s->n_prompt - have : 0;
	out->n_exact = s->n_ids - (have > s->n_prompt ? have : s->n_prompt);
}

size_t sequence_rows(struct sequence *s, const struct sched_share *share, struct batch_row *rows,
	size_t *n_logits)
{
	size_t n = share->n_prefill + share->n_exact;
	*n_logits = 0;
	for (size_t i = 0; i < n; i++) {
		size_t pos = s->kv.n_tokens + i;
		rows[i] = (struct batch_row) { .token = s->ids[pos],
			.pos = (int32_t)pos,
			.seq = &s->kv,
			.prefill = pos < s->n_prompt,
			.want_logits = s->job->kind != JOB_EMBED && pos + 1 >= s->n_settled };
		*n_logits += rows[i].want_logits;
	}
	return n;
}

void sequence_pick(
	struct sequence *s, struct sampler *sampler, const float *logits, struct sampled *out)
{
	const struct job *j = s->job;
	bool no_end = s->n_generated < j->min_tokens;
	s->sampling.banned = s->ends;
	s->sampling.n_banned = no_end ? s->n_ends : j->ignore_eos ? s->n_eos : 0;
	sampler_pick(sampler, &s->sampling, logits, s->ids, s->n_prompt + s->n_generated,
		s->n_generated, s->n_prompt + s->n_generated, out);
}

void sequence_guess(const struct sequence *s, struct sampler *sampler, const float *logits,
	size_t n_ahead, struct sampled *out)
{
	const struct job *j = s->job;
	const size_t n_generated = s->n_generated + n_ahead, n = s->n_prompt + n_generated;
	struct sampling p = s->sampling;
	p.logprobs = false;
	p.top_logprobs = 0;
	p.banned = s->ends;
	p.n_banned = n_generated < j->min_tokens ? s->n_ends : j->ignore_eos ? s->n_eos : 0;
	sampler_pick(sampler, &p, logits, s->ids, n, n_generated, n, out);
}

bool sequence_is_end(const struct sequence *s, int32_t id, enum stop_detail *detail)
{
	for (size_t i = 0; i < s->n_ends; i++) {
		if (s->ends[i] != id)
			continue;
		*detail = i < s->n_eos ? STOP_EOS : STOP_TOKEN;
		return true;
	}
	return false;
}

/* The next token is beyond doubt. If the draft said another, the rest of the draft goes, and
 * what was computed of it. True if it said this one. */
static bool settle(struct sequence *s, int32_t id)
{
	bool held = s->n_settled < s->n_ids && s->ids[s->n_settled] == id;
	s->ids[s->n_settled++] = id;
	s->n_generated++;
	if (held) {
		s->n_held++;
		return true;
	}
	s->n_ids = s->n_settled;
	drafter_cut(s, s->n_settled - 1);
	if (s->kv.n_tokens >= s->n_settled)
		kv_truncate(&s->kv, s->n_settled - 1);
	return false;
}

static bool append(struct sequence *s, int32_t id, enum finish *finish, enum stop_detail *detail)
{
	bool is_end = sequence_is_end(s, id, detail);
	*finish = FINISH_STOP;
	if (decode(s, id, is_end)) {
		*detail = STOP_STRING;
		return true;
	}
	if (!is_end && s->n_settled < s->n_limit)
		return false;
	if (!is_end)
		*finish = FINISH_LENGTH;
	flush(s);
	return true;
}

bool sequence_accept(struct sequence *s, const struct sampled *x, struct job_token *t,
	enum finish *finish, enum stop_detail *detail)
{
	*detail = STOP_NONE;
	bool held = settle(s, x->id);
	bool over = append(s, x->id, finish, detail);
	*t = (struct job_token) { .text = buf_cstr(&s->text),
		.n_text = s->text.n_bytes,
		.sampled = x,
		.index = s->n_generated - 1,
		.choice = s->choice,
		.from_draft = held };
	if (over)
		drafter_judge_last(s);
	if (over && s->detok) {
		detok_free(s->detok);
		s->detok = NULL;
	}
	return over;
}

void sequence_end(struct sequence *s)
{
	if (s->ended)
		return;
	s->ended = true;
	if (s->detok)
		flush(s);
	drafter_end(s);
	prefix_leave(&s->place);
	kv_seq_release(&s->kv);
}
