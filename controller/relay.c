/* relay.c - what workers say unasked. Stop 25; next: stream.c */
#include "controller/relay.h"
#include "controller/clock.h"
#include "controller/dispatch.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include <string.h>

/* Tokens in one stream.chunk: a batched one says how many. */
static size_t tokens_of(struct json_span params)
{
	int64_t n = 1;
	struct json_span size = json_find(params, "batch_size");
	if (size.at && (!json_get_int(size, &n) || n < 0))
		n = 1;
	return (size_t)n;
}

static void note_chunk(struct controller *c, struct stream *s, struct json_span params)
{
	struct metrics *m = &c->metrics;
	uint64_t now = clock_us();
	size_t n = tokens_of(params);
	if (!s->last_us)
		histogram_add(&m->times[METRICS_FIRST_TOKEN], now - s->arrived_us);
	else if (n > 0)
		histogram_add(&m->times[METRICS_INTER_TOKEN], (now - s->last_us) / n);
	s->last_us = now;
	s->n_tokens += n;
	m->counts[METRICS_TOKENS_OUT] += n;
}

static void note_stats(struct controller *c, struct json_span params)
{
	static const struct {
		const char *name;
		enum metrics_count count;
	} members[] = {
		{ "prompt_tokens", METRICS_TOKENS_IN },
		{ "cached_tokens", METRICS_TOKENS_CACHED },
		{ "draft_tokens", METRICS_TOKENS_DRAFTED },
		{ "accepted_draft_tokens", METRICS_TOKENS_ACCEPTED },
	};
	struct json_span usage = json_find(params, "usage");
	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		int64_t n;
		if (json_get_int(json_find(usage, members[i].name), &n) && n > 0)
			c->metrics.counts[members[i].count] += (uint64_t)n;
	}
}

static bool kind_of(const char *method, enum stream_kind *kind)
{
	static const char *const names[] = { "stream.chunk", "stream.stats", "stream.event" };
	for (int i = 0; i < 3; i++) {
		if (strcmp(method, names[i]) != 0)
			continue;
		*kind = (enum stream_kind)i;
		return true;
	}
	return false;
}

static void relay_stream(
	struct worker *w, enum stream_kind kind, struct json_span params, struct json_span whole)
{
	struct controller *c = w->c;
	char id[4 * LIMIT_STREAM_ID + 1];
	struct stream *s = NULL;
	if (json_copy_str(json_find(params, "stream_id"), id, sizeof id))
		s = stream_find(&c->streams, id);
	/* Another worker's stream is none of its business. */
	if (!s || s->worker != w->index) {
		c->streams.n_stray++;
		return;
	}
	log_trace("relay", "worker %d: stream %s, kind %d", w->index, id, (int)kind);
	if (kind == STREAM_CHUNK && !s->has_stats)
		note_chunk(c, s, params);
	else if (kind == STREAM_STATS && !s->has_stats)
		note_stats(c, params);
	else if (kind == STREAM_EVENT && json_str_is(json_find(params, "event"), "error"))
		c->metrics.counts[METRICS_STREAMS_FAILED]++;
	stream_pass(&c->streams, s, kind, whole.at, whole.n);
}

void relay_notification(struct worker *w, const struct rpc_msg *m, const char *text, size_t n)
{
	enum stream_kind kind;
	if (kind_of(m->method, &kind))
		relay_stream(w, kind, m->params, (struct json_span) { text, n });
	else if (!strcmp(m->method, "$/progress") || !strcmp(m->method, "notifications/progress"))
		host_write(w->c->host, text, n);
	else
		log_debug("worker %d sent %s, which nobody asked for", w->index, m->method);
}

void relay_worker_lost(struct worker *w)
{
	struct controller *c = w->c;
	struct buf error = BUF_INIT;
	struct stream *s, *tmp;
	HASH_ITER (hh, c->streams.by_id, s, tmp) {
		if (s->worker != w->index || s->has_ended)
			continue;
		buf_clear(&error);
		worker_write_crash(
			w, s->n_tokens ? "decode" : "prefill", (int64_t)s->n_tokens, &error);
		c->metrics.counts[METRICS_STREAMS_FAILED]++;
		stream_end(&c->streams, s, NULL, (struct json_span) { error.data, error.n_bytes });
	}
	buf_release(&error);
}

void relay_stream_ended(void *arg, struct stream *s)
{
	struct controller *c = arg;
	struct worker *w = fleet_worker(&c->fleet, s->worker);
	if (w)
		w->n_streams--;
	dispatch_soon(c);
}
