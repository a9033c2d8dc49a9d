/* embed.c - embed: texts to the engine, vectors back. */
#include "worker/embed.h"
#include "protocol/limits.h"
#include "protocol/mem.h"
#include "worker/generate_request.h"
#include "worker/models.h"
#include "worker/params.h"
#include "worker/text/tokenizer.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Tokens of one call that the engine holds at a time, or one text: so a request that comes
 * during a long list waits for a few steps, not for the list. */
#define TOKENS_AHEAD ((size_t)4 * ENGINE_CHUNK_ROWS)

struct embed_text {
	struct embed_call *owner;
	struct job *job; /* until it is submitted */
	size_t n_tokens;
	uint64_t key;
};

struct embed_call {
	struct call call; /* first: a call * is an embed_call * */
	struct worker *w;
	struct chore chore;
	struct letter letter;
	struct reply *reply;
	struct json_object *params;
	struct model_ref *model;
	double arrived;
	enum pooling pooling;
	bool normalize, submitted, silent;
	struct embed_text *texts; /* [n_texts] */
	size_t n_texts, dim, n_tokens;
	float *vectors; /* [n_texts][dim], by the sink */

	pthread_mutex_t lock; /* what both threads touch: */
	size_t next;          /* text to be submitted */
	size_t n_running, n_tokens_running;
	bool cancelled;
	struct fault fault; /* of building, else the first of a text */
};

/* -- building the jobs ----------------------------------------------------------------------- */

static struct json_object *text_at(const struct embed_call *e, size_t i)
{
	struct json_object *input = params_get(e->params, "input");
	return json_object_is_type(input, json_type_array) ? json_object_array_get_idx(input, i)
							   : input;
}

static size_t count_texts(struct json_object *params)
{
	struct json_object *input = params_get(params, "input");
	return json_object_is_type(input, json_type_array) ? json_object_array_length(input) : 1;
}

static int blame_text(const struct embed_call *e, size_t i, struct fault *f)
{
	char path[32] = "input";
	if (text_at(e, i) != params_get(e->params, "input"))
		snprintf(path, sizeof path, "input[%zu]", i);
	fault_add_str(f, "path", path);
	return f->err;
}

static struct job *new_job(const struct embed_call *e)
{
	const int64_t timeout = params_int(e->params, "timeout_ms", 0);
	struct job *j = xcalloc(1, sizeof *j);
	j->kind = JOB_EMBED;
	j->model = model_ref_take(e->model);
	j->pooling = e->pooling;
	j->n_choices = 1;
	j->arrived = e->arrived;
	j->deadline = timeout > 0 ? e->arrived + (double)timeout / 1e3 : 0;
	j->priority = generate_request_priority(params_str(e->params, "priority"));
	return j;
}

static int build_text(struct embed_call *e, size_t i)
{
	const struct tokenizer *t = model_tokenizer(model_ref_model(e->model));
	struct json_object *text = text_at(e, i);
	struct job *j = new_job(e);
	struct tok_ids ids = { 0 };
	e->texts[i] = (struct embed_text) { .owner = e, .job = j };
	int err = tokenizer_encode(t, json_object_get_string(text),
		(size_t)json_object_get_string_len(text), TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids,
		&e->fault);
	j->prompt = ids.ids;
	j->n_prompt = ids.n;
	if (err == 0 && ids.n == 0)
		err = fault_set(&e->fault, ERR_INVALID_PARAMS, "a text without tokens");
	if (err == 0)
		err = job_fit(j, &e->fault);
	e->n_tokens += ids.n;
	e->texts[i].n_tokens = ids.n;
	return err == 0 ? 0 : blame_text(e, i, &e->fault);
}

/* What the model's files ask for and we do not have stands in the way only of who relies on
 * them. */
static int choose_pooling(struct embed_call *e)
{
	const struct pooling_defaults *d = model_pooling(model_ref_model(e->model));
	const char *name = params_str(e->params, "pooling");
	e->pooling = name ? pooling_parse(name) : d->pooling;
	e->normalize = params_bool(e->params, "normalize", d->normalize);
	if (!d->trouble[0] || (name && params_has(e->params, "normalize")))
		return 0;
	fault_set(&e->fault, ERR_INVALID_PARAMS,
		"%s: its files ask for %s, which is not available: give pooling and normalize",
		model_ref_id(e->model), d->trouble);
	fault_add_str(&e->fault, "path", name ? "normalize" : "pooling");
	return e->fault.err;
}

static int make_room(struct embed_call *e)
{
	const size_t most = EMBED_NUMBERS_MAX / e->dim;
	if (e->n_texts > most) {
		fault_set(&e->fault, ERR_INVALID_PARAMS,
			"%zu vectors of %zu numbers do not fit in one answer: at most %zu texts at "
			"once",
			e->n_texts, e->dim, most);
		fault_add_str(&e->fault, "path", "input");
		fault_add_int(&e->fault, "max", (int64_t)most);
		return e->fault.err;
	}
	e->vectors = mem_try_array(e->n_texts * e->dim, sizeof *e->vectors);
	return e->vectors ? 0 : fault_set(&e->fault, ERR_NOMEM, "no memory for the vectors");
}

static void build(struct embed_call *e)
{
	int err = choose_pooling(e);
	if (err == 0)
		err = make_room(e);
	for (size_t i = 0; i < e->n_texts && err == 0; i++)
		err = build_text(e, i);
}

/* -- to the engine, a few at a time ---------------------------------------------------------- */

/* The next text's job, if there is one and it may go now; else *is_over tells whether none
 * will follow and none runs. */
static struct job *take_next(struct embed_call *e, bool *is_over)
{
	struct job *j = NULL;
	pthread_mutex_lock(&e->lock);
	struct embed_text *t = &e->texts[e->next];
	const bool no_more = e->cancelled || e->fault.err || e->next == e->n_texts;
	*is_over = no_more && e->n_running == 0;
	if (!no_more && (e->n_running == 0 || e->n_tokens_running + t->n_tokens <= TOKENS_AHEAD)) {
		j = t->job;
		t->job = NULL;
		e->next++;
		e->n_running++;
		e->n_tokens_running += t->n_tokens;
	}
	pthread_mutex_unlock(&e->lock);
	return j;
}

/* The I/O thread at first, then the compute thread; neither while e could be freed. True once
 * everything is over, of which the sink of the last text tells. */
static bool submit_some(struct embed_call *e)
{
	struct job *j;
	bool is_over;
	while ((j = take_next(e, &is_over))) {
		/* It stands behind whoever came while it was kept back here. */
		j->arrived = clock_now();
		engine_submit(e->w->engine, j);
	}
	return is_over;
}

/* -- the sink (compute thread) --------------------------------------------------------------- */

static void on_tokens(void *arg, const struct job_token *t, size_t n)
{
	(void)arg;
	(void)t;
	(void)n; /* a vector comes whole, with done */
}

static void keep_vector(struct embed_call *e, size_t i, const double *v, struct fault *f)
{
	double square = 0;
	for (size_t k = 0; k < e->dim; k++)
		square += v[k] * v[k];
	const double scale = e->normalize && square > 0 ? 1 / sqrt(square) : 1;
	for (size_t k = 0; k < e->dim; k++)
		e->vectors[i * e->dim + k] = (float)(v[k] * scale);
	if (isfinite(square))
		return;
	fault_set(f, ERR_GENERATION, "the vector of a text is not finite");
	blame_text(e, i, f);
}

static void count_done(struct embed_call *e, const struct embed_text *t, const struct fault *f)
{
	pthread_mutex_lock(&e->lock);
	if (f->err && !e->fault.err)
		e->fault = *f;
	e->n_running--;
	e->n_tokens_running -= t->n_tokens;
	pthread_mutex_unlock(&e->lock);
}

static void on_done(void *arg, int choice, const struct job_result *r, const char *tail,
	size_t n_tail, bool last)
{
	struct embed_text *t = arg;
	struct embed_call *e = t->owner;
	struct fault f = r->fault;
	(void)choice;
	(void)tail;
	(void)n_tail;
	(void)last; /* an embedding has one choice */
	switch (r->finish) {
	case FINISH_STOP:
	case FINISH_LENGTH: keep_vector(e, (size_t)(t - e->texts), r->embedding, &f); break;
	case FINISH_SLOW_CONSUMER: /* only of streams */
	case FINISH_CANCELLED: fault_set(&f, ERR_CANCELLED, "the request was cancelled"); break;
	case FINISH_TIMEOUT:
		fault_set(&f, ERR_TIMEOUT, "the texts were not computed within timeout_ms");
		break;
	case FINISH_ERROR: break;
	}
	count_done(e, t, &f);
	if (submit_some(e))
		mailbox_send(&e->w->mail, &e->letter);
}

static const struct job_sink sink = { .tokens = on_tokens, .done = on_done };

/* -- the answer ------------------------------------------------------------------------------ */

static void write_vector(struct buf *out, const struct embed_call *e, size_t i)
{
	jout_sep(out);
	buf_addc(out, '{');
	jout_key_int(out, "index", (int64_t)i);
	jout_key(out, "embedding");
	buf_addc(out, '[');
	for (size_t k = 0; k < e->dim; k++) {
		if (k)
			buf_addc(out, ',');
		jout_float(out, e->vectors[i * e->dim + k]);
	}
	buf_adds(out, "]}");
}

static void write_result(struct buf *out, const struct embed_call *e)
{
	buf_adds(out, "{\"data\":[");
	for (size_t i = 0; i < e->n_texts; i++)
		write_vector(out, e, i);
	buf_adds(out, "]");
	jout_key_cstr(out, "pooling", pooling_name(e->pooling));
	jout_key_bool(out, "normalized", e->normalize);
	jout_key(out, "usage");
	buf_addc(out, '{');
	jout_key_int(out, "prompt_tokens", (int64_t)e->n_tokens);
	jout_key_int(out, "total_tokens", (int64_t)e->n_tokens);
	buf_adds(out, "}}");
}

static void embed_free(struct embed_call *e)
{
	struct worker *w = e->w;
	calls_over(&w->calls, &e->call);
	for (size_t i = 0; i < e->n_texts; i++)
		job_free(e->texts[i].job);
	json_object_put(e->params);
	model_ref_release(e->model);
	pthread_mutex_destroy(&e->lock);
	free(e->vectors);
	free(e->texts);
	free(e);
	models_call_over(w);
}

static void end(struct embed_call *e)
{
	struct buf out = BUF_INIT;
	if (e->cancelled && !e->fault.err)
		fault_set(&e->fault, ERR_CANCELLED, "the request was cancelled");
	if (e->silent) {
		reply_drop(e->reply);
	} else if (e->fault.err) {
		reply_fault(e->reply, &e->fault);
	} else {
		e->w->telemetry.prompt_tokens += e->n_tokens;
		write_result(&out, e);
		reply_result(e->reply, out.data, out.n_bytes);
	}
	buf_release(&out);
	embed_free(e);
}

static void open_end(struct letter *l)
{
	end(HOLDER(l, struct embed_call, letter));
}

/* -- admission ------------------------------------------------------------------------------- */

static void admit(struct embed_call *e)
{
	if (e->cancelled || e->fault.err) {
		end(e);
		return;
	}
	e->letter.open = open_end;
	for (size_t i = 0; i < e->n_texts; i++) {
		struct embed_text *t = &e->texts[i];
		t->key = t->job->key = ++e->w->last_key;
		t->job->sink = &sink;
		t->job->sink_arg = t;
	}
	e->submitted = true;
	submit_some(e);
}

static void open_admission(struct letter *l)
{
	admit(HOLDER(l, struct embed_call, letter));
}

static void run_build(struct chore *c)
{
	struct embed_call *e = HOLDER(c, struct embed_call, chore);
	build(e);
	mailbox_send(&e->w->mail, &e->letter);
}

static void on_cancel(struct call *c, enum cancel_how how)
{
	struct embed_call *e = (struct embed_call *)c;
	pthread_mutex_lock(&e->lock);
	e->cancelled = true;
	pthread_mutex_unlock(&e->lock);
	e->silent = e->silent || how == CANCEL_SILENT;
	for (size_t i = 0; e->submitted && i < e->n_texts; i++)
		engine_cancel(e->w->engine, e->texts[i].key);
}

static bool is_long(const struct embed_call *e)
{
	size_t n_bytes = 0;
	for (size_t i = 0; i < e->n_texts; i++)
		n_bytes += (size_t)json_object_get_string_len(text_at(e, i));
	return n_bytes > LONG_TEXT_BYTES;
}

void handle_embed(struct request *rq)
{
	struct fault f;
	const char *model_id = params_str(rq->params, "model_id");
	if (models_wait_for(rq, model_id))
		return;
	struct model_ref *model = catalog_get(rq->w->catalog, model_id, &f);
	if (!model) {
		reply_fault(rq->reply, &f);
		json_object_put(rq->params);
		return;
	}
	struct embed_call *e = xcalloc(1, sizeof *e);
	pthread_mutex_init(&e->lock, NULL);
	e->w = rq->w;
	e->model = model;
	e->params = rq->params;
	e->reply = rq->reply;
	e->arrived = rq->arrived;
	e->dim = model_info(model_ref_model(model))->dim;
	e->n_texts = count_texts(e->params);
	e->texts = xcalloc(e->n_texts, sizeof *e->texts);
	e->call.cancel = on_cancel;
	e->call.model = model;
	e->chore.run = run_build;
	e->letter.open = open_admission;
	calls_add(&e->w->calls, &e->call, e->reply, NULL);
	if (is_long(e)) {
		workq_push(&e->w->aux, &e->chore);
		return;
	}
	build(e);
	admit(e);
}
