/* calls.c - live calls, found by id to be cancelled. */
#include "worker/calls.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct cancel_waiter {
	struct reply *reply;
	size_t n_live; /* calls it waits for */
};

void calls_add(struct calls *cs, struct call *c, const struct reply *reply, const char *stream_id)
{
	const char *id = reply ? reply_id(reply, &c->n_id) : NULL;
	c->id = id ? xstrndup(id, c->n_id) : NULL;
	c->stream_id = stream_id ? xstrdup(stream_id) : NULL;
	c->waiting = NULL;
	c->n_waiting = 0;
	DL_APPEND(cs->list, c);
	if (c->stream_id)
		HASH_ADD_KEYPTR(by_stream, cs->streams, c->stream_id, strlen(c->stream_id), c);
	cs->n++;
}

struct call *calls_find_stream(const struct calls *cs, const char *stream_id)
{
	struct call *c = NULL;
	HASH_FIND(by_stream, cs->streams, stream_id, strlen(stream_id), c);
	return c;
}

static void tell(struct reply *reply, bool cancelled)
{
	const char *text = cancelled ? "{\"cancelled\":true}" : "{\"cancelled\":false}";
	reply_result(reply, text, strlen(text));
}

void calls_over(struct calls *cs, struct call *c)
{
	DL_DELETE(cs->list, c);
	if (c->stream_id)
		HASH_DELETE(by_stream, cs->streams, c);
	cs->n--;
	for (size_t i = 0; i < c->n_waiting; i++) {
		struct cancel_waiter *w = c->waiting[i];
		if (--w->n_live)
			continue;
		tell(w->reply, true);
		free(w);
	}
	free(c->waiting);
	free(c->stream_id);
	free(c->id);
}

/* The same id: the same bytes, or the same string or number in another spelling. */
static bool same_id(const struct call *c, struct json_span id)
{
	if (!c->id)
		return false;
	if (c->n_id == id.n && memcmp(c->id, id.at, id.n) == 0)
		return true;
	const struct json_span own = { c->id, c->n_id };
	if (json_kind(own) != json_kind(id))
		return false;
	int64_t a, b;
	if (json_get_int(own, &a) && json_get_int(id, &b))
		return a == b;
	struct buf x = BUF_INIT, y = BUF_INIT;
	const bool same = json_get_str(own, &x) && json_get_str(id, &y) && x.n_bytes == y.n_bytes &&
			  (x.n_bytes == 0 || memcmp(x.data, y.data, x.n_bytes) == 0);
	buf_release(&x);
	buf_release(&y);
	return same;
}

size_t calls_cancel_id(struct calls *cs, struct json_span id, enum cancel_how how)
{
	struct call *c, *next;
	size_t n = 0;
	DL_FOREACH_SAFE (cs->list, c, next)
		if (same_id(c, id)) {
			n++;
			c->cancel(c, how);
		}
	return n;
}

bool calls_cancel_stream(struct calls *cs, const char *stream_id, enum cancel_how how)
{
	struct call *c = calls_find_stream(cs, stream_id);
	if (c)
		c->cancel(c, how);
	return c;
}

void calls_cancel_all(struct calls *cs, enum cancel_how how)
{
	struct call *c, *next;
	DL_FOREACH_SAFE (cs->list, c, next)
		c->cancel(c, how);
}

static void wait_for(struct cancel_waiter *w, struct call *c)
{
	c->waiting = xreallocarray(c->waiting, c->n_waiting + 1, sizeof *c->waiting);
	c->waiting[c->n_waiting++] = w;
	w->n_live++;
}

void calls_cancel_and_tell(
	struct calls *cs, const char *stream_id, struct json_span id, struct reply *reply)
{
	struct cancel_waiter *w = xcalloc(1, sizeof *w);
	struct call *c = stream_id ? calls_find_stream(cs, stream_id) : NULL;
	w->reply = reply;
	/* All waits are set up before the first cancel, which may end its call at once. */
	if (c)
		wait_for(w, c);
	else if (!stream_id)
		DL_FOREACH (cs->list, c)
			if (same_id(c, id))
				wait_for(w, c);
	log_trace("cancel", "%zu calls found", w->n_live);
	if (w->n_live == 0) {
		tell(reply, false);
		free(w);
	} else if (stream_id) {
		calls_cancel_stream(cs, stream_id, CANCEL_FINISH);
	} else {
		calls_cancel_id(cs, id, CANCEL_FINISH);
	}
}
