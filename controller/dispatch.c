/* dispatch.c - frames to workers and their answers. Stop 8; next: peer.c */
#include "controller/dispatch.h"
#include "controller/admit.h"
#include "controller/clock.h"
#include "controller/deal.h"
#include "controller/flow.h"
#include "controller/load.h"
#include "controller/replay.h"
#include "controller/roster.h"
#include "controller/share.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One frame at a worker: a plain call, or the requests[] of a batch_* method. */
struct flight {
	struct worker *worker;
	struct queue_bucket *bucket;
	const struct method *method; /* of the members */
	uint64_t id;                 /* on the worker's pipe */
	uint64_t sent_us;
	size_t n;
	size_t n_tokens;      /* of work, streams apart */
	struct call *calls[]; /* [n]; NULL = detached */
};

void dispatch_soon(struct controller *c)
{
	if (c->dispatch)
		event_active(c->dispatch, EV_TIMEOUT, 0);
}

int dispatch_worker(const struct call *call)
{
	return call->owner == CALL_IN_FLIGHT ? call->flight->worker->index : -1;
}

/* -- answers ---------------------------------------------------------------------------- */

static void land(struct flight *fl, size_t i, enum answer a, struct json_span body)
{
	struct call *call = fl->calls[i];
	if (!call)
		return;
	fl->calls[i] = NULL;
	call->flight = NULL;
	if (share_go_on(fl->worker->c, call, a, body))
		return;
	if (call->stream && a == ANSWER_RESULT)
		replay_note_handshake(call->stream, body);
	registry_finish(fl->worker->c->registry, call, a, body);
}

static void land_crash(struct flight *fl, size_t i)
{
	struct buf error = BUF_INIT;
	struct call *call = fl->calls[i];
	if (!call)
		return;
	call->flight = NULL;
	call->owner = CALL_ADMITTED;
	if (replay_call(fl->worker, call, &error))
		fl->calls[i] = NULL;
	else
		land(fl, i, ANSWER_ERROR, (struct json_span) { error.data, error.n_bytes });
	buf_release(&error);
}

static void land_fault(struct flight *fl, size_t i, const char *text)
{
	struct fault f;
	struct buf error = BUF_INIT;
	fault_set(&f, ERR_INTERNAL, "%s", text);
	rpc_write_error_object(&error, &f);
	land(fl, i, ANSWER_ERROR, (struct json_span) { error.data, error.n_bytes });
	buf_release(&error);
}

/* An item of results[] back into what the plain method would have answered. */
static void land_item(struct flight *fl, size_t i, struct json_cursor *item)
{
	enum { N_ERROR = 3, RESULT = N_ERROR, SUCCESS, N_NAMES };
	static const char *const from[N_NAMES] = { "error_code", "error", "error_data", "result",
		"success" };
	static const char *const to[N_ERROR] = { "code", "message", "data" };
	struct json_span values[N_NAMES + 1] = { 0 }, key, value; /* the last for other names */
	bool success = false;
	while (json_next_member(item, &key, &value))
		values[json_str_among(key, from, N_NAMES)] = value;
	json_get_bool(values[SUCCESS], &success);
	if (success && values[RESULT].at) {
		land(fl, i, ANSWER_RESULT, values[RESULT]);
		return;
	}
	struct buf error = BUF_INIT;
	buf_addc(&error, '{');
	for (int k = 0; k < N_ERROR; k++)
		if (values[k].at)
			jout_key_raw(&error, to[k], values[k].at, values[k].n);
	buf_addc(&error, '}');
	land(fl, i, ANSWER_ERROR, (struct json_span) { error.data, error.n_bytes });
	buf_release(&error);
}

static void land_results(struct flight *fl, struct json_span result)
{
	struct json_cursor cursor = json_iterate(json_find(result, "results")), item;
	size_t i = 0;
	while (i < fl->n && json_enter(&cursor, &item)) {
		land_item(fl, i++, &item);
		json_leave(&cursor, &item);
	}
	for (; i < fl->n; i++)
		land_fault(fl, i, "a worker left this call out of its answer");
}

static void land_all(struct flight *fl, const struct peer_reply *r)
{
	switch (r->outcome) {
	case PEER_RESULT:
		if (fl->n > 1)
			land_results(fl, r->body);
		else
			land(fl, 0, ANSWER_RESULT, r->body);
		return;
	case PEER_ERROR:
		for (size_t i = 0; i < fl->n; i++)
			land(fl, i, ANSWER_ERROR, r->body);
		return;
	case PEER_LOST:
		for (size_t i = 0; i < fl->n; i++)
			land_crash(fl, i);
		return;
	}
}

/* Lines that are no messages of ours count as one fault, however many came with an answer. */
static void tell_breaker(struct worker *w, const struct peer_reply *r, uint64_t now)
{
	if (r->outcome == PEER_LOST)
		return;
	uint64_t garbage = peer_garbage(w->peer);
	if (garbage > w->n_garbage)
		breaker_fault(&w->breaker, now);
	else
		breaker_answered(&w->breaker, now);
	w->n_garbage = garbage;
}

static void on_reply(void *arg, const struct peer_reply *r)
{
	struct flight *fl = arg;
	struct worker *w = fl->worker;
	struct controller *c = w->c;
	uint64_t now = clock_us();
	histogram_add(&c->metrics.times[METRICS_FRAME], now - fl->sent_us);
	tell_breaker(w, r, now);
	log_trace("dispatch", "frame %llu of %zu %s back from worker %d",
		(unsigned long long)fl->id, fl->n, fl->method->name, w->index);
	fl->bucket->in_flight[w->index]--;
	fl->bucket->n_in_flight--;
	if (fl->method->cls != METHOD_STREAM)
		load_drop_calls(w, fl->n, fl->n_tokens);
	land_all(fl, r);
	queue_settle(&c->queue, fl->bucket);
	free(fl);
	dispatch_soon(c);
}

void dispatch_detach(struct controller *c, struct call *call)
{
	(void)c;
	struct flight *fl = call->flight;
	fl->calls[call->flight_slot] = NULL;
	call->flight = NULL;
	call->owner = CALL_ADMITTED;
	if (fl->n > 1 || !fl->worker->peer)
		return;
	struct buf params = BUF_INIT;
	buf_addf(&params, "{\"id\":%llu}", (unsigned long long)fl->id);
	peer_notify(fl->worker->peer, "$/cancelRequest",
		(struct json_span) { params.data, params.n_bytes });
	buf_release(&params);
}

/* -- frames ----------------------------------------------------------------------------- */

/* A call's params as the worker gets them: what is left of its timeout, the rest as the
 * host wrote it. */
static void write_params(struct buf *out, const struct call *call, uint64_t now)
{
	struct json_span p = call->params;
	if (!call->n_timeout) {
		buf_add(out, p.at, p.n);
		return;
	}
	uint64_t left = call->deadline_us > now ? call->deadline_us - now : 0;
	buf_add(out, p.at, call->timeout_at);
	jout_int(out, (int64_t)(left / 1000 > 0 ? left / 1000 : 1));
	buf_add(out, p.at + call->timeout_at + call->n_timeout,
		p.n - call->timeout_at - call->n_timeout);
}

static void write_frame(struct buf *out, const struct flight *fl, uint64_t now)
{
	if (fl->n == 1) {
		write_params(out, fl->calls[0], now);
		return;
	}
	buf_adds(out, "{\"requests\":[");
	for (size_t i = 0; i < fl->n; i++) {
		jout_sep(out);
		write_params(out, fl->calls[i], now);
	}
	buf_adds(out, "]}");
}

static void note_frame(struct controller *c, const struct flight *fl)
{
	struct metrics *m = &c->metrics;
	m->counts[METRICS_FRAMES_OUT]++;
	m->counts[METRICS_BATCHES] += fl->n > 1;
	histogram_add(&m->batch_size, fl->n);
	for (size_t i = 0; i < fl->n; i++)
		histogram_add(&m->times[METRICS_QUEUE_WAIT],
			fl->sent_us - fl->calls[i]->waiting.since_us);
}

static void board(struct flight *fl, struct queue_item *const *items)
{
	for (size_t i = 0; i < fl->n; i++) {
		struct call *call = call_of_item(items[i]);
		call->owner = CALL_IN_FLIGHT;
		call->flight = fl;
		call->flight_slot = i;
		fl->calls[i] = call;
		if (!call->stream) {
			fl->n_tokens += items[i]->n_tokens;
			continue;
		}
		load_add_stream(fl->worker, call->stream, items[i]->n_tokens);
		flow_begin(call->stream);
		/* From here the worker keeps the time: it can end a generate with what it has. */
		if (call->timer)
			event_free(call->timer);
		call->timer = NULL;
	}
	if (fl->method->cls != METHOD_STREAM)
		load_add_calls(fl->worker, fl->n, fl->n_tokens);
}

static void send_frame(const struct hand *hand, struct queue_bucket *b)
{
	struct worker *w = hand->worker;
	struct controller *c = w->c;
	size_t n = hand->n;
	struct flight *fl = xcalloc(1, sizeof *fl + n * sizeof fl->calls[0]);
	struct buf params = BUF_INIT;
	fl->worker = w;
	fl->bucket = b;
	fl->method = b->method;
	fl->n = n;
	fl->sent_us = w->last_us = clock_us();
	board(fl, hand->items);
	b->in_flight[w->index]++;
	b->n_in_flight++;
	note_frame(c, fl);
	write_frame(&params, fl, fl->sent_us);
	const char *method = n > 1 ? fl->method->batch_name : fl->method->name;
	fl->id = peer_call(
		w->peer, method, (struct json_span) { params.data, params.n_bytes }, on_reply, fl);
	log_trace("dispatch", "frame %llu of %zu %s to worker %d", (unsigned long long)fl->id, n,
		fl->method->name, w->index);
	buf_release(&params);
}

/* -- who and what next ------------------------------------------------------------------ */

/* Rounds, for what travels alone: it fills a worker's hand one call at a time. */
static void dispatch_bucket(struct controller *c, struct queue_bucket *b)
{
	struct hand hands[OPTIONS_WORKERS_MAX];
	size_t n_sent = 1;
	while (n_sent > 0 && b->n_calls > 0) {
		size_t n = deal_round(c, b, hands);
		n_sent = 0;
		for (size_t i = 0; i < n; i++) {
			if (hands[i].n == 0)
				continue;
			send_frame(&hands[i], b);
			n_sent++;
		}
	}
}

void dispatch_run(struct controller *c)
{
	struct queue_bucket *b, *tmp;
	/* What nobody reads is not computed: the queue fills up instead, and says so. */
	if (host_level(c->host) == HOST_EASY)
		HASH_ITER (hh, c->queue.buckets, b, tmp)
			dispatch_bucket(c, b);
	models_advance(c);
	roster_step(c);
	admit_joined(c);
}
