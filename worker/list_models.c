/* list_models.c - list_models. */
#include "worker/list_models.h"
#include "protocol/mem.h"
#include "worker/load.h"
#include "worker/models.h"
#include "worker/roots.h"
#include <stdlib.h>
#include <string.h>

struct list_call {
	struct call call; /* first: a call * is a list_call * */
	struct worker *w;
	struct chore chore;
	struct letter letter;
	struct reply *reply;
	bool cancelled, silent;
	/* what the walk found, by id; strings are owned */
	struct found_model *found;
	size_t n_found;
	bool is_whole;
	struct buf out;
};

/* -- on the aux thread ----------------------------------------------------------------------- */

static void keep(void *arg, const struct found_model *m)
{
	struct list_call *l = arg;
	struct found_model *own;
	l->found = xreallocarray(l->found, l->n_found + 1, sizeof *l->found);
	own = &l->found[l->n_found++];
	*own = *m;
	own->model_id = xstrdup(m->model_id);
	own->path = xstrdup(m->path);
	own->architecture = m->architecture ? xstrdup(m->architecture) : NULL;
}

static int compare(const void *a, const void *b)
{
	const struct found_model *x = a, *y = b;
	return strcmp(x->model_id, y->model_id);
}

static void run_walk(struct chore *c)
{
	struct list_call *l = HOLDER(c, struct list_call, chore);
	l->is_whole = roots_each(&l->w->options, keep, l);
	if (l->n_found)
		qsort(l->found, l->n_found, sizeof *l->found, compare);
	mailbox_send(&l->w->mail, &l->letter);
}

/* -- on the I/O thread ----------------------------------------------------------------------- */

static void list_loaded(void *arg, const struct model_ref *r)
{
	struct list_call *l = arg;
	const char *id = model_ref_id(r);
	jout_sep(&l->out);
	buf_addc(&l->out, '{');
	models_write(&l->out, id, model_ref_model(r), models_find(l->w->models, id));
	buf_addc(&l->out, '}');
}

static void begin_plain(struct buf *out, const char *id, const char *state)
{
	jout_sep(out);
	buf_addc(out, '{');
	jout_key_cstr(out, "model_id", id);
	jout_key_cstr(out, "state", state);
}

static void list_loading(void *arg, const char *model_id, double fraction)
{
	struct list_call *l = arg;
	if (models_find(l->w->models, model_id))
		return;
	begin_plain(&l->out, model_id, "loading");
	jout_key_fixed(&l->out, "progress", fraction, 3);
	buf_addc(&l->out, '}');
}

static void list_asleep(struct list_call *l)
{
	for (const struct loaded *r = l->w->models->loaded; r; r = r->next) {
		if (!r->is_asleep)
			continue;
		begin_plain(&l->out, r->spec.model_id, "asleep");
		jout_key_cstr(&l->out, "path", r->spec.path);
		jout_key_int(&l->out, "memory_usage", (int64_t)r->n_bytes);
		buf_addc(&l->out, '}');
	}
}

static void list_found(struct list_call *l, const struct found_model *m)
{
	if (models_find(l->w->models, m->model_id))
		return;
	begin_plain(&l->out, m->model_id, "available");
	jout_key_cstr(&l->out, "path", m->path);
	jout_key_cstr(&l->out, "format", m->format);
	jout_key_int(&l->out, "size_bytes", (int64_t)m->n_bytes);
	if (m->architecture)
		jout_key_cstr(&l->out, "architecture", m->architecture);
	buf_addc(&l->out, '}');
}

static void answer(struct list_call *l)
{
	struct worker *w = l->w;
	buf_adds(&l->out, "{\"models\":[");
	catalog_each(w->catalog, list_loaded, l);
	list_asleep(l);
	load_each(w->models, list_loading, l);
	for (size_t i = 0; i < l->n_found; i++)
		list_found(l, &l->found[i]);
	buf_addc(&l->out, ']');
	if (!l->is_whole)
		jout_key_bool(&l->out, "truncated", true);
	buf_addc(&l->out, '}');
	reply_result(l->reply, l->out.data, l->out.n_bytes);
}

static void end(struct letter *letter)
{
	struct list_call *l = HOLDER(letter, struct list_call, letter);
	struct fault f;
	if (l->silent) {
		reply_drop(l->reply);
	} else if (l->cancelled) {
		fault_set(&f, ERR_CANCELLED, "the request was cancelled");
		reply_fault(l->reply, &f);
	} else {
		answer(l);
	}
	calls_over(&l->w->calls, &l->call);
	for (size_t i = 0; i < l->n_found; i++) {
		free((char *)(uintptr_t)l->found[i].model_id);
		free((char *)(uintptr_t)l->found[i].path);
		free((char *)(uintptr_t)l->found[i].architecture);
	}
	free(l->found);
	buf_release(&l->out);
	free(l);
}

static void on_cancel(struct call *c, enum cancel_how how)
{
	struct list_call *l = (struct list_call *)c;
	l->cancelled = true;
	l->silent = l->silent || how == CANCEL_SILENT;
}

void handle_list_models(struct request *rq)
{
	struct list_call *l = xcalloc(1, sizeof *l);
	l->w = rq->w;
	l->reply = rq->reply;
	l->call.cancel = on_cancel;
	l->chore.run = run_walk;
	l->letter.open = end;
	calls_add(&l->w->calls, &l->call, rq->reply, NULL);
	json_object_put(rq->params);
	workq_push(&l->w->aux, &l->chore);
}
