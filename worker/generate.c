/* generate.c - generate: from a request to a job in the engine. Stop 13; next:
 * generate_request.c */
#include "worker/generate.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/check_draft.h"
#include "worker/models.h"
#include "worker/params.h"
#include "worker/stream_wire.h"
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static void on_handshake_sent(void *arg)
{
	struct stream *s = arg;
	pthread_mutex_lock(&s->lock);
	s->opened = true;
	/* By letter, since this may run while others walk the table of calls. */
	if (s->n_tokens || s->ended)
		stream_post(s);
	pthread_mutex_unlock(&s->lock);
}

static double epoch_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_handshake(struct stream *s)
{
	stream_write_handshake(s, &s->chunk, epoch_now());
	reply_on_sent(s->reply, on_handshake_sent, s);
	struct reply *reply = s->reply;
	s->reply = NULL;
	reply_result(reply, s->chunk.data, s->chunk.n_bytes);
	buf_clear(&s->chunk);
}

static void refuse(struct stream *s, const struct fault *f)
{
	if (s->silent)
		reply_drop(s->reply);
	else
		reply_fault(s->reply, f);
	s->reply = NULL;
	stream_over(s);
}

/* Cancelled before the engine had it: it ends as if the engine had cancelled it. */
static void end_unsubmitted(struct stream *s)
{
	struct job_result r = { .finish = FINISH_CANCELLED, .prompt_tokens = s->job->n_prompt };
	r.total_ms = (clock_now() - s->arrived) * 1e3;
	for (int i = 0; i < s->n_choices; i++)
		stream_sink.done(s, i, &r, NULL, 0, i == s->n_choices - 1);
}

static void submit(struct stream *s)
{
	struct job *j = s->job;
	j->key = s->key;
	j->sink = &stream_sink;
	j->sink_arg = s;
	s->job = NULL;
	s->submitted = true;
	log_trace("generate", "%s: %zu prompt tokens, at most %zu new", s->call.stream_id,
		j->n_prompt, j->max_tokens);
	engine_submit(s->w->engine, j);
}

/* A tail may follow what an earlier run delivered. */
static void note_resumed(struct stream_choice *c, const struct job *j, int choice)
{
	size_t n;
	const int32_t *ids = job_resumed(j, choice, &n);
	if (n == 0)
		return;
	c->last_id = ids[n - 1];
	c->last_index = n - 1;
}

/* The job is built, or could not be. */
static void admit(struct stream *s)
{
	json_object_put(s->params);
	s->params = NULL;
	s->letter.open = stream_open_letter;
	if (s->fault.err) {
		refuse(s, &s->fault);
		return;
	}
	if (s->cancelled && s->error_wanted) {
		struct fault f;
		fault_set(&f, ERR_CANCELLED, "the request was cancelled");
		refuse(s, &f);
		return;
	}
	s->seed = s->job->sampling.seed;
	generate_request_copy_sampling(&s->sampling, &s->job->sampling);
	s->n_choices = s->job->n_choices;
	s->most_tokens = s->job->max_tokens * (size_t)s->n_choices;
	/* What an earlier run delivered its reader was not asked about here. */
	s->credit.n_sent = s->credit.n_acked = s->job->n_resumed;
	s->choices = xcalloc((size_t)s->n_choices, sizeof *s->choices);
	for (int i = 0; i < s->n_choices; i++)
		note_resumed(&s->choices[i], s->job, i);
	s->tails = xcalloc((size_t)s->n_choices, sizeof *s->tails);
	if (s->wire.stream && s->silent) {
		reply_drop(s->reply);
		s->reply = NULL;
		s->opened = true;
	} else if (s->wire.stream) {
		give_handshake(s);
	}
	if (s->cancelled)
		end_unsubmitted(s);
	else
		submit(s);
}

static void open_admission(struct letter *l)
{
	struct stream *s = HOLDER(l, struct stream, letter);
	pthread_mutex_lock(&s->lock);
	s->posted = false;
	pthread_mutex_unlock(&s->lock);
	admit(s);
}

static void build(struct stream *s)
{
	generate_request_build(s->params, s->model, s->arrived, &s->job, &s->fault);
	if (s->job && s->draft)
		s->job->draft_model = model_ref_take(s->draft);
}

static void run_build(struct chore *c)
{
	struct stream *s = HOLDER(c, struct stream, chore);
	build(s);
	pthread_mutex_lock(&s->lock);
	stream_post(s);
	pthread_mutex_unlock(&s->lock);
}

static void on_cancel(struct call *c, enum cancel_how how)
{
	struct stream *s = (struct stream *)c;
	s->cancelled = true;
	/* Once the handshake has gone out, its stream is owed an end in any dialect. */
	s->silent = s->silent || (how == CANCEL_SILENT && s->reply);
	s->error_wanted = s->error_wanted || (how == CANCEL_ERROR && s->reply);
	log_trace("cancel", "%s", s->call.stream_id);
	if (s->submitted)
		engine_cancel(s->w->engine, s->key);
	/* It may be over, and wait only for its reader. */
	pthread_mutex_lock(&s->lock);
	if (s->ended)
		stream_post(s);
	pthread_mutex_unlock(&s->lock);
}

/* A version 4 UUID (RFC 9562), as the reference names its streams. */
static void random_stream_id(char out[37])
{
	uint8_t b[16];
	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		log_fatal("getrandom failed");
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		b[13], b[14], b[15]);
}

static int check_stream_id(struct worker *w, struct json_object *params, struct fault *f)
{
	size_t n;
	const char *id = params_bytes(params, "stream_id", &n);
	if (!id)
		return 0;
	if (n == 0 || strlen(id) != n)
		fault_set(f, ERR_INVALID_PARAMS, "stream_id %s",
			n ? "contains a NUL character" : "is empty");
	else if (calls_find_stream(&w->calls, id))
		fault_set(f, ERR_INVALID_PARAMS, "Stream ID '%s' is already in use", id);
	else
		return 0;
	fault_add_str(f, "path", "stream_id");
	return ERR_INVALID_PARAMS;
}

/* The models a request names, loaded. */
struct named {
	struct model_ref *model, *draft; /* references; draft may be NULL */
};

/* ERR_MODEL_NOT_LOADED, ERR_DRAFT_INCOMPATIBLE; nothing is held then. */
static int find_models(struct request *rq, struct named *out, struct fault *f)
{
	const char *draft_id = params_str(rq->params, "draft_model");
	int err = 0;
	*out = (struct named) { catalog_get(rq->w->catalog, params_str(rq->params, "model_id"), f),
		NULL };
	if (!out->model)
		return f->err;
	if (!draft_id)
		return 0;
	out->draft = catalog_get(rq->w->catalog, draft_id, f);
	err = out->draft ? check_draft_pair(rq->w->models, out->model, out->draft, f) : f->err;
	if (err != 0) {
		model_ref_release(out->draft);
		model_ref_release(out->model);
	}
	return err;
}

static struct stream *stream_new(struct request *rq, const struct named *named)
{
	struct stream *s = xcalloc(1, sizeof *s);
	char own_id[37];
	const char *id = params_str(rq->params, "stream_id");
	if (!id)
		random_stream_id(own_id);
	s->w = rq->w;
	s->model = named->model;
	s->draft = named->draft;
	s->params = rq->params;
	s->reply = rq->reply;
	s->arrived = rq->arrived;
	s->key = ++rq->w->last_key;
	s->call.cancel = on_cancel;
	s->call.model = named->model;
	s->call.draft = named->draft;
	s->chore.run = run_build;
	s->letter.open = open_admission;
	pthread_mutex_init(&s->lock, NULL);
	calls_add(&s->w->calls, &s->call, s->reply, id ? id : own_id);
	return s;
}

/* A model that is being loaded is waited for, one after the other. */
static bool waits_for_models(const struct request *rq)
{
	const char *draft_id = params_str(rq->params, "draft_model");
	return models_wait_for(rq, params_str(rq->params, "model_id")) ||
	       (draft_id && models_wait_for(rq, draft_id));
}

void handle_generate(struct request *rq)
{
	struct fault f = { 0 };
	struct wire_options wire;
	struct named named;
	int err = check_stream_id(rq->w, rq->params, &f);
	if (err == 0)
		err = generate_request_wire(rq->params, &wire, &f);
	if (err == 0 && waits_for_models(rq))
		return;
	if (err == 0)
		err = find_models(rq, &named, &f);
	if (err != 0) {
		reply_fault(rq->reply, &f);
		json_object_put(rq->params);
		return;
	}
	struct stream *s = stream_new(rq, &named);
	s->wire = wire;
	s->credit.window = wire.ack_window ? wire.ack_window : rq->w->options.window;
	if (!wire.stream)
		progress_init(&s->progress, rq->params);
	if (generate_request_is_long(rq)) {
		workq_push(&s->w->aux, &s->chore);
		return;
	}
	build(s);
	admit(s);
}

struct stream *generate_find(struct worker *w, const char *stream_id)
{
	struct call *c = calls_find_stream(&w->calls, stream_id);
	return c && c->cancel == on_cancel ? (struct stream *)c : NULL;
}

void handle_stream_ack(struct request *rq)
{
	struct stream *s = generate_find(rq->w, params_str(rq->params, "stream_id"));
	/* A stream that is over, or waits for its model still, needs none. */
	const int64_t index = params_int(rq->params, "index", -1);
	if (s)
		stream_acked(s, index < 0 ? 0 : (size_t)index + 1);
	reply_result(rq->reply, "{}", 2);
	json_object_put(rq->params);
}
