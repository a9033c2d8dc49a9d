/* sink.c - one descriptor's output queue. */
#include "controller/sink.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KEEP_BYTES ((size_t)1 << 20) /* an empty queue with more memory than this gives it back */

static void on_writable(evutil_socket_t fd, short what, void *arg);

void sink_init(struct sink *s, struct event_base *base, int fd, size_t max_write)
{
	memset(s, 0, sizeof *s);
	s->fd = fd;
	s->max_write = max_write;
	s->event = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
}

void sink_release(struct sink *s)
{
	if (s->event)
		event_free(s->event);
	s->event = NULL;
	buf_release(&s->queued);
}

struct buf *sink_buf(struct sink *s)
{
	return &s->queued;
}

size_t sink_queued(const struct sink *s)
{
	return s->queued.n_bytes - s->sent;
}

static void disarm(struct sink *s)
{
	if (s->is_armed)
		event_del(s->event);
	s->is_armed = false;
}

static void reset(struct sink *s)
{
	s->sent = 0;
	if (s->queued.cap > KEEP_BYTES)
		buf_release(&s->queued);
	else
		buf_clear(&s->queued);
}

static void fail(struct sink *s, int err)
{
	disarm(s);
	reset(s);
	s->is_broken = true;
	if (s->broken)
		s->broken(s->arg, err);
}

/* Moving the rest to the front costs its length, so only when it is the lesser half. */
static void compact(struct sink *s)
{
	if (s->sent > s->queued.n_bytes / 2) {
		buf_consume(&s->queued, s->sent);
		s->sent = 0;
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	struct sink *s = arg;
	size_t n = sink_queued(s);
	if (n > s->max_write)
		n = s->max_write;
	ssize_t wrote = n ? write(fd, s->queued.data + s->sent, n) : 0;
	if (wrote < 0 && errno != EAGAIN && errno != EINTR) {
		fail(s, errno);
		return;
	}
	if (wrote > 0) {
		s->sent += (size_t)wrote;
		s->n_taken += (uint64_t)wrote;
	}
	if (sink_queued(s) == 0) {
		disarm(s);
		reset(s);
	} else {
		compact(s);
	}
	if (wrote > 0 && s->drained)
		s->drained(s->arg);
}

void sink_kick(struct sink *s)
{
	if (s->is_broken) {
		reset(s);
		return;
	}
	if (s->is_armed || sink_queued(s) == 0)
		return;
	event_add(s->event, NULL);
	s->is_armed = true;
	/* Not before the callbacks already due: what they add goes out in the same write. A
	 * descriptor that may block waits for poll instead. */
	if (s->max_write > 4096)
		event_active(s->event, EV_WRITE, 0);
}
