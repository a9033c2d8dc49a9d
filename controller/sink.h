/* sink.h - bytes on their way to a descriptor: queued in memory, written when it takes
 * them, never blocking.
 *
 * What is added during one turn of the event loop leaves in one write at its end. Pipes
 * and sockets are written without blocking; other descriptors (files, terminals) in small
 * pieces after poll said they take some. */
#ifndef CONTROLLER_SINK_H
#define CONTROLLER_SINK_H
#include "protocol/buf.h"
#include <event2/event.h>

struct sink {
	int fd;
	struct buf queued;
	size_t sent;      /* of queued, already written */
	uint64_t n_taken; /* bytes written since the beginning */
	size_t max_write; /* of one call */
	struct event *event;
	bool is_armed;
	bool is_broken;             /* a write failed; everything queued was dropped */
	void (*drained)(void *arg); /* the queue shrank; may be NULL */
	void (*broken)(void *arg, int err);
	void *arg;
};

/* fd must be non-blocking unless max_write is at most PIPE_BUF. Set the callbacks after. */
void sink_init(struct sink *s, struct event_base *base, int fd, size_t max_write);
void sink_release(struct sink *s); /* does not close fd */

struct buf *sink_buf(struct sink *s); /* append here, then sink_kick() */
void sink_kick(struct sink *s);
size_t sink_queued(const struct sink *s); /* bytes not written yet */
#endif
