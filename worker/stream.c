/* stream.c - a generate's tokens: collected from the engine, written. Stop 23; next: outbox.c */
#include "worker/stream.h"
#include "protocol/jsonrpc.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/models.h"
#include "worker/stream_wire.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define CHUNK_TOKENS_MAX 512   /* with 20 alternatives each still far below a frame's limit */
#define OUTBOX_BUSY      16384 /* unsent bytes beyond which tokens wait and travel together */

/* -- on the compute thread: collect ---------------------------------------------------------- */

void stream_post(struct stream *s)
{
	if (!s->posted)
		mailbox_send(&s->w->mail, &s->letter);
	s->posted = true;
}

static size_t token_bytes(const struct stream_token *t)
{
	return sizeof *t + t->n_text + (size_t)t->n_top * 64;
}

static void keep_token(struct stream *s, const struct job_token *t)
{
	if (s->n_tokens == s->cap_tokens) {
		s->cap_tokens = s->cap_tokens ? 2 * s->cap_tokens : 16;
		s->tokens = xreallocarray(s->tokens, s->cap_tokens, sizeof *s->tokens);
	}
	const struct sampled *p = t->sampled;
	if (s->n_tops + (size_t)p->n_top > s->cap_tops) {
		s->cap_tops = 2 * s->cap_tops + LIMIT_TOP_LOGPROBS;
		s->tops = xreallocarray(s->tops, s->cap_tops, sizeof *s->tops);
	}
	s->tokens[s->n_tokens++] = (struct stream_token) { .id = p->id,
		.logprob = p->logprob,
		.index = t->index,
		.from_draft = t->from_draft,
		.text_at = s->text.n_bytes,
		.n_text = t->n_text,
		.top_at = s->n_tops,
		.n_top = p->n_top,
		.choice = t->choice };
	if (p->n_top)
		memcpy(s->tops + s->n_tops, p->top, (size_t)p->n_top * sizeof *s->tops);
	s->n_tops += (size_t)p->n_top;
	buf_add(&s->text, t->text, t->n_text);
	s->n_bytes += token_bytes(&s->tokens[s->n_tokens - 1]);
}

static void on_tokens(void *arg, const struct job_token *t, size_t n)
{
	struct stream *s = arg;
	pthread_mutex_lock(&s->lock);
	if (s->n_tokens == 0)
		s->first_at = clock_now();
	for (size_t i = 0; i < n; i++)
		keep_token(s, &t[i]);
	if (s->wire.stream || s->progress.token)
		stream_post(s);
	pthread_mutex_unlock(&s->lock);
}

static void on_done(void *arg, int choice, const struct job_result *r, const char *tail,
	size_t n_tail, bool last)
{
	struct stream *s = arg;
	pthread_mutex_lock(&s->lock);
	s->choices[choice].result = *r;
	if (n_tail)
		buf_add(&s->tails[choice], tail, n_tail);
	if (last) {
		s->ended = true;
		stream_post(s);
	}
	pthread_mutex_unlock(&s->lock);
}

static void on_progress(void *arg, size_t processed, size_t total)
{
	struct stream *s = arg;
	pthread_mutex_lock(&s->lock);
	s->prompt_done = processed;
	s->prompt_total = total;
	if (s->progress.token)
		stream_post(s);
	pthread_mutex_unlock(&s->lock);
}

static void on_resumed(void *arg, int choice, const char *text, size_t n)
{
	struct stream *s = arg;
	pthread_mutex_lock(&s->lock);
	if (s->wire.cumulative_text)
		buf_add(&s->choices[choice].text, text, n);
	pthread_mutex_unlock(&s->lock);
}

const struct job_sink stream_sink = { on_tokens, on_done, on_progress, on_resumed };

/* -- on the I/O thread: write ---------------------------------------------------------------- */

static void notify(struct stream *s, const char *method)
{
	struct buf frame = BUF_INIT;
	if (!s->silent) {
		rpc_write_notification(&frame, method, s->chunk.data, s->chunk.n_bytes);
		outbox_put(&s->w->out, frame.data, frame.n_bytes);
	}
	buf_release(&frame);
	buf_clear(&s->chunk);
}

/* --dev-crash-after: what was written reaches the host, then the process dies. */
static void count_emitted(struct worker *w, size_t n)
{
	w->n_emitted += n;
	if (w->options.dev_crash_after <= 0 || w->n_emitted < (size_t)w->options.dev_crash_after)
		return;
	outbox_flush(&w->out);
	abort();
}

/* The first n waiting tokens were written: the rest moves up. */
static void drop_tokens(struct stream *s, size_t n)
{
	const size_t text_at = n < s->n_tokens ? s->tokens[n].text_at : s->text.n_bytes;
	const size_t top_at = n < s->n_tokens ? s->tokens[n].top_at : s->n_tops;
	s->n_tokens -= n;
	s->n_tops -= top_at;
	s->n_bytes = 0;
	buf_consume(&s->text, text_at);
	if (s->n_tops)
		memmove(s->tops, s->tops + top_at, s->n_tops * sizeof *s->tops);
	if (s->n_tokens)
		memmove(s->tokens, s->tokens + n, s->n_tokens * sizeof *s->tokens);
	for (size_t i = 0; i < s->n_tokens; i++) {
		s->tokens[i].text_at -= text_at;
		s->tokens[i].top_at -= top_at;
		s->n_bytes += token_bytes(&s->tokens[i]);
	}
}

/* The first n waiting tokens, in as few chunks as may be. The caller holds the lock. */
static void write_tokens(struct stream *s, size_t n)
{
	for (size_t at = 0; at < n; at += CHUNK_TOKENS_MAX) {
		const size_t n_chunk = n - at < CHUNK_TOKENS_MAX ? n - at : CHUNK_TOKENS_MAX;
		stream_write_chunk(s, &s->chunk, at, n_chunk);
		notify(s, "stream.chunk");
	}
	log_trace("stream", "%s: %zu tokens", s->call.stream_id, n);
	drop_tokens(s, n);
	credit_sent(&s->credit, n);
	count_emitted(s->w, n);
}

/* Is it time to write what waits? *due: seconds until it will be by itself, -1 = unknown. */
static bool is_time(const struct stream *s, double now, double *due)
{
	const struct wire_options *o = &s->wire;
	*due = -1;
	if (s->ended || s->credit.stalled_at > 0 || s->n_bytes >= CREDIT_BYTES)
		return true;
	if (o->interval == 0 && o->max_delay < 0)
		return true;
	if (o->interval > 0 && s->n_tokens >= o->interval)
		return true;
	if (o->max_delay < 0)
		return false;
	*due = s->first_at + o->max_delay - now;
	return *due <= 0;
}

/* An end that somebody asked for, or that time did, waits for no reader. */
static bool is_forced(const struct stream *s)
{
	if (!s->ended)
		return false;
	for (int i = 0; i < s->n_choices; i++) {
		const enum finish f = s->choices[i].result.finish;
		if (f != FINISH_STOP && f != FINISH_LENGTH)
			return true;
	}
	return s->is_given_up || s->cancelled;
}

static void give_up(struct stream *s)
{
	log_info("stream %s: nobody reads it", s->call.stream_id);
	s->is_given_up = true;
	if (s->ended)
		stream_post(s);
	else
		engine_cancel(s->w->engine, s->key);
}

/* What waits after a write, or for want of one: run on, park, or give up. */
static double look_at_reader(struct stream *s, double now)
{
	const struct credit_view v = { .n_tokens = s->n_tokens,
		.n_bytes = s->n_bytes,
		.is_pipe_full = outbox_unsent(&s->w->out) > OUTBOX_BUSY,
		.now = now,
		.patience = s->w->options.stall_ms / 1e3 };
	double due;
	const enum credit_verdict verdict = credit_judge(&s->credit, &v, &due);
	if (verdict == CREDIT_GIVEN_UP && !s->is_given_up)
		give_up(s);
	const bool parks = verdict == CREDIT_PARK;
	if (parks != s->is_parked)
		engine_hold(s->w->engine, s->key, parks);
	s->is_parked = parks;
	return s->is_given_up ? -1 : due;
}

/* Write what may leave now. Returns seconds until the next look, -1 = no need. The caller
 * holds the lock. */
static double write_some(struct stream *s, double now)
{
	double due = -1;
	if (!s->wire.stream || !s->opened || s->n_tokens == 0)
		return -1;
	if (is_forced(s)) {
		write_tokens(s, s->n_tokens);
	} else if (is_time(s, now, &due)) {
		const size_t left =
			credit_left(&s->credit, outbox_unsent(&s->w->out) > OUTBOX_BUSY);
		if (left)
			write_tokens(s, left < s->n_tokens ? left : s->n_tokens);
		due = look_at_reader(s, now);
	}
	return due;
}

static void hold(struct stream *s, bool yes)
{
	if (yes && !s->is_held)
		DL_APPEND(s->w->held, s);
	else if (!yes && s->is_held)
		DL_DELETE(s->w->held, s);
	s->is_held = yes;
}

static void stream_free(struct stream *s)
{
	free((void *)s->sampling.bias);
	for (int i = 0; i < s->n_choices; i++) {
		buf_release(&s->choices[i].text);
		buf_release(&s->tails[i]);
	}
	free(s->choices);
	free(s->tails);
	free(s->tokens);
	free(s->tops);
	buf_release(&s->text);
	buf_release(&s->chunk);
	progress_release(&s->progress);
	pthread_mutex_destroy(&s->lock);
	if (s->job)
		job_free(s->job);
	json_object_put(s->params);
	model_ref_release(s->draft);
	model_ref_release(s->model);
	free(s);
}

void stream_over(struct stream *s)
{
	struct worker *w = s->w;
	hold(s, false);
	calls_over(&w->calls, &s->call);
	stream_free(s);
	models_call_over(w);
}

static void answer_cancelled(struct stream *s)
{
	struct fault f;
	fault_set(&f, ERR_CANCELLED, "the request was cancelled");
	reply_fault(s->reply, &f);
}

static void end_whole(struct stream *s)
{
	const struct job_result *r = &s->choices[0].result;
	if (s->silent) {
		reply_drop(s->reply);
	} else if (s->error_wanted && r->finish == FINISH_CANCELLED) {
		answer_cancelled(s);
	} else if (r->finish == FINISH_ERROR) {
		reply_fault(s->reply, &r->fault);
	} else {
		progress_end(&s->progress, &s->w->out, "done");
		stream_write_whole(s, &s->chunk);
		reply_result(s->reply, s->chunk.data, s->chunk.n_bytes);
	}
	s->reply = NULL;
}

static void end_streamed(struct stream *s)
{
	const struct job_result *r = &s->choices[0].result;
	for (int i = 0; i < s->n_choices; i++) {
		if (!s->tails[i].n_bytes)
			continue;
		stream_write_tail(s, &s->chunk, i);
		notify(s, "stream.chunk");
	}
	if (r->finish == FINISH_ERROR) {
		stream_write_error(s, &s->chunk, &r->fault);
	} else {
		stream_write_stats(s, &s->chunk);
		notify(s, "stream.stats");
		stream_write_event(s, &s->chunk);
	}
	notify(s, "stream.event");
}

static void stream_end(struct stream *s)
{
	struct job_result *r = &s->choices[0].result;
	for (int i = 0; i < s->n_choices; i++) {
		struct job_result *each = &s->choices[i].result;
		if (s->is_given_up && !s->cancelled && each->finish == FINISH_CANCELLED)
			each->finish = FINISH_SLOW_CONSUMER;
		telemetry_generation(&s->w->telemetry, each);
	}
	log_debug("stream %s: %s, %zu tokens in %.0f ms", s->call.stream_id, finish_name(r->finish),
		r->completion_tokens, r->total_ms);
	if (s->wire.stream)
		end_streamed(s);
	else
		end_whole(s);
	stream_over(s);
}

/* Write what it is time for; may free s. Returns seconds until the next look, -1. */
static double stream_advance(struct stream *s, double now)
{
	pthread_mutex_lock(&s->lock);
	s->posted = false;
	const size_t n_read = s->prompt_done, n_written = s->wire.stream ? 0 : s->n_tokens;
	const size_t n_whole = s->prompt_total + s->most_tokens;
	const double due = write_some(s, now);
	const bool waits = s->wire.stream && s->opened && s->n_tokens;
	const bool ended = s->ended && !waits;
	hold(s, waits);
	pthread_mutex_unlock(&s->lock);
	if (s->reply && n_read + n_written > 0)
		progress_report(&s->progress, &s->w->out,
			(double)(n_read + n_written) / (double)n_whole,
			n_written ? "writing" : "reading the prompt", now);
	if (ended && (s->opened || !s->wire.stream))
		stream_end(s);
	return due;
}

void stream_open_letter(struct letter *l)
{
	stream_advance(HOLDER(l, struct stream, letter), clock_now());
}

void stream_acked(struct stream *s, size_t n)
{
	pthread_mutex_lock(&s->lock);
	credit_acked(&s->credit, n);
	if (s->n_tokens && s->opened)
		stream_post(s);
	pthread_mutex_unlock(&s->lock);
}

double streams_tick(struct worker *w, double now)
{
	double soonest = -1;
	struct stream *s, *next;
	DL_FOREACH_SAFE (w->held, s, next) {
		pthread_mutex_lock(&s->lock);
		const double due = write_some(s, now);
		if (s->n_tokens == 0) {
			hold(s, false);
			/* The end is left to its own letter, so that next stays what it is. */
			if (s->ended)
				stream_post(s);
		}
		pthread_mutex_unlock(&s->lock);
		if (due >= 0 && (soonest < 0 || due < soonest))
			soonest = due;
	}
	return soonest;
}
