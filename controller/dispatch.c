/* dispatch.c - frames to workers and their answers. Stop 8; next: peer.c */
#include "controller/dispatch.h"
#include "controller/batch.h"
#include "controller/clock.h"
#include "controller/replay.h"
#include "controller/route.h"
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
	struct call *calls[]; /* [n]; NULL = detached */
};

void dispatch_soon(struct controller *c)
{
	if (c->dispatch)
		event_active(c->dispatch, EV_TIMEOUT, 0);
}

/* -- answers ---------------------------------------------------------------------------- */

static void land(struct flight *fl, size_t i, enum answer a, struct json_span body)
{
	struct call *call = fl->calls[i];
	if (!call)
		return;
	fl->calls[i] = NULL;
	call->flight = NULL;
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
static void land_item(struct flight *fl, size_t i, struct json_span item)
{
	static const char *const from[] = { "error_code", "error", "error_data" };
	static const char *const to[] = { "code", "message", "data" };
	bool success = false;
	struct json_span result = json_find(item, "result");
	json_get_bool(json_find(item, "success"), &success);
	if (success && result.at) {
		land(fl, i, ANSWER_RESULT, result);
		return;
	}
	struct buf error = BUF_INIT;
	buf_addc(&error, '{');
	for (int k = 0; k < 3; k++) {
		struct json_span v = json_find(item, from[k]);
		if (v.at)
			jout_key_raw(&error, to[k], v.at, v.n);
	}
	buf_addc(&error, '}');
	land(fl, i, ANSWER_ERROR, (struct json_span) { error.data, error.n_bytes });
	buf_release(&error);
}

static void land_results(struct flight *fl, struct json_span result)
{
	struct json_cursor cursor = json_iterate(json_find(result, "results"));
	struct json_span item;
	size_t i = 0;
	while (i < fl->n && json_next_element(&cursor, &item))
		land_item(fl, i++, item);
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

static void on_reply(void *arg, const struct peer_reply *r)
{
	struct flight *fl = arg;
	struct worker *w = fl->worker;
	struct controller *c = w->c;
	uint64_t now = clock_us();
	histogram_add(&c->metrics.times[METRICS_FRAME], now - fl->sent_us);
	log_trace("dispatch", "frame %llu of %zu %s back from worker %d",
		(unsigned long long)fl->id, fl->n, fl->method->name, w->index);
	fl->bucket->in_flight[w->index]--;
	fl->bucket->n_in_flight--;
	if (fl->method->cls != METHOD_STREAM)
		w->n_calls -= fl->n;
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

static void board(struct flight *fl, struct queue_item **items)
{
	for (size_t i = 0; i < fl->n; i++) {
		struct call *call = call_of_item(items[i]);
		call->owner = CALL_IN_FLIGHT;
		call->flight = fl;
		call->flight_slot = i;
		fl->calls[i] = call;
		if (!call->stream)
			continue;
		call->stream->worker = fl->worker->index;
		fl->worker->n_streams++;
		/* From here the worker keeps the time: it can end a generate with what it has. */
		if (call->timer)
			event_free(call->timer);
		call->timer = NULL;
	}
	if (fl->method->cls != METHOD_STREAM)
		fl->worker->n_calls += fl->n;
}

static void send_frame(
	struct worker *w, struct queue_bucket *b, struct queue_item **items, size_t n)
{
	struct controller *c = w->c;
	struct flight *fl = xcalloc(1, sizeof *fl + n * sizeof fl->calls[0]);
	struct buf params = BUF_INIT;
	fl->worker = w;
	fl->bucket = b;
	fl->method = b->method;
	fl->n = n;
	fl->sent_us = w->last_us = clock_us();
	board(fl, items);
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

/* A stream that was lost with a worker and has not got further yet at this one. */
static bool has_unproven_stream(const struct worker *w)
{
	const struct stream *s;
	for (s = w->c->streams.by_id; s; s = s->hh.next)
		if (s->worker == w->index && stream_is_suspect(s))
			return true;
	return false;
}

static struct batch_caps allowance(
	const struct worker *w, const struct queue_bucket *b, uint64_t now)
{
	const struct method *m = b->method;
	size_t most = w->c->opt->streams, room = BATCH_CALLS;
	if (m->cls == METHOD_STREAM)
		room = w->n_streams < most ? most - w->n_streams : 0;
	if (m->cls == METHOD_STREAM && b->is_suspect && has_unproven_stream(w))
		room = 0;
	struct batch_view v = {
		.gathers = b->gathers,
		.is_suspect = b->is_suspect,
		.n_waiting = b->n_calls,
		.n_in_flight = b->in_flight[w->index],
		.oldest_wait_us = now - queue_oldest(b),
		.room = room,
	};
	return batch_allow(&v);
}

/* The worker the bucket's next frame goes to, and what may go; NULL = nobody now. */
static struct worker *choose(
	struct controller *c, const struct queue_bucket *b, uint64_t now, struct batch_caps *caps)
{
	struct route_candidate candidates[OPTIONS_WORKERS_MAX];
	struct batch_caps allowed[OPTIONS_WORKERS_MAX];
	const struct model *model = models_find(&c->models, b->model);
	const struct model *beside = b->beside ? models_find(&c->models, b->beside) : NULL;
	size_t n = 0;
	for (int i = 0; model && i < c->fleet.n; i++) {
		struct worker *w = &c->fleet.workers[i];
		if (!worker_is_ready(w) || !model_is_at(model, i))
			continue;
		allowed[n] = allowance(w, b, now);
		if (allowed[n].n_calls == 0)
			continue;
		candidates[n++] = (struct route_candidate) { i, w->n_calls + w->n_streams,
			w->last_us, beside && !model_is_at(beside, i) };
	}
	int at = route_pick(candidates, n);
	if (at < 0)
		return NULL;
	*caps = allowed[at];
	/* A burst is spread over the idle workers instead of filling one. */
	size_t share = route_share(candidates, n, (size_t)at, b->n_calls);
	if (caps->n_calls > share)
		caps->n_calls = share;
	return &c->fleet.workers[candidates[at].worker];
}

static void dispatch_bucket(struct controller *c, struct queue_bucket *b)
{
	while (b->n_calls > 0) {
		struct queue_item *items[BATCH_CALLS];
		struct batch_caps caps;
		uint64_t now = clock_us();
		struct worker *w = choose(c, b, now, &caps);
		if (!w)
			return;
		size_t n = queue_pop(&c->queue, b, items, &caps, now);
		send_frame(w, b, items, n);
	}
}

void dispatch_run(struct controller *c)
{
	struct queue_bucket *b, *tmp;
	HASH_ITER (hh, c->queue.buckets, b, tmp)
		dispatch_bucket(c, b);
	models_advance(c);
}
