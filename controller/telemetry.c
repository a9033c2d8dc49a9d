/* telemetry.c - gathering and telling figures. */
#include "controller/telemetry.h"
#include "controller/clock.h"
#include "controller/view.h"
#include "protocol/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_US 500000

/* One call and the workers' replies to it. Each share holds it alive, since a reply may
 * come after the call was answered. */
struct survey {
	struct controller *c;
	struct call *call; /* NULL once answered */
	struct event *timer;
	size_t n_left;
	struct buf told[OPTIONS_WORKERS_MAX]; /* JSON by worker; empty = has not told */
};

struct share {
	struct survey *survey;
	int worker;
};

/* -- Prometheus ------------------------------------------------------------------------- */

#define PER_WORKER 5

struct gauges {
	struct metrics_gauge list[7 + PER_WORKER * OPTIONS_WORKERS_MAX];
	size_t n;
	char labels[OPTIONS_WORKERS_MAX][32];
};

static void add(struct gauges *g, const char *name, const char *labels, double value)
{
	g->list[g->n++] = (struct metrics_gauge) { name, labels, value };
}

static void collect(const struct controller *c, struct gauges *g)
{
	static const char *const names[PER_WORKER] = { "worker_up", "worker_restarts",
		"worker_inflight", "worker_rss_bytes", "worker_breaker_open" };
	g->n = 0;
	add(g, "queued_calls", "", (double)c->queue.n_calls);
	add(g, "queued_bytes", "", (double)c->queue.n_bytes);
	add(g, "active_streams", "", (double)c->streams.n);
	add(g, "output_queued_bytes", "", (double)host_queued(c->host));
	add(g, "retry_budget", "", retry_left(&c->retry, clock_us()));
	add(g, "kept_answers", "", (double)c->once.n_kept);
	add(g, "kept_answer_bytes", "", (double)c->once.n_bytes);
	for (int k = 0; k < PER_WORKER; k++)
		for (int i = 0; i < c->fleet.n; i++) {
			const struct worker *w = &c->fleet.workers[i];
			double values[PER_WORKER] = { worker_is_ready(w), w->sup.restarts,
				(double)view_inflight(w), (double)view_read_memory(w->pid).rss,
				breaker_state(&w->breaker, clock_us()) == BREAKER_OPEN };
			snprintf(g->labels[i], sizeof g->labels[i], "worker=\"%d\"", i);
			add(g, names[k], g->labels[i], values[k]);
		}
}

/* A name of a worker's counter becomes part of a metric's name: letters, digits, _ only. */
static bool is_metric_name(const char *s)
{
	return *s && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(s);
}

static void expose_counters(const struct survey *s, int worker, struct buf *text)
{
	struct json_span told = { s->told[worker].data, s->told[worker].n_bytes };
	struct json_cursor cursor = json_iterate(json_find(told, "counters"));
	struct json_span key, value;
	char name[64];
	while (json_next_member(&cursor, &key, &value)) {
		double v;
		if (json_copy_str(key, name, sizeof name) && is_metric_name(name) &&
			json_get_num(value, &v))
			buf_addf(text, "tandem_worker_%s_total{worker=\"%d\"} %.17g\n", name,
				worker, v);
	}
}

static void write_prometheus(const struct survey *s, struct buf *out)
{
	struct gauges g;
	struct buf text = BUF_INIT;
	collect(s->c, &g);
	metrics_write_prometheus(&s->c->metrics, g.list, g.n, &text);
	for (int i = 0; i < s->c->fleet.n; i++)
		if (s->told[i].n_bytes)
			expose_counters(s, i, &text);
	buf_addc(out, '{');
	jout_key_cstr(out, "content_type", "text/plain; version=0.0.4");
	jout_key_str(out, "text", text.data, text.n_bytes);
	buf_addc(out, '}');
	buf_release(&text);
}

/* -- JSON ------------------------------------------------------------------------------- */

static uint64_t garbage(const struct controller *c)
{
	uint64_t n = c->streams.n_stray;
	for (int i = 0; i < c->fleet.n; i++)
		if (c->fleet.workers[i].peer)
			n += peer_garbage(c->fleet.workers[i].peer);
	return n;
}

static void write_json(const struct survey *s, struct buf *out)
{
	const struct controller *c = s->c;
	buf_addc(out, '{');
	jout_key_num(out, "uptime", (double)(clock_us() - c->started_us) / 1e6);
	metrics_write_json(&c->metrics, out);
	jout_key_int(out, "queued_calls", (int64_t)c->queue.n_calls);
	jout_key_int(out, "queued_bytes", (int64_t)c->queue.n_bytes);
	jout_key_int(out, "active_streams", (int64_t)c->streams.n);
	jout_key_int(out, "output_queued_bytes", (int64_t)host_queued(c->host));
	jout_key_num(out, "retry_budget", retry_left(&c->retry, clock_us()));
	jout_key_int(out, "kept_answers", (int64_t)c->once.n_kept);
	jout_key_int(out, "kept_answer_bytes", (int64_t)c->once.n_bytes);
	jout_key_int(out, "worker_garbage", (int64_t)garbage(c));
	view_write_workers(c, out, s->told);
	buf_addc(out, '}');
}

/* -- the survey ------------------------------------------------------------------------- */

static void answer(struct survey *s)
{
	struct buf out = BUF_INIT;
	struct call *call = s->call;
	if (json_str_is(json_find(call->params, "format"), "prometheus"))
		write_prometheus(s, &out);
	else
		write_json(s, &out);
	s->call = NULL;
	event_free(s->timer);
	registry_finish(
		s->c->registry, call, ANSWER_RESULT, (struct json_span) { out.data, out.n_bytes });
	buf_release(&out);
}

/* The last share, or the call itself when there is none. */
static void let_go(struct survey *s)
{
	if (--s->n_left > 0)
		return;
	if (s->call)
		answer(s);
	for (int i = 0; i < OPTIONS_WORKERS_MAX; i++)
		buf_release(&s->told[i]);
	free(s);
}

static void on_share(void *arg, const struct peer_reply *r)
{
	struct share *share = arg;
	struct survey *s = share->survey;
	if (r->outcome == PEER_RESULT)
		buf_add(&s->told[share->worker], r->body.at, r->body.n);
	free(share);
	let_go(s);
}

static void on_impatient(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	answer(arg);
}

void telemetry_answer(struct controller *c, struct call *call)
{
	struct survey *s = xcalloc(1, sizeof *s);
	struct timeval tv = { 0, PATIENCE_US };
	call->owner = CALL_HELD;
	s->c = c;
	s->call = call;
	s->n_left = 1;
	s->timer = evtimer_new(c->base, on_impatient, s);
	event_add(s->timer, &tv);
	for (int i = 0; i < c->fleet.n; i++) {
		struct worker *w = &c->fleet.workers[i];
		if (!worker_is_ready(w))
			continue;
		struct share *share = xcalloc(1, sizeof *share);
		*share = (struct share) { s, i };
		s->n_left++;
		peer_call(w->peer, "runtime/telemetry", (struct json_span) { NULL, 0 }, on_share,
			share);
	}
	let_go(s);
}
