/* models.c - loaded models as the I/O thread knows them; unload_model. */
#include "worker/models.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/load.h"
#include "worker/params.h"
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* A model that was unloaded and still has calls. */
struct leaving {
	struct model_ref *ref; /* keeps the model while its calls end */
	struct loaded *record; /* owned; of no list */
	bool is_forced;
	size_t n_unloads; /* that wait for it */
};

struct unload {
	struct call call; /* first: a call * is an unload * */
	struct worker *w;
	struct leaving *leaving; /* shared by who joins it */
	struct reply *reply;
	struct unload *prev, *next;
};

struct models *models_new(void)
{
	return xcalloc(1, sizeof(struct models));
}

static void loaded_free(struct loaded *l)
{
	load_spec_release(&l->spec);
	free(l);
}

/* -- pairs ----------------------------------------------------------------------------------- */

bool models_is_pair(
	const struct models *m, const struct model_ref *primary, const struct model_ref *draft)
{
	const struct model_pair *p = m->pairs;
	while (p && (p->primary != primary || p->draft != draft))
		p = p->next;
	return p;
}

void models_note_pair(
	struct models *m, const struct model_ref *primary, const struct model_ref *draft)
{
	if (models_is_pair(m, primary, draft))
		return;
	struct model_pair *p = xcalloc(1, sizeof *p);
	*p = (struct model_pair) { primary, draft, m->pairs };
	m->pairs = p;
}

/* Models came or went: their addresses may stand for others now. */
static void forget_pairs(struct models *m)
{
	while (m->pairs) {
		struct model_pair *p = m->pairs;
		m->pairs = p->next;
		free(p);
	}
}

/* -- records --------------------------------------------------------------------------------- */

void models_free(struct models *m)
{
	forget_pairs(m);
	while (m->loaded) {
		struct loaded *l = m->loaded;
		m->loaded = l->next;
		loaded_free(l);
	}
	free(m);
}

struct loaded *models_find(const struct models *m, const char *model_id)
{
	struct loaded *l = m->loaded;
	while (l && strcmp(l->spec.model_id, model_id) != 0)
		l = l->next;
	return l;
}

struct loaded *models_remember(struct models *m, const struct loaded *l)
{
	struct loaded *own = xcalloc(1, sizeof *own);
	models_forget(m, l->spec.model_id);
	*own = *l;
	load_spec_copy(&own->spec, &l->spec);
	LL_APPEND(m->loaded, own);
	return own;
}

/* Out of the list; NULL if it is not there. */
static struct loaded *take_record(struct models *m, const char *model_id)
{
	struct loaded *l = models_find(m, model_id);
	forget_pairs(m);
	if (l)
		LL_DELETE(m->loaded, l);
	return l;
}

void models_forget(struct models *m, const char *model_id)
{
	struct loaded *l = take_record(m, model_id);
	if (l)
		loaded_free(l);
}

bool models_wait_for(const struct request *rq, const char *model_id)
{
	struct loaded *l = models_find(rq->w->models, model_id);
	if (!l || l->is_asleep)
		return load_park(rq, model_id) || (l && load_wake(rq, l));
	l->last_used = clock_now();
	l->was_used = true;
	return false;
}

static size_t calls_using(const struct worker *w, const struct model_ref *ref)
{
	const struct call *c;
	size_t n = 0;
	DL_FOREACH (w->calls.list, c)
		n += c->model == ref || c->draft == ref;
	return n;
}

bool models_is_used(const struct worker *w, const char *model_id)
{
	const struct call *c;
	DL_FOREACH (w->calls.list, c)
		if ((c->model && strcmp(model_ref_id(c->model), model_id) == 0) ||
			(c->draft && strcmp(model_ref_id(c->draft), model_id) == 0))
			return true;
	return false;
}

void models_sleep(struct worker *w, struct loaded *l)
{
	struct fault f;
	forget_pairs(w->models);
	l->is_asleep = true;
	if (catalog_remove(w->catalog, l->spec.model_id, &f) == 0)
		log_info("%s leaves memory until it is needed", l->spec.model_id);
}

/* Nobody wants it gone any longer. */
static void stay(struct worker *w, const struct leaving *lv)
{
	if (models_find(w->models, lv->record->spec.model_id))
		return; /* replaced meanwhile */
	catalog_restore(w->catalog, lv->ref);
	models_remember(w->models, lv->record);
	load_trim(w);
}

static void leaving_free(struct leaving *lv)
{
	model_ref_release(lv->ref);
	loaded_free(lv->record);
	free(lv);
}

static void unload_end(struct unload *u, const struct fault *f)
{
	struct worker *w = u->w;
	struct reply *reply = u->reply;
	DL_DELETE(w->models->unloads, u);
	if (--u->leaving->n_unloads == 0) {
		if (f)
			stay(w, u->leaving);
		else
			log_info("unloaded %s", u->leaving->record->spec.model_id);
		leaving_free(u->leaving);
	}
	if (f)
		reply_fault(reply, f);
	else
		reply_result(reply, "{\"success\":true}", 16);
	calls_over(&w->calls, &u->call);
	free(u);
}

static void unload_cancel(struct call *c, enum cancel_how how)
{
	struct unload *u = (struct unload *)c;
	struct fault f;
	if (how == CANCEL_SILENT) {
		reply_drop(u->reply);
		u->reply = reply_new(&(struct reply_to) { .out = &u->w->out });
	}
	/* Too late: its calls are ending. */
	if (u->leaving->is_forced)
		return;
	const char *model_id = u->leaving->record->spec.model_id;
	fault_set(&f, ERR_CANCELLED, "unloading of %s was no longer waited for", model_id);
	fault_add_str(&f, "model_id", model_id);
	unload_end(u, &f);
}

void models_call_over(struct worker *w)
{
	struct unload *u, *next;
	DL_FOREACH_SAFE (w->models->unloads, u, next)
		if (calls_using(w, u->leaving->ref) == 0)
			unload_end(u, NULL);
}

/* The model of that name that was unloaded last and still has calls, or NULL. */
static struct leaving *find_leaving(const struct models *m, const char *model_id)
{
	struct unload *u;
	struct leaving *last = NULL;
	DL_FOREACH (m->unloads, u)
		if (strcmp(u->leaving->record->spec.model_id, model_id) == 0)
			last = u->leaving;
	return last;
}

/* Out of the catalog: no further call finds it. NULL if it is not there. */
static struct leaving *leave(struct worker *w, const char *model_id, struct fault *f)
{
	struct model_ref *ref = catalog_get(w->catalog, model_id, f);
	if (!ref)
		return NULL;
	struct leaving *lv = xcalloc(1, sizeof *lv);
	catalog_remove(w->catalog, model_id, f);
	*lv = (struct leaving) { .ref = ref, .record = take_record(w->models, model_id) };
	return lv;
}

/* Answers once the calls of the model have ended. */
static void unload_begin(struct request *rq, struct leaving *lv)
{
	struct worker *w = rq->w;
	struct unload *u = xcalloc(1, sizeof *u);
	*u = (struct unload) { .w = w, .leaving = lv, .reply = rq->reply };
	u->call.cancel = unload_cancel;
	calls_add(&w->calls, &u->call, rq->reply, NULL);
	DL_APPEND(w->models->unloads, u);
	lv->n_unloads++;
	if (params_bool(rq->params, "force", false)) {
		lv->is_forced = true;
		engine_cancel_model(w->engine, lv->ref);
	}
	json_object_put(rq->params);
	models_call_over(w);
}

void handle_unload_model(struct request *rq)
{
	struct worker *w = rq->w;
	struct fault f = { 0 };
	const char *model_id = params_str(rq->params, "model_id");
	const struct loaded *record = models_find(w->models, model_id);
	if (record && record->is_asleep && !load_is_running(w->models, model_id)) {
		models_forget(w->models, model_id);
		reply_result(rq->reply, "{\"success\":true}", 16);
		json_object_put(rq->params);
		return;
	}
	if (models_wait_for(rq, model_id))
		return;
	struct leaving *lv = leave(w, model_id, &f);
	if (!lv)
		lv = find_leaving(w->models, model_id);
	if (lv) {
		unload_begin(rq, lv);
		return;
	}
	reply_fault(rq->reply, &f);
	json_object_put(rq->params);
}

void models_write(
	struct buf *out, const char *model_id, const struct model *m, const struct loaded *l)
{
	const struct model_info *i = model_info(m);
	jout_key_cstr(out, "model_id", model_id);
	jout_key_cstr(out, "state", "ready");
	jout_key_int(out, "context_length", (int64_t)i->context_length);
	jout_key_int(out, "parameter_count", (int64_t)i->parameter_count);
	jout_key_cstr(out, "dtype", i->dtype);
	jout_key_cstr(out, "architecture", i->architecture);
	jout_key_cstr(out, "format", i->format);
	jout_key_cstr(out, "quantization", i->quantization);
	jout_key_int(out, "vocab_size", (int64_t)i->vocab_size);
	jout_key_bool(out, "is_vision_model", false);
	jout_key_cstr(out, "tokenizer_type", i->tokenizer_type);
	jout_key_int(out, "memory_usage", (int64_t)i->weight_bytes);
	jout_key_int(out, "shared_bytes", (int64_t)i->shared_bytes);
	jout_key_int(out, "kv_bytes_per_token", (int64_t)i->kv_bytes_per_token);
	jout_key_cstr(out, "cached_path", i->path);
	jout_key_fixed(out, "load_ms", l ? l->load_ms : 0, 3);
	jout_key_int(out, "replicas", 1);
	if (l && l->spec.keep_alive > KEEP_WHILE_ROOM)
		jout_key_fixed(out, "keep_alive", l->spec.keep_alive, 3);
	if (l && l->spec.is_draft)
		jout_key_bool(out, "draft", true);
}
