/* text_calls.c - tokenize and detokenize. */
#include "worker/text_calls.h"
#include "protocol/mem.h"
#include "worker/generate_request.h"
#include "worker/models.h"
#include "worker/params.h"
#include "worker/text/tokenizer.h"
#include <stdlib.h>

/* Room in a frame for the envelope around a result. */
#define ENVELOPE_BYTES 8192

/* Written for a token, its piece included, and how many tokens room is made for beforehand. */
#define TOKEN_BYTES  24
#define USUAL_TOKENS 4096

/* A text so long, or among so many, that it is tokenized on an aux thread. */
struct text_call {
	struct call call; /* first: a call * is a text_call * */
	struct worker *w;
	struct chore chore;
	struct letter letter;
	struct reply *reply;
	struct json_object *params;
	struct model_ref *model;
	struct buf result;
	struct fault fault;
	size_t n_tokens;
	bool cancelled, silent;
};

static int too_large(size_t n_tokens, struct fault *f)
{
	fault_set(f, ERR_INVALID_PARAMS,
		"%zu tokens make a result larger than a frame's %zu bytes: ask for count_only, or "
		"return_strings: false, or send the text in parts",
		n_tokens, (size_t)FRAME_OUT_MAX);
	fault_add_int(f, "count", (int64_t)n_tokens);
	fault_add_int(f, "max_bytes", (int64_t)FRAME_OUT_MAX);
	return ERR_INVALID_PARAMS;
}

/* False when the result grew too large. */
static bool write_ids(const struct tok_ids *ids, struct buf *out)
{
	jout_key(out, "tokens");
	buf_addc(out, '[');
	for (size_t i = 0; i < ids->n; i++) {
		if (i)
			buf_addc(out, ',');
		jout_int(out, ids->ids[i]);
		if (out->n_bytes > FRAME_OUT_MAX - ENVELOPE_BYTES)
			return false;
	}
	buf_addc(out, ']');
	return true;
}

static bool write_pieces(const struct tokenizer *t, const struct tok_ids *ids, struct buf *out)
{
	jout_key(out, "token_strings");
	buf_addc(out, '[');
	for (size_t i = 0; i < ids->n; i++) {
		size_t n;
		const char *piece = tokenizer_piece(t, ids->ids[i], &n);
		if (i)
			buf_addc(out, ',');
		if (piece)
			jout_str(out, piece, n);
		else
			buf_addf(out, "\"<token_%d>\"", ids->ids[i]);
		if (out->n_bytes > FRAME_OUT_MAX - ENVELOPE_BYTES)
			return false;
	}
	buf_addc(out, ']');
	return true;
}

/* params and model → the result object. Any thread. */
static int tokenize(struct json_object *params, const struct model_ref *ref, struct buf *out,
	size_t *n_tokens, struct fault *f)
{
	const struct tokenizer *t = model_tokenizer(model_ref_model(ref));
	struct tok_ids ids = { 0 };
	size_t n;
	const char *text = params_bytes(params, "text", &n);
	const unsigned flags =
		(params_bool(params, "add_special_tokens", true) ? TOK_ADD_SPECIAL : 0) |
		(params_bool(params, "parse_special", true) ? TOK_PARSE_SPECIAL : 0);
	int err = tokenizer_encode(t, text, n, flags, &ids, f);
	*n_tokens = ids.n;
	if (err == 0) {
		const bool only_count = params_bool(params, "count_only", false);
		const bool pieces = params_bool(params, "return_strings", true);
		buf_reserve(out, 64 + (ids.n < USUAL_TOKENS ? ids.n : USUAL_TOKENS) * TOKEN_BYTES);
		buf_addc(out, '{');
		if (!only_count &&
			!(write_ids(&ids, out) && (!pieces || write_pieces(t, &ids, out))))
			err = too_large(ids.n, f);
		jout_key_int(out, "count", (int64_t)ids.n);
		buf_addc(out, '}');
	} else {
		fault_add_str(f, "model_id", model_ref_id(ref));
	}
	tok_ids_release(&ids);
	return err;
}

static void finish(struct request *rq, struct model_ref *model, int err, const struct buf *out,
	const struct fault *f)
{
	if (err)
		reply_fault(rq->reply, f);
	else
		reply_result(rq->reply, out->data, out->n_bytes);
	json_object_put(rq->params);
	if (model)
		model_ref_release(model);
}

static void run_long(struct chore *c)
{
	struct text_call *t = HOLDER(c, struct text_call, chore);
	t->fault.err = tokenize(t->params, t->model, &t->result, &t->n_tokens, &t->fault);
	mailbox_send(&t->w->mail, &t->letter);
}

static void end_long(struct letter *l)
{
	struct text_call *t = HOLDER(l, struct text_call, letter);
	struct request rq = { .w = t->w, .params = t->params, .reply = t->reply };
	if (t->cancelled && !t->silent)
		fault_set(&t->fault, ERR_CANCELLED, "the request was cancelled");
	t->w->telemetry.tokenized_tokens += t->n_tokens;
	if (t->silent) {
		reply_drop(t->reply);
		json_object_put(t->params);
		model_ref_release(t->model);
	} else {
		finish(&rq, t->model, t->fault.err, &t->result, &t->fault);
	}
	calls_over(&t->w->calls, &t->call);
	models_call_over(t->w);
	buf_release(&t->result);
	free(t);
}

static void cancel_long(struct call *c, enum cancel_how how)
{
	struct text_call *t = (struct text_call *)c;
	t->cancelled = true;
	t->silent = t->silent || how == CANCEL_SILENT;
}

static void start_long(struct request *rq, struct model_ref *model)
{
	struct text_call *t = xcalloc(1, sizeof *t);
	t->w = rq->w;
	t->params = rq->params;
	t->reply = rq->reply;
	t->model = model;
	t->call.cancel = cancel_long;
	t->call.model = model;
	t->chore.run = run_long;
	t->letter.open = end_long;
	calls_add(&rq->w->calls, &t->call, rq->reply, NULL);
	workq_push(&rq->w->aux, &t->chore);
}

void handle_tokenize(struct request *rq)
{
	struct fault f = { 0 };
	struct buf out = BUF_INIT;
	size_t n_tokens = 0;
	const char *model_id = params_str(rq->params, "model_id");
	if (models_wait_for(rq, model_id))
		return;
	struct model_ref *model = catalog_get(rq->w->catalog, model_id, &f);
	if (model && generate_request_is_long(rq)) {
		start_long(rq, model);
		return;
	}
	const int err = model ? tokenize(rq->params, model, &out, &n_tokens, &f) : f.err;
	rq->w->telemetry.tokenized_tokens += n_tokens;
	finish(rq, model, err, &out, &f);
	buf_release(&out);
}

static int detokenize(
	struct json_object *params, const struct model_ref *ref, struct buf *out, struct fault *f)
{
	const struct tokenizer *t = model_tokenizer(model_ref_model(ref));
	struct buf text = BUF_INIT;
	int32_t *ids;
	size_t n;
	int err = params_token_ids(params, "tokens", tokenizer_vocab_size(t), &ids, &n, f);
	if (err == 0)
		err = tokenizer_decode(
			t, ids, n, params_bool(params, "skip_special_tokens", false), &text, f);
	buf_addc(out, '{');
	jout_key_str(out, "text", text.data ? text.data : "", text.n_bytes);
	buf_addc(out, '}');
	free(ids);
	buf_release(&text);
	return err;
}

void handle_detokenize(struct request *rq)
{
	struct fault f = { 0 };
	struct buf out = BUF_INIT;
	const char *model_id = params_str(rq->params, "model_id");
	if (models_wait_for(rq, model_id))
		return;
	struct model_ref *model = catalog_get(rq->w->catalog, model_id, &f);
	const int err = model ? detokenize(rq->params, model, &out, &f) : f.err;
	finish(rq, model, err, &out, &f);
	buf_release(&out);
}
