/* stream.c - order and ends of streams. Stop 26; next: host.c */
#include "controller/stream.h"
#include "protocol/jsonrpc.h"
#include "protocol/mem.h"
#include <assert.h>
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
	struct stream_caller *caller = NULL;
	if (call_id.at)
		HASH_FIND(hh, ss->by_call, call_id.at, call_id.n, caller);
	return caller ? caller->stream : NULL;
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

/* -- callers ---------------------------------------------------------------------------- */

static void forget(struct streams *ss, struct stream_caller **at)
{
	struct stream_caller *caller = *at;
	assert(ss->by_call);
	HASH_DEL(ss->by_call, caller);
	*at = caller->next;
	free(caller->id);
	free(caller);
}

static void forget_all(struct streams *ss, struct stream *s)
{
	while (s->callers)
		forget(ss, &s->callers);
	s->n_callers = 0;
}

void stream_join(struct streams *ss, struct stream *s, struct json_span call_id)
{
	size_t n_known = 0;
	struct stream_caller **at = &s->callers;
	for (; *at; at = &(*at)->next)
		n_known++;
	s->n_callers++;
	if (!call_id.at || n_known == STREAM_CALLERS)
		return;
	struct stream_caller *caller = xcalloc(1, sizeof *caller);
	caller->id = xstrndup(call_id.at, call_id.n);
	caller->n_id = call_id.n;
	caller->stream = s;
	*at = caller;
	HASH_ADD_KEYPTR(hh, ss->by_call, caller->id, caller->n_id, caller);
}

void stream_own(struct streams *ss, struct stream *s, struct call *call, struct json_span call_id)
{
	forget_all(ss, s);
	s->call = call;
	stream_join(ss, s, call_id);
}

bool stream_leave(struct streams *ss, struct stream *s, struct json_span call_id)
{
	struct stream_caller **at = &s->callers;
	if (s->n_callers < 2)
		return false;
	while (*at && ((*at)->n_id != call_id.n || memcmp((*at)->id, call_id.at, call_id.n) != 0))
		at = &(*at)->next;
	if (*at)
		forget(ss, at);
	s->n_callers--;
	return true;
}

struct json_span stream_call_id(const struct stream *s)
{
	const struct stream_caller *first = s->callers;
	return (struct json_span) { first ? first->id : NULL, first ? first->n_id : 0 };
}

/* -- life ------------------------------------------------------------------------------- */

void stream_free(struct streams *ss, struct stream *s)
{
	HASH_DELETE(hh, ss->by_id, s);
	forget_all(ss, s);
	ss->n--;
	if (ss->ended)
		ss->ended(ss->arg, s);
	buf_release(&s->held);
	buf_release(&s->ending);
	free(s->id);
	free(s->tokens);
	free(s->choices);
	free(s->params_bytes);
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

/* Messages that lie in b, one after the other, and nothing of them there. */
static void deliver_all(struct streams *ss, struct stream *s, struct buf *b)
{
	const char *at = b->data, *end = at + b->n_bytes;
	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		deliver(ss, s, at, (size_t)(nl - at));
		at = nl + 1;
	}
	buf_release(b);
}

static bool is_in_order(const struct stream *s, enum stream_kind kind)
{
	if (s->has_ended)
		return false;
	switch (kind) {
	case STREAM_CHUNK: return !s->has_tail && !s->has_stats;
	case STREAM_TAIL:
	case STREAM_STATS: return !s->has_stats;
	case STREAM_EVENT: break;
	}
	return true;
}

bool stream_pass(
	struct streams *ss, struct stream *s, enum stream_kind kind, const char *text, size_t n)
{
	if (!is_in_order(s, kind)) {
		ss->n_stray++;
		return false;
	}
	switch (kind) {
	case STREAM_CHUNK: deliver(ss, s, text, n); return true;
	case STREAM_TAIL:
	case STREAM_STATS:
		buf_add(&s->ending, text, n);
		buf_addc(&s->ending, '\n');
		s->has_tail = s->has_tail || kind == STREAM_TAIL;
		s->has_stats = kind == STREAM_STATS;
		return true;
	case STREAM_EVENT: break;
	}
	deliver_all(ss, s, &s->ending);
	deliver(ss, s, text, n);
	s->has_ended = true;
	if (s->is_open)
		stream_free(ss, s);
	return true;
}

void stream_rewind(struct stream *s)
{
	buf_release(&s->ending);
	s->has_tail = s->has_stats = false;
}

bool stream_is_suspect(const struct stream *s)
{
	return s->deaths && s->n_tokens <= s->n_tokens_at_death && s->tells_progress;
}

void stream_resume(struct stream *s, struct json_span tokens, struct json_span choices)
{
	struct json_cursor c = json_iterate(tokens), d = json_iterate(choices);
	struct json_span token, choice;
	while (json_kind(tokens) == '[' && json_next_element(&c, &token)) {
		int64_t i = 0;
		if (json_kind(choices) == '[' && json_next_element(&d, &choice))
			json_get_int(choice, &i);
		s->n_by_choice[i > 0 && i < LIMIT_N ? i : 0]++;
		s->n_before++;
	}
}

static void log_token(struct stream *s, int32_t id, uint8_t choice)
{
	if (s->n_tokens == s->cap_tokens) {
		s->cap_tokens = s->cap_tokens ? 2 * s->cap_tokens : 64;
		s->tokens = xreallocarray(s->tokens, s->cap_tokens, sizeof *s->tokens);
		if (s->choices)
			s->choices = xreallocarray(s->choices, s->cap_tokens, 1);
	}
	if (choice && !s->choices)
		s->choices = xcalloc(s->cap_tokens, 1);
	s->tokens[s->n_tokens] = id;
	if (s->choices)
		s->choices[s->n_tokens] = choice;
}

void stream_note_token(struct stream *s, const struct stream_token *t)
{
	if (t->choice < 0 || t->choice >= LIMIT_N || t->index < 0 ||
		(uint64_t)t->index != s->n_by_choice[t->choice] || t->id < 0 || t->id > INT32_MAX)
		s->is_unloggable = true;
	if (!s->is_unloggable) {
		s->n_by_choice[t->choice]++;
		log_token(s, (int32_t)t->id, (uint8_t)t->choice);
	}
	s->n_tokens++;
}

void stream_open(struct streams *ss, struct stream *s)
{
	s->is_open = true;
	deliver_all(ss, s, &s->held);
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
