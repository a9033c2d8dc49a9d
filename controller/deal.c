/* deal.c - who gets which of the waiting calls, for dispatch.c. */
#include "controller/deal.h"
#include "controller/affinity.h"
#include "controller/clock.h"
#include "controller/route.h"

/* The workers that may have calls of the bucket, and what each may take in this round. */
struct table {
	struct route_candidate seats[OPTIONS_WORKERS_MAX];
	uint64_t now;
	struct batch_caps caps[OPTIONS_WORKERS_MAX];
	size_t n_bytes[OPTIONS_WORKERS_MAX]; /* dealt */
	size_t n;
};

/* A stream that was lost with a worker and has not got further yet at this one. */
static bool has_unproven_stream(const struct worker *w)
{
	const struct stream *s;
	for (s = w->c->streams.by_id; s; s = s->hh.next)
		if (s->worker == w->index && stream_is_suspect(s))
			return true;
	return false;
}

/* Streams it may still take; for any other call there is no such bound. */
static size_t room(const struct worker *w, const struct queue_bucket *b)
{
	const struct method *m = b->method;
	size_t most = w->c->opt->streams;
	if (m->cls != METHOD_STREAM)
		return BATCH_CALLS;
	if (w->n_streams >= most || (b->is_suspect && has_unproven_stream(w)))
		return 0;
	return most - w->n_streams;
}

/* Half open, one call (n_dealt counts those of this round) shows whether it works again. */
static bool is_tripped(const struct worker *w, size_t n_dealt, uint64_t now)
{
	enum breaker_state s = breaker_state(&w->breaker, now);
	size_t n = w->n_calls + w->n_streams + n_dealt;
	return s == BREAKER_OPEN || (s == BREAKER_HALF_OPEN && n > 0);
}

static void seat(struct table *t, const struct worker *w, const struct queue_bucket *b, bool misses)
{
	struct batch_view v = {
		.gathers = b->gathers,
		.is_suspect = b->is_suspect,
		.n_waiting = b->n_calls,
		.n_in_flight = b->in_flight[w->index],
		.oldest_wait_us = t->now - queue_oldest(b),
		.room = room(w, b),
	};
	if (v.room == 0)
		return;
	t->caps[t->n] = batch_allow(&v);
	t->n_bytes[t->n] = 0;
	t->seats[t->n++] = (struct route_candidate) { .worker = w->index,
		.n_tokens = w->n_tokens,
		.n_missing = misses,
		.is_tripped = is_tripped(w, 0, t->now),
		.last_us = w->last_us };
}

/* A stream is asked about at its worker. While that takes no calls, any other may say that it has
 * no such stream. */
static bool is_elsewhere(
	const struct controller *c, const struct queue_bucket *b, const struct model *model, int i)
{
	return b->worker >= 0 && b->worker < c->fleet.n && i != b->worker &&
	       worker_is_ready(&c->fleet.workers[b->worker]) && model_is_at(model, b->worker);
}

static void set_table(struct table *t, struct controller *c, const struct queue_bucket *b)
{
	const struct model *model = models_find(&c->models, b->model);
	const struct model *beside = b->beside ? models_find(&c->models, b->beside) : NULL;
	t->n = 0;
	for (int i = 0; model && i < c->fleet.n; i++) {
		const struct worker *w = &c->fleet.workers[i];
		if (worker_is_ready(w) && model_is_at(model, i) && !is_elsewhere(c, b, model, i))
			seat(t, w, b, beside && !model_is_at(beside, i));
	}
}

static struct affinity_prompt read_prompt(const struct queue_bucket *b, const struct call *call)
{
	struct affinity_prompt p = { .n = 0 };
	if (call->stream)
		affinity_read(&p, b->model, call->params);
	return p;
}

static void weigh(struct table *t, const struct controller *c, const struct hand *hands,
	const struct queue_item *it, const struct affinity_prompt *p)
{
	for (size_t i = 0; i < t->n; i++) {
		struct route_candidate *s = &t->seats[i];
		size_t left =
			t->caps[i].n_bytes > t->n_bytes[i] ? t->caps[i].n_bytes - t->n_bytes[i] : 0;
		s->is_given = hands[i].n > 0;
		s->has_room =
			hands[i].n < t->caps[i].n_calls && (hands[i].n == 0 || it->n_bytes <= left);
		s->n_prefix = affinity_match(c->affinity, p, s->worker);
	}
}

size_t deal_round(struct controller *c, struct queue_bucket *b, struct hand *hands)
{
	static const struct batch_caps one = { 1, SIZE_MAX };
	struct table t;
	t.now = clock_us();
	set_table(&t, c, b);
	for (size_t i = 0; i < t.n; i++) {
		hands[i].worker = &c->fleet.workers[t.seats[i].worker];
		hands[i].n = 0;
	}
	while (b->n_calls > 0) {
		struct queue_item *it = queue_peek(b);
		struct affinity_prompt p = { .n = 0 };
		if (t.n > 1)
			p = read_prompt(b, call_of_item(it));
		weigh(&t, c, hands, it, &p);
		int at = route_deal(t.seats, t.n);
		if (at < 0)
			break;
		queue_pop(&c->queue, b, &hands[at].items[hands[at].n++], &one, t.now);
		t.n_bytes[at] += it->n_bytes;
		t.seats[at].n_tokens += it->n_tokens;
		t.seats[at].is_tripped = is_tripped(hands[at].worker, hands[at].n, t.now);
		affinity_note(c->affinity, &p, t.seats[at].worker);
	}
	return t.n;
}
