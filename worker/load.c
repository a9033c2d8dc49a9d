/* load.c - load_model. */
#include "worker/load.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/loading.h"
#include "worker/params.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SECONDS_BETWEEN_REPORTS 0.1 /* from the loader thread */
#define SECONDS_BETWEEN_LINES   1.0 /* on stderr */

void load_free(struct load *l)
{
	pthread_mutex_destroy(&l->lock);
	load_spec_release(&l->spec);
	buf_release(&l->result);
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
	struct model_options options = l->spec.options;
	options.n_threads = (size_t)l->w->options.threads;
	options.progress = on_progress;
	options.progress_arg = l;
	if (on_progress(l, 0, "opening"))
		model_open(&options, &model, &f);
	else
		fault_set(&f, ERR_CANCELLED, "loading of %s was cancelled", l->spec.model_id);
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
		"loading of %s was cancelled", l->spec.model_id);
	fault_add_str(&f, "model_id", l->spec.model_id);
	if (how == CANCEL_SILENT) {
		reply_drop(lw->reply);
	} else {
		progress_end(&lw->progress, &l->w->out, "cancelled");
		reply_fault(lw->reply, &f);
	}
	waiter_over(lw);
	if (l->waiters || l->is_wake)
		return;
	/* Nobody wants it any more; the loader thread notices at its next report, and
	 * load_start_waiting, where it waits for room. */
	pthread_mutex_lock(&l->lock);
	l->cancelled = true;
	pthread_mutex_unlock(&l->lock);
}

void load_tell(struct load *l, double fraction, const char *stage)
{
	const double now = clock_now();
	struct load_waiter *lw;
	DL_FOREACH (l->waiters, lw)
		progress_report(&lw->progress, &l->w->out, fraction, stage, now);
	if (now - l->line_at >= SECONDS_BETWEEN_LINES) {
		log_info("loading %s: %d %% (%s)", l->spec.model_id, (int)(fraction * 100), stage);
		l->line_at = now;
	}
}

void load_answer(struct load *l, const struct buf *result)
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

static struct loaded *remember(struct load *l)
{
	struct worker *w = l->w;
	const struct model_info *info = model_info(l->model);
	const struct loaded record = { .spec = l->spec,
		.load_ms = (clock_now() - l->began) * 1e3,
		.n_bytes = info->weight_bytes,
		.last_used = clock_now() };
	histogram_add(&w->telemetry.load, record.load_ms / 1e3);
	w->telemetry.loaded_bytes += info->weight_bytes;
	log_info("loaded %s: %s, %.1f M parameters, in %.0f ms", l->spec.model_id,
		info->architecture, (double)info->parameter_count / 1e6, record.load_ms);
	return models_remember(w->models, &record);
}

/* The model is there for calls from now on; its waiters are answered now or once it is warm. */
static void publish(struct load *l)
{
	struct worker *w = l->w;
	const struct loaded *record = remember(l);
	buf_addc(&l->result, '{');
	models_write(&l->result, l->spec.model_id, l->model, record);
	buf_addc(&l->result, '}');
	catalog_put(w->catalog, l->spec.model_id, l->model);
	load_trim(w);
	if (l->spec.warmup && l->waiters) {
		load_warm_up(l, catalog_get(w->catalog, l->spec.model_id, NULL));
		park_resume(&l->parked);
		return;
	}
	load_answer(l, &l->result);
	park_resume(&l->parked);
	load_free(l);
}

static void fail(struct load *l)
{
	log_info("%s", l->fault.text);
	fault_add_str(&l->fault, "model_id", l->spec.model_id);
	load_answer(l, NULL);
	/* A call that would wake it once more would fail once more, and so on. */
	if (l->is_wake)
		park_refuse(&l->parked, &l->fault);
	else
		park_resume(&l->parked);
	load_free(l);
}

/* Larger than all there may be: only now that it is open is that certain. */
static bool is_too_large(struct load *l)
{
	const size_t budget = l->w->options.model_bytes;
	const size_t n_bytes = l->model ? model_info(l->model)->weight_bytes : 0;
	if (budget == 0 || n_bytes <= budget)
		return false;
	fault_set(&l->fault, ERR_NOMEM, "%s has %zu bytes of weights, --model-bytes allows %zu",
		l->spec.model_id, n_bytes, budget);
	fault_add_int(&l->fault, "bytes_needed", (int64_t)n_bytes);
	fault_add_int(&l->fault, "model_bytes", (int64_t)budget);
	return true;
}

void load_end(struct load *l)
{
	const bool is_wanted = l->waiters || l->is_wake;
	DL_DELETE(l->w->models->loads, l);
	if (l->model && is_wanted && !is_too_large(l)) {
		publish(l);
		return;
	}
	if (l->model)
		model_close(l->model);
	fail(l);
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
		load_tell(l, fraction, stage);
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

struct load *load_new(struct worker *w, const struct load_spec *spec)
{
	struct load *l = xcalloc(1, sizeof *l);
	l->w = w;
	l->spec = *spec;
	l->n_bytes = w->options.model_bytes ? load_spec_bytes(spec) : 0;
	l->began = l->line_at = clock_now();
	l->chore.run = run_load;
	l->letter.open = open_letter;
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void load_run(struct load *l)
{
	log_debug("loading %s from %s", l->spec.model_id, l->spec.path);
	l->has_room = true;
	workq_push(&l->w->loader, &l->chore);
}

static struct load *find_load(const struct models *m, const char *model_id, const char *asked)
{
	struct load *l;
	DL_FOREACH (m->loads, l)
		if (!l->is_warming && (l->waiters || l->is_wake) &&
			strcmp(l->spec.model_id, model_id) == 0 &&
			(!asked || strcmp(l->spec.asked, asked) == 0))
			return l;
	return NULL;
}

/* The same load was answered before: say so again, with what may differ taken over. Takes spec. */
static bool answer_loaded(const struct load_spec *spec, struct request *rq)
{
	struct worker *w = rq->w;
	struct loaded *record = models_find(w->models, spec->model_id);
	struct model_ref *ref = record && strcmp(record->spec.asked, spec->asked) == 0
					? catalog_get(w->catalog, spec->model_id, NULL)
					: NULL;
	if (!ref)
		return false;
	record->spec.is_draft = spec->is_draft;
	record->spec.keep_alive = spec->keep_alive;
	record->last_used = clock_now();
	struct load *l = load_new(w, spec);
	add_waiter(l, rq);
	buf_addc(&l->result, '{');
	models_write(&l->result, spec->model_id, model_ref_model(ref), record);
	buf_addc(&l->result, '}');
	if (spec->warmup && !record->was_used) {
		load_warm_up(l, ref);
		return true;
	}
	model_ref_release(ref);
	load_answer(l, &l->result);
	load_free(l);
	return true;
}

void handle_load_model(struct request *rq)
{
	struct fault f = { 0 };
	struct load_spec spec;
	struct worker *w = rq->w;
	if (load_spec_read(&spec, rq, &f) != 0) {
		reply_fault(rq->reply, &f);
		json_object_put(rq->params);
		return;
	}
	struct load *same = find_load(w->models, spec.model_id, spec.asked);
	if (same && park_has(same->parked, "unload_model")) {
		park(&same->parked, rq, same->spec.model_id);
		load_spec_release(&spec);
	} else if (same) {
		same->spec.keep_alive = spec.keep_alive;
		same->spec.warmup |= spec.warmup;
		add_waiter(same, rq);
		load_spec_release(&spec);
	} else if (!answer_loaded(&spec, rq)) {
		struct load *l = load_new(w, &spec);
		DL_PREPEND(w->models->loads, l);
		add_waiter(l, rq);
		load_start_waiting(w);
	}
}

bool load_park(const struct request *rq, const char *model_id)
{
	struct load *l = find_load(rq->w->models, model_id, NULL);
	if (l)
		park(&l->parked, rq, l->spec.model_id);
	return l;
}

bool load_is_running(const struct models *m, const char *model_id)
{
	return find_load(m, model_id, NULL);
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
		if (!cancelled && !l->is_warming)
			fn(arg, l->spec.model_id, fraction);
	}
}

bool load_is_idle(const struct models *m)
{
	return !m->loads;
}
