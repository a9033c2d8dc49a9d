/* draft.c - the token form of check_draft, to the engine and back. */
#include "worker/draft.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/generate.h"
#include "worker/generate_request.h"
#include "worker/models.h"
#include "worker/params.h"
#include "worker/stream_wire.h"
#include "worker/text/tokenizer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct draft_call {
	struct call call; /* first: a call * is a draft_call * */
	struct worker *w;
	struct chore chore;
	struct letter letter;
	struct reply *reply;
	struct json_object *params;
	struct model_ref *model;
	struct job *job;           /* until it is submitted */
	uint64_t follow_key;       /* the stream's job; 0 = it follows a prompt */
	struct sampling of_stream; /* bias owned */
	double arrived;
	uint64_t key, seed;
	int32_t draft[LIMIT_DRAFT]; /* the engine owns its own copy */
	size_t n_draft;
	bool logprobs, submitted, cancelled, silent;
	int top_logprobs;
	struct fault fault; /* of building */
	/* the outcome, copied by the sink */
	struct job_result result;
	struct sampled verdicts[LIMIT_DRAFT + 1];
	float draft_logprobs[LIMIT_DRAFT];
};

/* -- building the job ------------------------------------------------------------------------ */

static int encode_draft(struct job *j, struct json_object *params, struct fault *f)
{
	const struct tokenizer *t = model_tokenizer(model_ref_model(j->model));
	struct tok_ids ids = { 0 };
	size_t n;
	const char *text = params_bytes(params, "draft_text", &n);
	const int err = tokenizer_encode(t, text, n, TOK_PARSE_SPECIAL, &ids, f);
	j->draft = ids.ids;
	j->n_draft = err ? 0 : ids.n;
	if (err || ids.n <= LIMIT_DRAFT)
		return err;
	fault_set(f, ERR_INVALID_PARAMS, "draft_text is %zu tokens, at most %d can be checked",
		ids.n, LIMIT_DRAFT);
	fault_add_str(f, "path", "draft_text");
	return ERR_INVALID_PARAMS;
}

static int take_draft(struct job *j, struct json_object *params, struct fault *f)
{
	const bool has_ids = params_has(params, "draft_tokens");
	const size_t vocab_size = model_info(model_ref_model(j->model))->vocab_size;
	if (has_ids == params_has(params, "draft_text")) {
		fault_set(f, ERR_INVALID_PARAMS, "give exactly one of draft_tokens and draft_text");
		fault_add_str(f, "path", has_ids ? "draft_text" : "draft_tokens");
		return ERR_INVALID_PARAMS;
	}
	if (has_ids)
		return params_token_ids(
			params, "draft_tokens", vocab_size, &j->draft, &j->n_draft, f);
	return encode_draft(j, params, f);
}

/* A prompt, or the stream that takes its place. */
static int take_context(struct draft_call *v, struct job *j, struct fault *f)
{
	static const char *const others[] = { "prompt", "prompt_tokens", "messages", "cache_prompt",
		"cache_scope" };
	if (!v->follow_key && params_has(v->params, "index")) {
		fault_set(
			f, ERR_INVALID_PARAMS, "index is a place in a stream: give stream_id too");
		fault_add_str(f, "path", "index");
		return ERR_INVALID_PARAMS;
	}
	if (!v->follow_key)
		return generate_request_cache(j, v->params, f) != 0 ||
				       generate_request_prompt(j, v->params, f) != 0
			       ? f->err
			       : job_fit(j, f);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (params_has(v->params, others[i])) {
			fault_set(f, ERR_INVALID_PARAMS, "%s: with stream_id that is the stream's",
				others[i]);
			fault_add_str(f, "path", others[i]);
			return ERR_INVALID_PARAMS;
		}
	const int64_t index = params_int(v->params, "index", -1);
	j->follow_key = v->follow_key;
	j->follow_at = index < 0 ? SIZE_MAX : (size_t)index;
	return 0;
}

static void build(struct draft_call *v)
{
	struct job *j = xcalloc(1, sizeof *j);
	const int64_t timeout = params_int(v->params, "timeout_ms", 0);
	const char *priority = params_str(v->params, "priority");
	j->kind = JOB_CHECK_DRAFT;
	j->model = model_ref_take(v->model);
	j->n_choices = 1;
	j->skip_special = true;
	j->arrived = v->arrived;
	j->deadline = timeout > 0 ? v->arrived + (double)timeout / 1e3 : 0;
	j->priority = generate_request_priority(priority);
	if (take_draft(j, v->params, &v->fault) != 0 ||
		generate_request_sampling(
			j, v->params, v->follow_key ? &v->of_stream : NULL, &v->fault) != 0 ||
		take_context(v, j, &v->fault) != 0) {
		job_free(j);
		return;
	}
	v->logprobs = j->sampling.logprobs;
	v->top_logprobs = j->sampling.top_logprobs;
	if (j->sampling.top_logprobs == 0)
		j->sampling.top_logprobs = 1; /* names the argmax where the draft was refused */
	v->seed = j->sampling.seed;
	v->n_draft = j->n_draft;
	if (j->n_draft)
		memcpy(v->draft, j->draft, j->n_draft * sizeof *j->draft);
	v->job = j;
}

/* -- the answer ------------------------------------------------------------------------------ */

static void write_top(struct buf *out, const struct draft_call *v, const struct sampled *p)
{
	if (v->top_logprobs == 0)
		return;
	jout_key(out, "top_logprobs");
	buf_addc(out, '[');
	for (int i = 0; i < p->n_top; i++) {
		if (!isfinite(p->top[i].logprob))
			continue;
		jout_sep(out);
		buf_addc(out, '{');
		jout_key_int(out, "token_id", p->top[i].id);
		jout_key(out, "token");
		stream_write_token_text(out, v->model, p->top[i].id);
		jout_key(out, "logprob");
		jout_float(out, p->top[i].logprob);
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
}

static void write_logprob(struct buf *out, const struct draft_call *v, float logprob)
{
	if (!v->logprobs || !isfinite(logprob))
		return;
	jout_key(out, "logprob");
	jout_float(out, logprob);
}

static void write_judged(struct buf *out, const struct draft_call *v)
{
	jout_key(out, "tokens");
	buf_addc(out, '[');
	for (size_t i = 0; i < v->result.n_judged; i++) {
		const struct sampled *verdict = &v->verdicts[i];
		jout_sep(out);
		buf_addc(out, '{');
		jout_key_int(out, "id", v->draft[i]);
		write_logprob(out, v, v->draft_logprobs[i]);
		jout_key_bool(out, "accepted", i < v->result.accepted);
		if (verdict->n_top > 0)
			jout_key_int(out, "argmax", verdict->top[0].id);
		write_top(out, v, verdict);
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
}

static void write_next(struct buf *out, const struct draft_call *v)
{
	const struct job_result *r = &v->result;
	const struct sampled *next = &v->verdicts[r->accepted];
	const char *kind = r->stop_detail != STOP_NONE ? "eos"
			   : r->accepted == v->n_draft ? "bonus"
						       : "correction";
	jout_key(out, "next_token");
	buf_addc(out, '{');
	jout_key_int(out, "id", next->id);
	jout_key(out, "text");
	stream_write_token_text(out, v->model, next->id);
	jout_key_cstr(out, "kind", kind);
	write_logprob(out, v, next->logprob);
	write_top(out, v, next);
	buf_addc(out, '}');
	jout_key_cstr(out, "stopped_by",
		r->stop_detail != STOP_NONE  ? "eos"
		: r->finish == FINISH_LENGTH ? "length"
		: r->n_judged > r->accepted  ? "mismatch"
					     : "end");
}

static void write_result(struct buf *out, const struct draft_call *v)
{
	buf_addc(out, '{');
	jout_key_int(out, "accepted", (int64_t)v->result.accepted);
	write_next(out, v);
	write_judged(out, v);
	if (v->follow_key)
		jout_key_int(out, "index", (int64_t)v->result.n_followed);
	stream_write_usage(out, &v->result, v->result.n_judged);
	stream_write_timings(out, &v->result);
	jout_key_int(out, "seed", (int64_t)v->seed);
	buf_addc(out, '}');
}

static void draft_free(struct draft_call *v)
{
	struct worker *w = v->w;
	calls_over(&w->calls, &v->call);
	if (v->job)
		job_free(v->job);
	json_object_put(v->params);
	free((void *)v->of_stream.bias);
	model_ref_release(v->model);
	free(v);
	models_call_over(w);
}

static void draft_refuse(struct draft_call *v, const struct fault *f)
{
	if (v->silent)
		reply_drop(v->reply);
	else
		reply_fault(v->reply, f);
	draft_free(v);
}

static void draft_end(struct letter *l)
{
	struct draft_call *v = HOLDER(l, struct draft_call, letter);
	struct fault f = v->result.fault;
	struct buf out = BUF_INIT;
	switch (v->result.finish) {
	case FINISH_STOP:
	case FINISH_LENGTH:
		v->w->telemetry.draft_tokens += v->result.n_judged;
		v->w->telemetry.accepted_tokens += v->result.accepted;
		write_result(&out, v);
		break;
	case FINISH_SLOW_CONSUMER: /* only of streams */
	case FINISH_CANCELLED: fault_set(&f, ERR_CANCELLED, "the request was cancelled"); break;
	case FINISH_TIMEOUT:
		fault_set(&f, ERR_TIMEOUT, "the draft was not checked within timeout_ms");
		break;
	case FINISH_ERROR: break;
	}
	if (v->silent || !out.n_bytes) {
		draft_refuse(v, &f);
	} else {
		reply_result(v->reply, out.data, out.n_bytes);
		draft_free(v);
	}
	buf_release(&out);
}

/* -- the sink (compute thread) --------------------------------------------------------------- */

static void on_tokens(void *arg, const struct job_token *t, size_t n)
{
	(void)arg;
	(void)t;
	(void)n; /* a verdict comes whole, with done */
}

static void on_done(void *arg, int choice, const struct job_result *r, const char *tail,
	size_t n_tail, bool last)
{
	struct draft_call *v = arg;
	(void)choice;
	(void)tail;
	(void)n_tail;
	v->result = *r;
	v->result.verdicts = v->verdicts;
	v->result.draft_logprobs = v->draft_logprobs;
	if (r->n_verdicts)
		memcpy(v->verdicts, r->verdicts, r->n_verdicts * sizeof *v->verdicts);
	if (r->n_judged)
		memcpy(v->draft_logprobs, r->draft_logprobs,
			r->n_judged * sizeof *v->draft_logprobs);
	if (last)
		mailbox_send(&v->w->mail, &v->letter);
}

static const struct job_sink sink = { .tokens = on_tokens, .done = on_done };

/* -- admission ------------------------------------------------------------------------------- */

static void admit(struct draft_call *v)
{
	struct fault f;
	v->letter.open = draft_end;
	if (v->fault.err) {
		draft_refuse(v, &v->fault);
	} else if (v->cancelled) {
		fault_set(&f, ERR_CANCELLED, "the request was cancelled");
		draft_refuse(v, &f);
	} else {
		struct job *j = v->job;
		v->job = NULL;
		v->submitted = true;
		j->key = v->key;
		j->sink = &sink;
		j->sink_arg = v;
		log_trace("draft", "%zu prompt tokens, %zu drafted", j->n_prompt, j->n_draft);
		engine_submit(v->w->engine, j);
	}
}

static void open_admission(struct letter *l)
{
	admit(HOLDER(l, struct draft_call, letter));
}

static void run_build(struct chore *c)
{
	struct draft_call *v = HOLDER(c, struct draft_call, chore);
	build(v);
	mailbox_send(&v->w->mail, &v->letter);
}

static void on_cancel(struct call *c, enum cancel_how how)
{
	struct draft_call *v = (struct draft_call *)c;
	v->cancelled = true;
	v->silent = v->silent || how == CANCEL_SILENT;
	if (v->submitted)
		engine_cancel(v->w->engine, v->key);
}

/* The stream that the request names, if it names one. ERR_INVALID_PARAMS, data.path. */
static int find_stream(const struct request *rq, const struct model_ref *model,
	const struct stream **out, struct fault *f)
{
	const char *id = params_str(rq->params, "stream_id");
	const struct stream *s = id ? generate_find(rq->w, id) : NULL;
	*out = s;
	if (!id)
		return 0;
	if (!s || !s->submitted)
		fault_set(f, ERR_INVALID_PARAMS, "stream_id: no stream '%s' is running here", id);
	else if (s->model != model)
		fault_set(f, ERR_INVALID_PARAMS, "stream_id: '%s' is a stream of %s, not of %s", id,
			model_ref_id(s->model), model_ref_id(model));
	else if (s->n_choices > 1)
		fault_set(f, ERR_INVALID_PARAMS,
			"stream_id: '%s' is %d texts (n), a draft can follow only one", id,
			s->n_choices);
	else
		return 0;
	fault_add_str(f, "path", "stream_id");
	return ERR_INVALID_PARAMS;
}

void draft_start(struct request *rq, const char *model_id)
{
	struct fault f = { 0 };
	const struct stream *stream;
	if (models_wait_for(rq, model_id))
		return;
	struct model_ref *model = catalog_get(rq->w->catalog, model_id, &f);
	if (!model || find_stream(rq, model, &stream, &f) != 0) {
		reply_fault(rq->reply, &f);
		json_object_put(rq->params);
		model_ref_release(model);
		return;
	}
	struct draft_call *v = xcalloc(1, sizeof *v);
	v->w = rq->w;
	v->model = model;
	v->params = rq->params;
	v->reply = rq->reply;
	v->arrived = rq->arrived;
	v->key = ++rq->w->last_key;
	v->call.cancel = on_cancel;
	v->call.model = model;
	if (stream) {
		v->follow_key = stream->key;
		generate_request_copy_sampling(&v->of_stream, &stream->sampling);
	}
	v->chore.run = run_build;
	v->letter.open = open_admission;
	calls_add(&v->w->calls, &v->call, v->reply, NULL);
	if (generate_request_is_long(rq)) {
		workq_push(&v->w->aux, &v->chore);
		return;
	}
	build(v);
	admit(v);
}
