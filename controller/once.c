/* once.c - the answers behind idempotency keys. */
#include "controller/once.h"
#include "controller/stream.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void once_init(struct once *o)
{
	memset(o, 0, sizeof *o);
	TAILQ_INIT(&o->answered);
}

static void drop(struct once_entry *e)
{
	struct once *o = e->once;
	if (e->first || e->is_kept)
		HASH_DEL(o->by_name, e);
	if (!e->first)
		TAILQ_REMOVE(&o->answered, e, in_order);
	if (e->is_kept) {
		o->n_kept--;
		o->n_bytes -= e->answer.n_bytes;
	}
	buf_release(&e->answer);
	free(e->stream_id);
	free(e->name);
	free(e);
}

void once_release(struct once *o)
{
	struct once_entry *e, *tmp;
	HASH_ITER (hh, o->by_name, e, tmp)
		drop(e);
	while ((e = TAILQ_FIRST(&o->answered)) != NULL)
		drop(e);
}

static bool is_delivery(struct json_span key)
{
	return json_str_is(key, "timeout_ms") || json_str_is(key, "_meta") ||
	       json_str_is(key, "workDoneToken") || json_str_is(key, "idempotency_key");
}

/* A sum, so that the order of the members does not count. */
struct once_digest once_digest(struct json_span params)
{
	struct once_digest d = { 0, 0 };
	struct json_cursor c = json_iterate(params);
	struct json_span key, value;
	while (json_next_member(&c, &key, &value)) {
		if (is_delivery(key))
			continue;
		XXH64_hash_t seed = XXH3_64bits(key.at, key.n);
		XXH128_hash_t h = XXH3_128bits_withSeed(value.at, value.n, seed);
		d.low += h.low64;
		d.high += h.high64;
	}
	return d;
}

bool once_is_same(const struct once_entry *e, struct once_digest asked)
{
	return e->asked.low == asked.low && e->asked.high == asked.high;
}

struct once_entry *once_find(struct once *o, const char *name, uint64_t now)
{
	struct once_entry *e;
	once_settle(o, now);
	HASH_FIND_STR(o->by_name, name, e);
	return e;
}

/* -- calls ------------------------------------------------------------------------------ */

void once_begin(struct once *o, const char *name, struct once_digest asked, struct call *call)
{
	struct once_entry *e = xcalloc(1, sizeof *e);
	e->once = o;
	e->name = xstrdup(name);
	e->asked = asked;
	e->first = call;
	e->stream_id = call->wants_stream ? xstrdup(call->stream->id) : NULL;
	TAILQ_INIT(&e->waiters);
	call->once = e;
	HASH_ADD_KEYPTR(hh, o->by_name, e->name, strlen(e->name), e);
}

void once_join(struct once_entry *e, struct call *call)
{
	call->once = e;
	call->owner = CALL_JOINED;
	TAILQ_INSERT_TAIL(&e->waiters, call, joined);
}

void once_leave(struct call *call)
{
	struct once_entry *e = call->once;
	if (!e || e->first == call)
		return;
	TAILQ_REMOVE(&e->waiters, call, joined);
	call->once = NULL;
	if (!e->first)
		e->once->n_due--;
}

/* What was cancelled or ran out of time has a result that another attempt would better. */
bool once_is_cut_short(struct json_span result)
{
	struct json_span reason = json_find(result, "finish_reason");
	return reason.at && !json_str_is(reason, "stop") && !json_str_is(reason, "length");
}

void once_answered(struct call *call, enum answer a, struct json_span body, uint64_t now)
{
	struct once_entry *e = call->once;
	const struct call *waiter;
	if (!e || e->first != call)
		return;
	struct once *o = e->once;
	call->once = NULL;
	e->first = NULL;
	e->kind = a;
	e->answered_us = now;
	buf_add(&e->answer, body.at, body.n);
	TAILQ_FOREACH (waiter, &e->waiters, joined)
		o->n_due++;
	e->is_kept = a == ANSWER_RESULT && body.n <= ONCE_ANSWER_BYTES && !once_is_cut_short(body);
	if (e->is_kept) {
		o->n_kept++;
		o->n_bytes += body.n;
		TAILQ_INSERT_TAIL(&o->answered, e, in_order);
	} else {
		/* From here on the name is free: what failed may be tried again. */
		HASH_DEL(o->by_name, e);
		TAILQ_INSERT_HEAD(&o->answered, e, in_order);
	}
}

/* From here on the name is free; who waits for the answer still gets it. */
static void unkeep(struct once_entry *e)
{
	struct once *o = e->once;
	HASH_DEL(o->by_name, e);
	TAILQ_REMOVE(&o->answered, e, in_order);
	TAILQ_INSERT_HEAD(&o->answered, e, in_order);
	e->is_kept = false;
	o->n_kept--;
	o->n_bytes -= e->answer.n_bytes;
}

void once_stream_failed(struct once *o, const char *stream_id)
{
	struct once_entry *e;
	TAILQ_FOREACH (e, &o->answered, in_order) {
		if (!e->is_kept || !e->stream_id || strcmp(e->stream_id, stream_id) != 0)
			continue;
		unkeep(e);
		return;
	}
}

struct call *once_next(struct once *o, struct once_entry **e)
{
	if (o->n_due == 0)
		return NULL;
	TAILQ_FOREACH (*e, &o->answered, in_order)
		if (!TAILQ_EMPTY(&(*e)->waiters))
			return TAILQ_FIRST(&(*e)->waiters);
	return NULL;
}

static bool is_over(const struct once_entry *e, uint64_t now)
{
	const struct once *o = e->once;
	return !e->is_kept || o->n_kept > ONCE_KEPT || o->n_bytes > ONCE_BYTES ||
	       now - e->answered_us > ONCE_KEEP_US;
}

void once_settle(struct once *o, uint64_t now)
{
	struct once_entry *e, *next;
	for (e = TAILQ_FIRST(&o->answered); e && is_over(e, now); e = next) {
		next = TAILQ_NEXT(e, in_order);
		if (TAILQ_EMPTY(&e->waiters))
			drop(e);
	}
}
