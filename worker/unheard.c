/* unheard.c - a job whose text nobody wants. */
#include "worker/unheard.h"
#include "protocol/mem.h"
#include "worker/text/tokenizer.h"

struct job *unheard_new(struct worker *w, struct model_ref *ref, size_t max_tokens)
{
	const int32_t bos = tokenizer_bos(model_tokenizer(model_ref_model(ref)));
	struct job *j = xcalloc(1, sizeof *j);
	j->kind = JOB_GENERATE;
	j->key = ++w->last_key;
	j->model = ref;
	j->prompt = xcalloc(1, sizeof *j->prompt);
	j->prompt[0] = bos > 0 ? bos : 0;
	j->n_prompt = 1;
	j->sampling = (struct sampling) {
		.top_p = 1, .typical_p = 1, .repetition_penalty = 1, .repetition_window = -1
	};
	j->n_choices = 1;
	j->max_tokens = max_tokens;
	j->ignore_eos = true;
	j->arrived = clock_now();
	return j;
}

void unheard_tokens(void *arg, const struct job_token *t, size_t n)
{
	(void)arg;
	(void)t;
	(void)n;
}
