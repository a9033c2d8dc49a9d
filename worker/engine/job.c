/* job.c - what a handler asks of the engine: its names, its memory, its fit. */
#include "worker/catalog.h"
#include "worker/engine/engine.h"
#include "worker/text/tokenizer.h"
#include <stdlib.h>
#include <string.h>

const char *finish_name(enum finish f)
{
	switch (f) {
	case FINISH_STOP: return "stop";
	case FINISH_LENGTH: return "length";
	case FINISH_CANCELLED: return "cancelled";
	case FINISH_TIMEOUT: return "timeout";
	case FINISH_SLOW_CONSUMER: return "slow_consumer";
	case FINISH_ERROR: return "error";
	}
	return "error";
}

const char *stop_detail_name(enum stop_detail d)
{
	switch (d) {
	case STOP_NONE: return NULL;
	case STOP_EOS: return "eos";
	case STOP_STRING: return "stop_string";
	case STOP_TOKEN: return "stop_token";
	}
	return NULL;
}

void job_free(struct job *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->n_stops; i++)
		free(j->stops[i]);
	free(j->stops);
	free(j->stop_ids);
	free(j->cache_scope);
	free(j->client);
	free((void *)j->sampling.bias);
	free(j->draft);
	free(j->prediction);
	free(j->prompt);
	model_ref_release(j->draft_model);
	model_ref_release(j->model);
	free(j);
}

const int32_t *job_resumed(const struct job *j, int choice, size_t *n)
{
	const int32_t *at = j->prompt + j->n_prompt - j->n_resumed;
	*n = j->n_choices > 1 ? j->resumed[choice] : j->n_resumed;
	for (int i = 0; i < choice; i++)
		at += j->resumed[i];
	return at;
}

static int overflow(const struct job *j, size_t n_prompt, size_t max, struct fault *f)
{
	const char *id = model_ref_id(j->model);
	fault_set(f, ERR_CONTEXT_OVERFLOW, "%s has %zu tokens, the context of %s holds %zu%s",
		j->kind == JOB_EMBED ? "input" : "prompt", n_prompt, id, max,
		j->kind == JOB_EMBED ? "" : ": leave room for at least one more");
	fault_add_str(f, "model_id", id);
	fault_add_int(f, "prompt_tokens", (int64_t)n_prompt);
	fault_add_int(f, "max", (int64_t)max);
	return ERR_CONTEXT_OVERFLOW;
}

static void cut_left(struct job *j, size_t n_cut)
{
	int32_t bos = tokenizer_bos(model_tokenizer(model_ref_model(j->model)));
	size_t n_kept = j->n_prompt - n_cut;
	size_t head = bos >= 0 && j->prompt[0] == bos && n_kept > 1;
	memmove(j->prompt + head, j->prompt + head + n_cut, (n_kept - head) * sizeof *j->prompt);
	j->n_prompt = n_kept;
	j->truncated_tokens += n_cut;
}

int job_fit(struct job *j, struct fault *f)
{
	size_t max = model_info(model_ref_model(j->model))->context_length;
	size_t n = j->n_prompt - j->n_resumed;
	if (n < max || (n == max && j->kind == JOB_EMBED))
		return 0;
	if (!j->truncate_left || max < 2)
		return overflow(j, n, max, f);
	size_t room = j->kind == JOB_GENERATE ? j->max_tokens : j->n_draft + 1;
	size_t n_kept = room < max / 2 ? max - room : max - max / 2;
	cut_left(j, n - (n_kept < max ? n_kept : max - 1));
	return 0;
}
