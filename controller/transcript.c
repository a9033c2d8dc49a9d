/* transcript.c - answers by id, tokens by stream. */
#include "controller/transcript.h"
#include "protocol/jsonrpc.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>

/* -- finding ---------------------------------------------------------------------------- */

const struct told_answer *transcript_answer(
	const struct transcript *t, struct json_span id, size_t n)
{
	struct told_answer *a;
	char *key = xasprintf("%.*s#%zu", (int)id.n, id.at, n);
	HASH_FIND_STR(t->answers, key, a);
	free(key);
	return a;
}

size_t transcript_count(const struct transcript *t, struct json_span id)
{
	const struct told_answer *first = transcript_answer(t, id, 0);
	return first ? first->n_alike : 0;
}

const struct told_stream *transcript_stream(const struct transcript *t, struct json_span id)
{
	struct told_stream *s = NULL;
	if (id.at)
		HASH_FIND(hh, t->streams, id.at, id.n, s);
	return s;
}

/* -- adding ----------------------------------------------------------------------------- */

static struct told_stream *get_stream(struct transcript *t, struct json_span id)
{
	struct told_stream *s = NULL;
	HASH_FIND(hh, t->streams, id.at, id.n, s);
	if (s)
		return s;
	s = xcalloc(1, sizeof *s);
	s->id = xstrndup(id.at, id.n);
	HASH_ADD_KEYPTR(hh, t->streams, s->id, id.n, s);
	return s;
}

static void add_token(struct told_stream *s, struct json_span token)
{
	struct json_span id = json_find(token, "token_id"), index = json_find(token, "index");
	json_get_str(json_find(token, "token"), &s->text);
	if (json_find(token, "is_tail").at)
		return;
	buf_add(&s->tokens, id.at, id.n);
	buf_addc(&s->tokens, '@');
	buf_add(&s->tokens, index.at, index.n);
	buf_addc(&s->tokens, ' ');
	s->n_tokens++;
}

static void add_chunk(struct told_stream *s, struct json_span params)
{
	struct json_span tokens = json_find(params, "tokens"), token;
	if (json_kind(tokens) != '[') {
		add_token(s, params);
		return;
	}
	struct json_cursor c = json_iterate(tokens);
	while (json_next_element(&c, &token))
		add_token(s, token);
}

static void add_notification(struct transcript *t, const struct rpc_msg *m)
{
	struct json_span id = json_find(m->params, "stream_id");
	if (!id.at)
		return;
	struct told_stream *s = get_stream(t, id);
	if (!strcmp(m->method, "stream.chunk")) {
		add_chunk(s, m->params);
	} else if (!strcmp(m->method, "stream.event") && !s->event) {
		s->event = xstrndup(m->params.at, m->params.n);
		s->event_params = (struct json_span) { s->event, m->params.n };
	}
}

static void add_answer(struct transcript *t, const struct rpc_msg *m)
{
	struct told_answer *a = xcalloc(1, sizeof *a), *first;
	struct json_span body = m->kind == RPC_RESULT ? m->result : m->error;
	a->bytes = xstrndup(body.at, body.n);
	body.at = a->bytes;
	if (m->kind == RPC_RESULT)
		a->result = body;
	else
		a->error = body;
	char *first_key = xasprintf("%.*s#0", (int)m->id.n, m->id.at);
	HASH_FIND_STR(t->answers, first_key, first);
	free(first_key);
	if (!first)
		first = a;
	a->key = xasprintf("%.*s#%zu", (int)m->id.n, m->id.at, first->n_alike++);
	HASH_ADD_KEYPTR(hh, t->answers, a->key, strlen(a->key), a);
}

void transcript_add(struct transcript *t, struct json_span frame)
{
	struct rpc_msg m;
	if (json_kind(frame) == '[') {
		struct json_cursor c = json_iterate(frame);
		struct json_span one;
		while (json_next_element(&c, &one))
			transcript_add(t, one);
		return;
	}
	rpc_parse(frame, &m);
	if (m.kind == RPC_NOTIFICATION)
		add_notification(t, &m);
	else if (m.kind == RPC_RESULT || m.kind == RPC_ERROR)
		add_answer(t, &m);
}

void transcript_release(struct transcript *t)
{
	struct told_answer *a, *next_a;
	struct told_stream *s, *next_s;
	HASH_ITER (hh, t->answers, a, next_a) {
		HASH_DEL(t->answers, a);
		free(a->key);
		free(a->bytes);
		free(a);
	}
	HASH_ITER (hh, t->streams, s, next_s) {
		HASH_DEL(t->streams, s);
		buf_release(&s->text);
		buf_release(&s->tokens);
		free(s->id);
		free(s->event);
		free(s);
	}
}

/* -- how far ---------------------------------------------------------------------------- */

bool transcript_is_level(
	const struct transcript *t, const struct transcript *than, struct json_span frame)
{
	struct rpc_msg m;
	if (json_kind(frame) == '[') {
		struct json_cursor c = json_iterate(frame);
		struct json_span one;
		while (json_next_element(&c, &one))
			if (!transcript_is_level(t, than, one))
				return false;
		return true;
	}
	rpc_parse(frame, &m);
	if (m.kind == RPC_RESULT || m.kind == RPC_ERROR)
		return transcript_count(t, m.id) >= transcript_count(than, m.id);
	struct json_span id = json_find(m.params, "stream_id");
	const struct told_stream *ours = transcript_stream(t, id),
				 *theirs = transcript_stream(than, id);
	if (m.kind != RPC_NOTIFICATION || !theirs)
		return true;
	return ours && (ours->event || (!theirs->event && ours->n_tokens >= theirs->n_tokens));
}
