/* outbox.h - frames on their way to the host, in the order they were put here.
 *
 * Owned by the I/O thread. Writing never blocks a pipe or socket: what the host does not
 * take yet waits here, and flow.h slows down whoever produces it. Files and terminals are
 * written in small pieces after poll(2) allowed one. Nothing is written before the framing
 * is known, since we answer in the framing that was heard. */
#ifndef WORKER_OUTBOX_H
#define WORKER_OUTBOX_H
#include "protocol/frame.h"
#include <stdbool.h>

struct outbox {
	int fd;
	enum framing framing; /* AUTO until the reader decided */
	struct buf out;
	size_t at;        /* bytes of out already written */
	bool nonblocking; /* a pipe or socket: written until it would block */
	int flags_before; /* of fd, restored by outbox_release; -1 = untouched */
	bool broken;      /* nobody reads any more (EPIPE): all further frames are dropped */
	bool garbage;     /* --dev-garbage: a line that is no frame after each one */
	uint64_t n_frames, n_bytes;
};

void outbox_init(struct outbox *o, int fd);
void outbox_release(struct outbox *o); /* does not close fd */

void outbox_put(struct outbox *o, const char *text, size_t n); /* n <= FRAME_OUT_MAX */
size_t outbox_unsent(const struct outbox *o);
/* Write what the fd takes. 0 = empty now, ERR_AGAIN = wait for POLLOUT, ERR_IO = broken. */
int outbox_flush(struct outbox *o);
#endif
