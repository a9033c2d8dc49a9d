/* verify.c - checking a draft against what the model would have written. */
#include "worker/engine/verify.h"
#include <math.h>

static size_t n_rows(const struct sequence *s)
{
	return s->n_ids - s->n_settled;
}

static void note_draft(struct sequence *s, struct sampler *sampler, const float *logits, int32_t id)
{
	struct verify *v = &s->verify;
	const struct sampled *chosen = &v->verdicts[v->n_verdicts - 1];
	bool wanted = s->sampling.logprobs || s->sampling.top_logprobs > 0;
	float logprob = chosen->logprob;
	if (chosen->id != id)
		logprob = wanted ? sampler_logprob(sampler, logits, id) : NAN;
	v->draft_logprobs[v->n_judged++] = logprob;
}

static enum verify_state judge_one(struct sequence *s, struct sampler *sampler, const float *logits)
{
	struct verify *v = &s->verify;
	struct sampled *chosen = &v->verdicts[v->n_verdicts];
	const size_t n_before = s->n_settled - s->n_prompt;
	s->n_generated = n_before + v->accepted;
	sequence_pick(s, sampler, logits, chosen);
	if (chosen->id < 0)
		return VERIFY_STUCK;
	v->n_verdicts++;
	s->n_generated = n_before + v->n_verdicts;
	bool is_end = sequence_is_end(s, chosen->id, &v->detail);
	if (v->accepted == n_rows(s))
		return VERIFY_DONE;
	int32_t draft = s->ids[s->n_settled + v->accepted];
	note_draft(s, sampler, logits, draft);
	if (is_end || chosen->id != draft)
		return VERIFY_DONE;
	v->accepted++;
	return VERIFY_MORE;
}

enum verify_state verify_judge(struct sequence *s, struct sampler *sampler, const float *logits,
	size_t n, size_t vocab_size)
{
	enum verify_state state = VERIFY_MORE;
	for (size_t i = 0; i < n && state == VERIFY_MORE; i++)
		state = judge_one(s, sampler, logits + i * vocab_size);
	return state;
}

enum finish verify_finish(const struct sequence *s)
{
	bool cut = n_rows(s) < s->job->n_draft && s->verify.accepted == n_rows(s);
	return cut && s->verify.detail == STOP_NONE ? FINISH_LENGTH : FINISH_STOP;
}
