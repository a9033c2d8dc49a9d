/* replay.c - what a dead worker leaves behind, given to another. */
#include "controller/replay.h"
#include "controller/admit.h"
#include "controller/clock.h"
#include "controller/load.h"
#include "controller/splice.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct json_span span_of(const struct buf *b)
{
	return (struct json_span) { b->data, b->n_bytes };
}

/* A worker has the model or will have it again, and we are not ending. */
static bool can_go_on(struct controller *c, struct json_span params)
{
	char id[LIMIT_MODEL_ID + 1];
	struct json_span name = json_find(params, "model_id");
	if (!name.at)
		name = json_find(params, "primary_id");
	const struct model *m = NULL;
	if (c->phase <= PHASE_DRAINING && json_copy_str(name, id, sizeof id))
		m = models_find(&c->models, id);
	for (int i = 0; m && i < c->fleet.n; i++)
		if ((m->wanted & model_bit(i)) && sup_may_serve(c->fleet.workers[i].sup.state))
			return model_is_expected(m);
	return false;
}

static bool wants_replay(struct json_span params)
{
	return !json_str_is(json_find(params, "resume"), "error");
}

/* Behind a command a line may have been cut. What a request does to a worker ends it by an exit or
 * another signal, or makes it break the protocol; these come from outside, or SIGKILL from us when
 * it was silent. */
static bool is_doubted(const struct worker *w)
{
	const int n = w->end.signal;
	const bool is_from_outside = n == SIGKILL || n == SIGTERM || n == SIGINT || n == SIGHUP;
	return w->c->opt->n_commands > 0 || (is_from_outside && !w->broke);
}

static enum retry_verdict judge(const struct worker *w, struct retry_case *r)
{
	static const enum metrics_count counts[RETRY_N_VERDICTS] = { [RETRY_AGAIN] =
									     METRICS_RETRIES,
		[RETRY_REFUSED] = METRICS_LOST,
		[RETRY_POISON] = METRICS_POISONED,
		[RETRY_SPENT] = METRICS_RETRIES_SPENT };
	struct controller *c = w->c;
	r->is_doubted = is_doubted(w);
	enum retry_verdict v = retry_judge(&c->retry, r, clock_us());
	c->metrics.counts[counts[v]]++;
	return v;
}

/* The parameters of an accepted stream: its own, or while its answer waits for those it
 * travels with, the call's. */
static struct json_span params_of(const struct stream *s)
{
	return s->params_bytes ? s->params : s->call->params;
}

/* The same request is the same again: but what came by chance need not come a second time. */
static bool is_repeatable(const struct stream *s)
{
	double temperature = 1;
	json_get_num(json_find(params_of(s), "temperature"), &temperature);
	return s->n_tokens == 0 || json_find(params_of(s), "seed").at || temperature == 0;
}

/* Error as it will be for whoever sends it again: no token is delivered then. */
static void remember(const struct worker *w, const char *method, struct json_span params,
	const struct crash_note *note)
{
	struct crash_note again = *note;
	struct buf error = BUF_INIT;
	if (is_doubted(w) || w->end.n_had != 1)
		return;
	again.tokens = note->tokens < 0 ? -1 : 0;
	worker_write_crash(w, &again, &error);
	poison_note(&w->c->poison, method, params, span_of(&error), clock_us());
	buf_release(&error);
}

static void write_error(
	struct worker *w, struct crash_note *note, enum retry_verdict v, struct buf *error)
{
	note->is_poison = v == RETRY_POISON;
	note->is_spent = v == RETRY_SPENT;
	worker_write_crash(w, note, error);
}

static void write_cancelled(struct buf *error)
{
	struct fault f;
	fault_set(&f, ERR_CANCELLED, "the request was cancelled");
	rpc_write_error_object(error, &f);
}

/* -- calls ------------------------------------------------------------------------------ */

bool replay_call(struct worker *w, struct call *call, struct buf *error)
{
	struct controller *c = w->c;
	struct stream *s = call->stream;
	struct crash_note note = { .phase = s ? "prefill" : "running", .tokens = s ? 0 : -1 };
	struct retry_case lost = { .deaths = s ? ++s->deaths : ++call->deaths };
	if (!s && call->is_continuation) { /* its stream has ended: nobody wants it any more */
		write_cancelled(error);
		return false;
	}
	if (s) {
		load_drop_stream(c, s);
		note.tokens = (int64_t)s->n_tokens;
	}
	lost.is_possible = can_go_on(c, call->params) &&
			   (!s || (wants_replay(call->params) && !s->is_cancelled));
	enum retry_verdict v = judge(w, &lost);
	if (v == RETRY_AGAIN) {
		log_debug("#%llu was lost with worker %d and goes again",
			(unsigned long long)call->number, w->index);
		admit_again(c, call);
		return true;
	}
	if (s && s->is_cancelled) {
		write_cancelled(error);
		return false;
	}
	write_error(w, &note, v, error);
	if (v == RETRY_POISON && (!s || is_repeatable(s)))
		remember(w, call->method->name, s ? params_of(s) : call->params, &note);
	return false;
}

bool replay_local(struct worker *w, struct call *call, struct buf *error)
{
	struct controller *c = w->c;
	struct crash_note note = { .phase = "running", .tokens = -1 };
	struct retry_case lost = {
		.is_possible = c->phase <= PHASE_DRAINING && fleet_may_serve(&c->fleet),
		.deaths = ++call->deaths,
	};
	enum retry_verdict v = judge(w, &lost);
	if (v != RETRY_AGAIN)
		write_error(w, &note, v, error);
	return v == RETRY_AGAIN;
}

/* -- streams ---------------------------------------------------------------------------- */

void replay_note_handshake(struct stream *s, struct json_span result)
{
	if (json_get_int(json_find(result, "seed"), &s->seed))
		s->has_seed = true;
}

void replay_keep_params(struct stream *s, struct call *call)
{
	s->params_bytes = call->bytes;
	s->params = call->params;
	call->bytes = NULL;
}

static void end_cancelled(struct controller *c, struct stream *s)
{
	stream_end(&c->streams, s, "cancelled", (struct json_span) { NULL, 0 });
}

void replay_end_cancelled(struct worker *w)
{
	struct stream *s, *tmp;
	HASH_ITER (hh, w->c->streams.by_id, s, tmp)
		if (s->worker == w->index && s->is_cancelled && s->is_open && !s->has_ended)
			end_cancelled(w->c, s);
}

static void open_list(struct buf *out, const struct stream *s, const char *key)
{
	struct json_cursor c = json_iterate(json_find(params_of(s), key));
	struct json_span one;
	jout_key(out, key);
	buf_addc(out, '[');
	while (s->n_before && json_next_element(&c, &one)) {
		jout_sep(out);
		buf_add(out, one.at, one.n);
	}
}

/* Behind the tokens of a run before, which the host gave, those that it got since. */
static void write_tokens(struct buf *out, const struct stream *s)
{
	int64_t n = 1;
	json_get_int(json_find(params_of(s), "n"), &n);
	open_list(out, s, "resume_tokens");
	for (size_t i = 0; i < s->n_tokens; i++) {
		jout_sep(out);
		jout_int(out, s->tokens[i]);
	}
	buf_addc(out, ']');
	if (n <= 1 && !s->choices)
		return;
	open_list(out, s, "resume_choices");
	for (size_t i = 0; i < s->n_tokens; i++) {
		jout_sep(out);
		jout_int(out, s->choices ? s->choices[i] : 0);
	}
	buf_addc(out, ']');
}

/* The continuation's parameters: what the host asked for, seeded as it was told, and behind
 * the prompt what it has. */
static void write_params(struct buf *out, const struct stream *s)
{
	const char *ours[7] = { "_meta", "workDoneToken", "idempotency_key" };
	size_t n = 3;
	if (s->has_seed)
		ours[n++] = "seed";
	if (s->n_tokens) {
		ours[n++] = "resume_tokens";
		ours[n++] = "resume_choices";
	}
	splice_without(out, params_of(s), ours);
	if (s->has_seed)
		jout_key_int(out, "seed", s->seed);
	if (s->n_tokens)
		write_tokens(out, s);
	buf_addc(out, '}');
}

/* Without a seed of the worker's the host's own must be there, or draws would differ. */
static bool is_replayable(const struct stream *s)
{
	if (s->n_tokens == 0)
		return true;
	return !s->is_unloggable && (s->has_seed || json_find(params_of(s), "seed").at);
}

static void go_on(struct controller *c, struct stream *s)
{
	struct buf params = BUF_INIT;
	log_debug("stream %s goes on after %zu tokens", s->id, s->n_tokens);
	c->metrics.counts[METRICS_REPLAYS]++;
	s->n_replays++;
	write_params(&params, s);
	admit_continuation(c, s, span_of(&params));
	buf_release(&params);
}

static void lose(struct worker *w, struct stream *s)
{
	struct controller *c = w->c;
	struct buf error = BUF_INIT;
	struct crash_note note = { .phase = s->n_tokens ? "decode" : "prefill",
		.tokens = (int64_t)s->n_tokens };
	stream_rewind(s);
	if (s->n_tokens > s->n_tokens_at_death)
		s->deaths = 0;
	s->n_tokens_at_death = s->n_tokens;
	struct retry_case lost = { .deaths = ++s->deaths };
	lost.is_possible =
		can_go_on(c, params_of(s)) && wants_replay(params_of(s)) && is_replayable(s);
	load_drop_stream(c, s);
	enum retry_verdict v = judge(w, &lost);
	if (v == RETRY_AGAIN) {
		go_on(c, s);
		return;
	}
	c->metrics.counts[METRICS_STREAMS_FAILED]++;
	write_error(w, &note, v, &error);
	if (v == RETRY_POISON && is_repeatable(s))
		remember(w, "generate", params_of(s), &note);
	stream_end(&c->streams, s, NULL, span_of(&error));
	buf_release(&error);
}

void replay_streams(struct worker *w)
{
	struct controller *c = w->c;
	struct stream *s, *tmp;
	HASH_ITER (hh, c->streams.by_id, s, tmp) {
		if (s->worker != w->index || s->has_ended)
			continue;
		if (s->is_cancelled)
			end_cancelled(c, s);
		else
			lose(w, s);
	}
}

/* The stream the host reads was open before: an error cannot be its answer any more. */
void replay_answered(struct controller *c, struct stream *s, struct call *call)
{
	const int timeout = err_info(ERR_TIMEOUT)->code, ending = err_info(ERR_SHUTTING_DOWN)->code;
	s->continuation = NULL;
	if (call->code == 0)
		return;
	if (call->code == err_info(ERR_CANCELLED)->code || call->code == ending) {
		end_cancelled(c, s);
	} else if (call->code == timeout) {
		stream_end(&c->streams, s, "timeout", (struct json_span) { NULL, 0 });
	} else {
		c->metrics.counts[METRICS_STREAMS_FAILED]++;
		stream_end(&c->streams, s, NULL, call->answer);
	}
}
