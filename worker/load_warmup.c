/* load_warmup.c - load_model's warmup: one token is computed before the answer. */
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/loading.h"
#include "worker/text/tokenizer.h"
#include <utlist.h>

static void on_tokens(void *arg, const struct job_token *t, size_t n)
{
	(void)arg;
	(void)t;
	(void)n; /* what it says does not matter */
}

static void on_done(void *arg, int choice, const struct job_result *r, const char *tail,
	size_t n_tail, bool last)
{
	struct load *l = arg;
	(void)choice;
	(void)tail;
	(void)n_tail;
	if (r->finish == FINISH_ERROR)
		log_warn("%s: warm-up: %s", l->spec.model_id, r->fault.text);
	if (last)
		mailbox_send(&l->w->mail, &l->letter);
}

static void on_warm(struct letter *letter)
{
	struct load *l = HOLDER(letter, struct load, letter);
	DL_DELETE(l->w->models->loads, l);
	load_answer(l, &l->result);
	load_free(l);
}

void load_warm_up(struct load *l, struct model_ref *ref)
{
	static const struct job_sink sink = { on_tokens, on_done, NULL };
	const int32_t bos = tokenizer_bos(model_tokenizer(model_ref_model(ref)));
	struct job *j = xcalloc(1, sizeof *j);
	DL_PREPEND(l->w->models->loads, l);
	l->is_warming = true;
	j->kind = JOB_GENERATE;
	j->key = ++l->w->last_key;
	j->model = ref;
	j->prompt = xcalloc(1, sizeof *j->prompt);
	j->prompt[0] = bos > 0 ? bos : 0;
	j->n_prompt = 1;
	j->sampling = (struct sampling) {
		.top_p = 1, .typical_p = 1, .repetition_penalty = 1, .repetition_window = -1
	};
	j->n_choices = 1;
	j->max_tokens = 2; /* the second is decoded */
	j->ignore_eos = true;
	j->arrived = clock_now();
	j->sink = &sink;
	j->sink_arg = l;
	l->letter.open = on_warm;
	engine_submit(l->w->engine, j);
}
