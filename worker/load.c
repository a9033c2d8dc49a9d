/* load.c - load_model. */
#include "worker/load.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/params.h"
#include "worker/park.h"
#include "worker/progress.h"
#include "worker/roots.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define STAGE_MAX               64
#define SECONDS_BETWEEN_REPORTS 0.1 /* from the loader thread */
#define SECONDS_BETWEEN_LINES   1.0 /* on stderr */

/* One load_model request; several may share a load. */
struct load_waiter {
	struct call call; /* first: a call * is a load_waiter * */
	struct load *load;
	struct reply *reply;
	struct progress progress;
	struct load_waiter *prev, *next;
};

struct load {
	struct worker *w;
	struct chore chore;
	struct letter letter;
	char *model_id, *path, *dtype, *asked;
	struct model_options options;
	double began, line_at;
	bool is_draft;
	struct load_waiter *waiters;
	struct parked *parked;
	struct load *prev, *next;

	pthread_mutex_t lock; /* what both threads touch: */
	bool cancelled, posted, ended;
	double fraction, reported_at;
	char stage[STAGE_MAX];
	struct model *model; /* the outcome, once ended */
	struct fault fault;
};

static void load_free(struct load *l)
{
	pthread_mutex_destroy(&l->lock);
	free(l->model_id);
	free(l->path);
	free(l->dtype);
	free(l->asked);
	free(l);
}

/* -- on the loader thread ------------------------------------------------------------------ */

static void post(struct load *l)
{
	if (!l->posted)
		mailbox_send(&l->w->mail, &l->letter);
	l->posted = true;
}

static bool on_progress(void *arg, double fraction, const char *stage)
{
	struct load *l = arg;
	const double now = clock_now();
	pthread_mutex_lock(&l->lock);
	const bool go_on = !l->cancelled;
	l->fraction = fraction;
	snprintf(l->stage, sizeof l->stage, "%s", stage ? stage : "loading");
	if (go_on && now - l->reported_at >= SECONDS_BETWEEN_REPORTS) {
		l->reported_at = now;
		post(l);
	}
	pthread_mutex_unlock(&l->lock);
	return go_on;
}

static void run_load(struct chore *c)
{
	struct load *l = HOLDER(c, struct load, chore);
	struct model *model = NULL;
	struct fault f = { 0 };
	if (on_progress(l, 0, "opening"))
		model_open(&l->options, &model, &f);
	else
		fault_set(&f, ERR_CANCELLED, "loading of %s was cancelled", l->model_id);
	pthread_mutex_lock(&l->lock);
	l->model = f.err ? NULL : model;
	l->fault = f;
	l->ended = true;
	post(l);
	pthread_mutex_unlock(&l->lock);
}

/* -- on the I/O thread --------------------------------------------------------------------- */

static void waiter_over(struct load_waiter *lw)
{
	struct worker *w = lw->load->w;
	DL_DELETE(lw->load->waiters, lw);
	progress_release(&lw->progress);
	calls_over(&w->calls, &lw->call);
	free(lw);
}

static void waiter_cancel(struct call *c, enum cancel_how how)
{
	struct load_waiter *lw = (struct load_waiter *)c;
	struct load *l = lw->load;
	struct fault f;
	fault_set(&f, l->w->phase == PHASE_SERVING ? ERR_CANCELLED : ERR_SHUTTING_DOWN,
		"loading of %s was cancelled", l->model_id);
	fault_add_str(&f, "model_id", l->model_id);
	if (how == CANCEL_SILENT) {
		reply_drop(lw->reply);
	} else {
		progress_end(&lw->progress, &l->w->out, "cancelled");
		reply_fault(lw->reply, &f);
	}
	waiter_over(lw);
	if (l->waiters)
		return;
	/* Nobody wants it any more; the loader thread notices at its next report. */
	pthread_mutex_lock(&l->lock);
	l->cancelled = true;
	pthread_mutex_unlock(&l->lock);
}

double load_tick(struct worker *w, double now)
{
	double soonest = -1;
	struct load *l;
	DL_FOREACH (w->models->loads, l) {
		const double due = park_tick(&l->parked, now);
		if (due >= 0 && (soonest < 0 || due < soonest))
			soonest = due;
	}
	return soonest;
}

static void tell_progress(struct load *l, double fraction, const char *stage)
{
	const double now = clock_now();
	struct load_waiter *lw;
	DL_FOREACH (l->waiters, lw)
		progress_report(&lw->progress, &l->w->out, fraction, stage, now);
	if (now - l->line_at >= SECONDS_BETWEEN_LINES) {
		log_info("loading %s: %d %% (%s)", l->model_id, (int)(fraction * 100), stage);
		l->line_at = now;
	}
}

static void answer_waiters(struct load *l, const struct buf *result)
{
	while (l->waiters) {
		struct load_waiter *lw = l->waiters;
		progress_end(&lw->progress, &l->w->out, result ? "ready" : "failed");
		if (result)
			reply_result(lw->reply, result->data, result->n_bytes);
		else
			reply_fault(lw->reply, &l->fault);
		waiter_over(lw);
	}
}

static void publish(struct load *l)
{
	struct worker *w = l->w;
	struct buf result = BUF_INIT;
	const struct loaded record = { .model_id = l->model_id,
		.asked = l->asked,
		.load_ms = (clock_now() - l->began) * 1e3,
		.is_draft = l->is_draft };
	const struct model_info *info = model_info(l->model);
	histogram_add(&w->telemetry.load, record.load_ms / 1e3);
	w->telemetry.loaded_bytes += info->weight_bytes;
	log_info("loaded %s: %s, %.1f M parameters, in %.0f ms", l->model_id, info->architecture,
		(double)info->parameter_count / 1e6, record.load_ms);
	models_remember(w->models, &record);
	buf_addc(&result, '{');
	models_write(&result, l->model_id, l->model, &record);
	buf_addc(&result, '}');
	catalog_put(w->catalog, l->model_id, l->model);
	answer_waiters(l, &result);
	buf_release(&result);
}

static void load_end(struct load *l)
{
	DL_DELETE(l->w->models->loads, l);
	if (l->model && l->waiters) {
		publish(l);
	} else {
		if (l->model)
			model_close(l->model);
		log_info("%s", l->fault.text);
		fault_add_str(&l->fault, "model_id", l->model_id);
		answer_waiters(l, NULL);
	}
	park_resume(&l->parked);
	load_free(l);
}

static void open_letter(struct letter *letter)
{
	struct load *l = HOLDER(letter, struct load, letter);
	char stage[STAGE_MAX];
	pthread_mutex_lock(&l->lock);
	l->posted = false;
	const bool ended = l->ended;
	const double fraction = l->fraction;
	memcpy(stage, l->stage, sizeof stage);
	pthread_mutex_unlock(&l->lock);
	if (ended)
		load_end(l);
	else
		tell_progress(l, fraction, stage);
}

static void add_waiter(struct load *l, struct request *rq)
{
	struct load_waiter *lw = xcalloc(1, sizeof *lw);
	lw->load = l;
	lw->reply = rq->reply;
	lw->call.cancel = waiter_cancel;
	progress_init(&lw->progress, rq->params);
	if (params_bool(rq->params, "progress", false))
		progress_use_id(&lw->progress, rq->reply);
	calls_add(&l->w->calls, &lw->call, rq->reply, NULL);
	DL_APPEND(l->waiters, lw);
	progress_report(&lw->progress, &l->w->out, 0, "loading", clock_now());
	json_object_put(rq->params);
}

static enum kv_dtype parse_kv_dtype(const char *name)
{
	return !name || strcmp(name, "f32") == 0 ? KV_F32
	       : strcmp(name, "f16") == 0        ? KV_F16
						 : KV_BF16;
}

static enum activations parse_activations(const char *name)
{
	return !name || strcmp(name, "auto") == 0 ? ACTIVATIONS_AUTO
	       : strcmp(name, "float") == 0       ? ACTIVATIONS_FLOAT
						  : ACTIVATIONS_INT8;
}

static void write_asked(const struct load *l, struct buf *out)
{
	buf_addf(out, "%s|%zu|%s|%d|%d", l->path, l->options.context_length,
		l->dtype ? l->dtype : "", (int)l->options.kv_dtype, (int)l->options.activations);
}

static struct load *load_new(struct request *rq, struct fault *f)
{
	struct json_object *params = rq->params;
	const char *model_id = params_str(params, "model_id");
	const char *given = params_str(params, "local_path");
	const char *dtype = params_str(params, "dtype");
	if (params_int(params, "workers", 1) != 1) {
		fault_set(f, ERR_INVALID_PARAMS,
			"workers: a worker holds one replica; the controller makes more");
		fault_add_str(f, "path", "workers");
		return NULL;
	}
	char *path = given ? roots_admit(&rq->w->options, given, f)
			   : roots_find(&rq->w->options, model_id, f);
	if (!path)
		return NULL;
	struct load *l = xcalloc(1, sizeof *l);
	struct buf asked = BUF_INIT;
	l->w = rq->w;
	l->path = path;
	l->model_id = xstrdup(model_id);
	l->dtype = dtype ? xstrdup(dtype) : NULL;
	l->options = (struct model_options) { .path = l->path,
		.context_length = (size_t)params_int(params, "context_length", 0),
		.dtype = l->dtype,
		.kv_dtype = parse_kv_dtype(params_str(params, "kv_cache_dtype")),
		.activations = parse_activations(params_str(params, "activations")),
		.cache = &rq->w->cache,
		.progress = on_progress,
		.progress_arg = l };
	write_asked(l, &asked);
	l->asked = buf_detach(&asked);
	l->is_draft = params_bool(params, "draft", false);
	l->began = l->line_at = clock_now();
	l->chore.run = run_load;
	l->letter.open = open_letter;
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

static struct load *find_load(const struct models *m, const char *model_id, const char *asked)
{
	struct load *l;
	DL_FOREACH (m->loads, l)
		if (l->waiters && strcmp(l->model_id, model_id) == 0 &&
			(!asked || strcmp(l->asked, asked) == 0))
			return l;
	return NULL;
}

/* The same load was answered before: say so again, with what may differ taken over. */
static bool answer_loaded(struct load *l, struct request *rq)
{
	struct loaded *record = models_find(l->w->models, l->model_id);
	struct model_ref *ref = record && strcmp(record->asked, l->asked) == 0
					? catalog_get(l->w->catalog, l->model_id, NULL)
					: NULL;
	struct buf result = BUF_INIT;
	if (!ref)
		return false;
	record->is_draft = l->is_draft;
	buf_addc(&result, '{');
	models_write(&result, l->model_id, model_ref_model(ref), record);
	buf_addc(&result, '}');
	model_ref_release(ref);
	reply_result(rq->reply, result.data, result.n_bytes);
	buf_release(&result);
	json_object_put(rq->params);
	return true;
}

void handle_load_model(struct request *rq)
{
	struct fault f = { 0 };
	struct models *m = rq->w->models;
	struct load *l = load_new(rq, &f);
	if (!l) {
		reply_fault(rq->reply, &f);
		json_object_put(rq->params);
		return;
	}
	struct load *same = find_load(m, l->model_id, l->asked);
	if (same) {
		add_waiter(same, rq);
		load_free(l);
	} else if (answer_loaded(l, rq)) {
		load_free(l);
	} else {
		log_debug("loading %s from %s", l->model_id, l->path);
		DL_PREPEND(m->loads, l);
		add_waiter(l, rq);
		workq_push(&l->w->loader, &l->chore);
	}
}

bool load_park(const struct request *rq, const char *model_id)
{
	struct load *l = find_load(rq->w->models, model_id, NULL);
	if (l)
		park(&l->parked, rq, l->model_id);
	return l;
}

void load_each(const struct models *m, void (*fn)(void *arg, const char *model_id, double fraction),
	void *arg)
{
	struct load *l;
	DL_FOREACH (m->loads, l) {
		pthread_mutex_lock(&l->lock);
		const double fraction = l->fraction;
		const bool cancelled = l->cancelled;
		pthread_mutex_unlock(&l->lock);
		if (!cancelled)
			fn(arg, l->model_id, fraction);
	}
}

bool load_is_idle(const struct models *m)
{
	return !m->loads;
}
