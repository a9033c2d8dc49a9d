/* relay.c - what workers say unasked. Stop 25; next: stream.c */
#include "controller/relay.h"
#include "controller/clock.h"
#include "controller/dispatch.h"
#include "controller/flow.h"
#include "controller/load.h"
#include "controller/progress.h"
#include "controller/splice.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include <string.h>

static void note_token(struct stream *s, struct json_span token)
{
	struct stream_token t = { .id = -1, .index = -1 };
	json_get_int(json_find(token, "token_id"), &t.id);
	json_get_int(json_find(token, "index"), &t.index);
	json_get_int(json_find(token, "choice"), &t.choice);
	stream_note_token(s, &t);
}

/* Returns how many tokens the chunk holds. */
static size_t note_tokens(struct stream *s, struct json_span params)
{
	struct json_span tokens = json_find(params, "tokens"), token;
	size_t before = s->n_tokens;
	if (json_kind(tokens) == '[') {
		struct json_cursor cursor = json_iterate(tokens);
		while (json_next_element(&cursor, &token))
			note_token(s, token);
	} else {
		note_token(s, params);
	}
	return s->n_tokens - before;
}

static void note_chunk(struct worker *w, struct stream *s, struct json_span params)
{
	struct controller *c = w->c;
	struct metrics *m = &c->metrics;
	uint64_t now = clock_us();
	bool was_suspect = stream_is_suspect(s);
	size_t n = note_tokens(s, params);
	load_advance(w, s, n);
	if (was_suspect)
		dispatch_soon(c); /* the next one's turn */
	if (!s->first_us)
		s->first_us = now;
	if (!s->last_us)
		histogram_add(&m->times[METRICS_FIRST_TOKEN], now - s->arrived_us);
	else if (n > 0)
		histogram_add(&m->times[METRICS_INTER_TOKEN], (now - s->last_us) / n);
	s->last_us = now;
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

static void note_event(struct controller *c, struct stream *s, struct json_span params)
{
	const bool is_error = json_str_is(json_find(params, "event"), "error");
	s->has_failed = is_error || once_is_cut_short(params);
	c->metrics.counts[METRICS_STREAMS_FAILED] += is_error;
}

/* A worker that went on with a stream knows only its own part of the times. */
static void pass_continued_stats(struct controller *c, struct stream *s, struct json_span params)
{
	static const char *const ours[] = { "time_to_first_token", "total_time",
		"tokens_per_second", "replays", NULL };
	struct buf told = BUF_INIT, text = BUF_INIT;
	double total = (double)(clock_us() - s->arrived_us) / 1e6;
	double first = s->first_us ? (double)(s->first_us - s->arrived_us) / 1e6 : total;
	splice_without(&told, params, ours);
	jout_key_fixed(&told, "time_to_first_token", first, 6);
	jout_key_fixed(&told, "total_time", total, 6);
	jout_key_fixed(&told, "tokens_per_second",
		s->n_tokens > 1 && total > first ? (double)(s->n_tokens - 1) / (total - first) : 0,
		3);
	jout_key_int(&told, "replays", s->n_replays);
	buf_addc(&told, '}');
	rpc_write_notification(&text, "stream.stats", told.data, told.n_bytes);
	stream_pass(&c->streams, s, STREAM_STATS, text.data, text.n_bytes);
	buf_release(&told);
	buf_release(&text);
}

static bool kind_of(const char *method, enum stream_kind *kind)
{
	static const struct {
		const char *name;
		enum stream_kind kind;
	} methods[] = { { "stream.chunk", STREAM_CHUNK }, { "stream.stats", STREAM_STATS },
		{ "stream.event", STREAM_EVENT } };
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		if (strcmp(method, methods[i].name) != 0)
			continue;
		*kind = methods[i].kind;
		return true;
	}
	return false;
}

static bool is_tail(struct json_span chunk)
{
	bool is = false;
	json_get_bool(json_find(chunk, "is_tail"), &is);
	return is;
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
	if (kind == STREAM_CHUNK && is_tail(params))
		kind = STREAM_TAIL;
	if (kind == STREAM_CHUNK && !s->has_tail && !s->has_stats)
		note_chunk(w, s, params);
	else if (kind == STREAM_STATS && !s->has_stats)
		note_stats(c, params);
	else if (kind == STREAM_EVENT)
		note_event(c, s, params);
	if (kind == STREAM_STATS && s->n_replays)
		pass_continued_stats(c, s, params);
	else
		stream_pass(&c->streams, s, kind, whole.at, whole.n);
	if (kind == STREAM_CHUNK)
		flow_passed(c, s);
}

static void relay_progress(
	struct controller *c, bool is_lsp, struct json_span params, struct json_span whole)
{
	if (progress_is_news(c->registry, is_lsp, params))
		host_write(c->host, whole.at, whole.n);
}

void relay_notification(struct worker *w, const struct rpc_msg *m, const char *text, size_t n)
{
	enum stream_kind kind;
	const bool is_lsp = !strcmp(m->method, "$/progress");
	if (kind_of(m->method, &kind))
		relay_stream(w, kind, m->params, (struct json_span) { text, n });
	else if (is_lsp || !strcmp(m->method, "notifications/progress"))
		relay_progress(w->c, is_lsp, m->params, (struct json_span) { text, n });
	else
		log_debug("worker %d sent %s, which nobody asked for", w->index, m->method);
}

void relay_stream_ended(void *arg, struct stream *s)
{
	struct controller *c = arg;
	load_drop_stream(c, s);
	if (s->continuation)
		s->continuation->stream = NULL;
	if (s->has_failed)
		once_stream_failed(&c->once, s->id);
	flow_forget(c, s);
	dispatch_soon(c);
}
