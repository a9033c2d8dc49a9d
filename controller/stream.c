/* stream.c - order and ends of streams. Stop 26; next: host.c */
#include "controller/stream.h"
#include "protocol/jsonrpc.h"
#include "protocol/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stream *stream_find(struct streams *ss, const char *id)
{
	struct stream *s;
	HASH_FIND(hh, ss->by_id, id, strlen(id), s);
	return s;
}

struct stream *stream_find_call(struct streams *ss, struct json_span call_id)
{
	struct stream *s = NULL;
	if (call_id.at)
		HASH_FIND(hh_call, ss->by_call, call_id.at, call_id.n, s);
	return s;
}

struct stream *stream_reserve(struct streams *ss, const char *id)
{
	if (stream_find(ss, id))
		return NULL;
	struct stream *s = xcalloc(1, sizeof *s);
	s->id = xstrdup(id);
	s->worker = -1;
	HASH_ADD_KEYPTR(hh, ss->by_id, s->id, strlen(s->id), s);
	ss->n++;
	return s;
}

void stream_own(struct streams *ss, struct stream *s, struct call *call, struct json_span call_id)
{
	s->call = call;
	if (!call_id.at)
		return;
	s->call_id = xstrndup(call_id.at, call_id.n);
	s->n_call_id = call_id.n;
	HASH_ADD_KEYPTR(hh_call, ss->by_call, s->call_id, s->n_call_id, s);
}

void stream_free(struct streams *ss, struct stream *s)
{
	HASH_DELETE(hh, ss->by_id, s);
	if (s->call_id)
		HASH_DELETE(hh_call, ss->by_call, s);
	ss->n--;
	if (ss->ended)
		ss->ended(ss->arg, s);
	buf_release(&s->held);
	free(s->id);
	free(s->tokens);
	free(s->params_bytes);
	free(s->call_id);
	free(s);
}

/* The process id keeps apart the ids of two controllers whose output one host merges. */
void stream_make_id(struct streams *ss, char *out, size_t cap)
{
	do
		snprintf(out, cap, "stream-%d-%llu", (int)getpid(),
			(unsigned long long)++ss->n_made);
	while (stream_find(ss, out));
}

static void deliver(struct streams *ss, struct stream *s, const char *text, size_t n)
{
	if (s->is_open) {
		ss->write(ss->arg, text, n);
		return;
	}
	buf_add(&s->held, text, n);
	buf_addc(&s->held, '\n');
}

bool stream_pass(
	struct streams *ss, struct stream *s, enum stream_kind kind, const char *text, size_t n)
{
	if (s->has_ended || (s->has_stats && kind != STREAM_EVENT)) {
		ss->n_stray++;
		return false;
	}
	deliver(ss, s, text, n);
	s->has_stats = kind == STREAM_STATS;
	s->has_ended = kind == STREAM_EVENT;
	if (s->has_ended && s->is_open)
		stream_free(ss, s);
	return true;
}

bool stream_is_suspect(const struct stream *s)
{
	return s->deaths && s->n_tokens <= s->n_tokens_at_death && s->tells_progress;
}

void stream_note_token(struct stream *s, int64_t id, int64_t index)
{
	if (index < 0 || (uint64_t)index != s->n_tokens || id < 0 || id > INT32_MAX)
		s->is_unloggable = true;
	if (!s->is_unloggable) {
		if (s->n_tokens == s->cap_tokens) {
			s->cap_tokens = s->cap_tokens ? 2 * s->cap_tokens : 64;
			s->tokens = xreallocarray(s->tokens, s->cap_tokens, sizeof *s->tokens);
		}
		s->tokens[s->n_tokens] = (int32_t)id;
	}
	s->n_tokens++;
}

void stream_open(struct streams *ss, struct stream *s)
{
	s->is_open = true;
	const char *at = s->held.data, *end = at + s->held.n_bytes;
	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		ss->write(ss->arg, at, (size_t)(nl - at));
		at = nl + 1;
	}
	buf_release(&s->held);
	if (s->has_ended)
		stream_free(ss, s);
}

void stream_end(
	struct streams *ss, struct stream *s, const char *finish_reason, struct json_span error)
{
	static const char *const from[] = { "message", "code", "data" };
	static const char *const to[] = { "error", "code", "data" };
	struct buf params = BUF_INIT, text = BUF_INIT;
	s->has_failed = true;
	buf_addc(&params, '{');
	jout_key_cstr(&params, "stream_id", s->id);
	jout_key_cstr(&params, "event", error.at ? "error" : "completed");
	for (int i = 0; i < 3 && error.at; i++) {
		struct json_span v = json_find(error, from[i]);
		if (v.at)
			jout_key_raw(&params, to[i], v.at, v.n);
	}
	jout_key_cstr(&params, "finish_reason", error.at ? "error" : finish_reason);
	jout_key_bool(&params, "is_final", true);
	buf_addc(&params, '}');
	rpc_write_notification(&text, "stream.event", params.data, params.n_bytes);
	stream_pass(ss, s, STREAM_EVENT, text.data, text.n_bytes);
	buf_release(&params);
	buf_release(&text);
}
