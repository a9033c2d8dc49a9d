/* registry.c - live requests, one answer each. Stop 6; next: queue.c */
#include "controller/registry.h"
#include "controller/group.h"
#include "protocol/frame.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ENVELOPE_BYTES 64 /* of an answer, around its id and body: enough, or the buffer grows */

static const struct json_span NOTHING = { NULL, 0 };

struct registry {
	struct registry_events events;
	void *arg;
	struct call_list live;
	struct call *by_id;
	size_t n_live;
	uint64_t n_admitted;
};

struct registry *registry_new(const struct registry_events *events, void *arg)
{
	struct registry *r = xcalloc(1, sizeof *r);
	r->events = *events;
	r->arg = arg;
	TAILQ_INIT(&r->live);
	return r;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	assert(r->n_live == 0);
	free(r);
}

/* Both are copied; the call is found by the id from then on. */
static void name_call(
	struct registry *r, struct call *c, struct json_span id, struct json_span params)
{
	size_t n_id = id.at ? id.n : 0;
	c->bytes = xmalloc(n_id + params.n + 1);
	c->id = NOTHING;
	if (n_id) {
		memcpy(c->bytes, id.at, n_id);
		c->id = (struct json_span) { c->bytes, n_id };
		/* Ids may repeat among live calls; each is answered all the same. */
		HASH_ADD_KEYPTR(hh, r->by_id, c->id.at, c->id.n, c);
	}
	memcpy(c->bytes + n_id, params.at, params.n);
	c->params = (struct json_span) { c->bytes + n_id, params.n };
	c->timeout_at = c->n_timeout = 0;
}

struct call *registry_admit(struct registry *r, const struct call_seed *seed)
{
	struct call *c = xcalloc(1, sizeof *c);
	name_call(r, c, seed->id, seed->params);
	c->method = seed->method;
	c->seat = seed->seat;
	c->arrived_us = seed->now_us;
	c->number = ++r->n_admitted;
	TAILQ_INSERT_TAIL(&r->live, c, live);
	r->n_live++;
	log_trace("registry", "#%llu %s id %.*s", (unsigned long long)c->number, c->method->name,
		(int)c->id.n, c->id.at ? c->id.at : "");
	return c;
}

/* Nobody can find it, and nothing can time it out. */
static void hide(struct registry *r, struct call *c)
{
	if (c->id.at)
		HASH_DEL(r->by_id, c);
	if (c->timer)
		event_free(c->timer);
	c->timer = NULL;
}

void registry_trade(struct registry *r, struct call *a, struct call *b, struct json_span params)
{
	const struct call was = *a;
	char *bytes_of_b = b->bytes;
	hide(r, a);
	name_call(r, a, b->id, params);
	hide(r, b);
	name_call(r, b, was.id, b->params);
	a->seat = b->seat;
	a->number = b->number;
	a->arrived_us = b->arrived_us;
	a->deadline_us = b->deadline_us;
	b->seat = was.seat;
	b->number = was.number;
	b->arrived_us = was.arrived_us;
	b->deadline_us = was.deadline_us;
	free(was.bytes);
	free(bytes_of_b);
}

static void consume(struct registry *r, struct call *c)
{
	assert(!c->waiting.lane && !c->flight);
	hide(r, c);
	TAILQ_REMOVE(&r->live, c, live);
	r->n_live--;
	c->owner = CALL_ANSWERED;
}

static void release(struct registry *r, struct call *c)
{
	r->events.answered(r->arg, c);
	for (struct call *member = c->kept, *next; member; member = next) {
		next = member->next;
		release(r, member);
	}
	free(c->progress);
	free(c->bytes);
	free(c);
}

static void complete(struct registry *r, struct group *g)
{
	struct group_whole whole = group_complete(g);
	struct buf *text = &whole.text;
	if (whole.parent) {
		whole.parent->kept = whole.members;
		registry_finish(r, whole.parent, whole.answer,
			(struct json_span) { text->data, text->n_bytes });
	} else {
		if (text->n_bytes)
			r->events.write(r->arg, text->data, text->n_bytes);
		for (struct call *c = whole.members, *next; c; c = next) {
			next = c->next;
			release(r, c);
		}
	}
	buf_release(text);
}

static void write_answer(
	struct registry *r, struct json_span id, enum answer a, struct json_span body)
{
	struct buf text = BUF_INIT;
	buf_reserve(&text, id.n + body.n + ENVELOPE_BYTES);
	if (a == ANSWER_RESULT)
		rpc_write_result(&text, id, body.at, body.n);
	else
		rpc_write_error_raw(&text, id, body);
	r->events.write(r->arg, text.data, text.n_bytes);
	buf_release(&text);
}

static int code_of(enum answer a, struct json_span body)
{
	int64_t code = 0;
	if (a == ANSWER_ERROR && !json_get_int(json_find(body, "code"), &code))
		code = err_info(ERR_INTERNAL)->code;
	return (int)code;
}

void registry_finish(struct registry *r, struct call *c, enum answer a, struct json_span body)
{
	if (a == ANSWER_RESULT && body.n > FRAME_OUT_MAX - 1024) {
		struct fault f;
		fault_set(&f, ERR_RUNTIME, "the answer of %zu bytes exceeds the limit of %zu",
			body.n, (size_t)FRAME_OUT_MAX);
		registry_fail(r, c, &f);
		return;
	}
	consume(r, c);
	r->events.consumed(r->arg, c, a, body);
	c->code = code_of(a, body);
	log_trace("registry", "#%llu answered, code %d", (unsigned long long)c->number, c->code);
	if (c->seat.group) {
		struct group *g = c->seat.group;
		if (group_put(g, c, a, c->is_silent ? NOTHING : body))
			complete(r, g);
		return;
	}
	if (c->id.at && !c->is_silent)
		write_answer(r, c->id, a, body);
	c->answer = body;
	release(r, c);
}

void registry_fail(struct registry *r, struct call *c, const struct fault *f)
{
	struct buf error = BUF_INIT;
	rpc_write_error_object(&error, f);
	registry_finish(r, c, ANSWER_ERROR, (struct json_span) { error.data, error.n_bytes });
	buf_release(&error);
}

void registry_refuse(
	struct registry *r, struct json_span id, struct call_seat seat, const struct fault *f)
{
	struct buf error = BUF_INIT;
	if (f)
		rpc_write_error_object(&error, f);
	struct json_span body = { error.data, error.n_bytes };
	if (seat.group) {
		if (group_put_raw(seat.group, seat.slot, ANSWER_ERROR, id, body))
			complete(r, seat.group);
	} else if (id.at && f) {
		write_answer(r, id, ANSWER_ERROR, body);
	}
	buf_release(&error);
}

struct call *registry_find(struct registry *r, struct json_span id)
{
	struct call *c = NULL;
	if (id.at)
		HASH_FIND(hh, r->by_id, id.at, id.n, c);
	return c;
}

struct call_list *registry_live(struct registry *r)
{
	return &r->live;
}

size_t registry_count(const struct registry *r)
{
	return r->n_live;
}

struct call *call_of_item(struct queue_item *it)
{
	return (struct call *)(void *)((char *)it - offsetof(struct call, waiting));
}
