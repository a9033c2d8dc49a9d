/* load_warmup.c - load_model's warmup: before the answer a token is computed, which reads the
 * weights, and the memory that prompts will fill is found. */
#include "protocol/log.h"
#include "worker/loading.h"
#include "worker/unheard.h"
#include <utlist.h>

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
	static const struct job_sink sink = { .tokens = unheard_tokens, .done = on_done };
	struct job *j = unheard_new(l->w, ref, 2); /* the second is decoded */
	DL_PREPEND(l->w->models->loads, l);
	l->is_warming = l->has_room = true;
	j->touches = true;
	j->sink = &sink;
	j->sink_arg = l;
	l->letter.open = on_warm;
	engine_submit(l->w->engine, j);
}
