/* outbox.c - frames to the host. Stop 24; next: controller/relay.c */
#include "worker/outbox.h"
#include "protocol/err.h"
#include "protocol/log.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* One write to a terminal or file after POLLOUT; longer ones could block the loop. */
#define PIECE_BYTES 4096
/* Below this, moving the rest to the front costs more than the memory is worth. */
#define COMPACT_BYTES 65536

static const char garbage_line[] = "### this is not a frame {\"jsonrpc\": ###\n";

void outbox_init(struct outbox *o, int fd)
{
	struct stat st;
	*o = (struct outbox) { .fd = fd, .flags_before = -1 };
	if (fstat(fd, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
		return;
	/* The flag belongs to the open file, which others may share: given back at the end. */
	const int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0))
		return;
	o->flags_before = flags;
	o->nonblocking = true;
}

void outbox_release(struct outbox *o)
{
	if (o->flags_before >= 0)
		fcntl(o->fd, F_SETFL, o->flags_before);
	buf_release(&o->out);
}

void outbox_put(struct outbox *o, const char *text, size_t n)
{
	if (o->broken)
		return;
	log_trace("outbox", "frame of %zu bytes", n);
	frame_write(&o->out, o->framing, text, n);
	if (o->garbage)
		buf_add(&o->out, garbage_line, sizeof garbage_line - 1);
	o->n_frames++;
	o->n_bytes += n;
}

size_t outbox_unsent(const struct outbox *o)
{
	return o->out.n_bytes - o->at;
}

static void compact(struct outbox *o)
{
	if (o->at == o->out.n_bytes) {
		o->at = 0;
		if (o->out.cap > ((size_t)1 << 20))
			buf_release(&o->out);
		else
			buf_clear(&o->out);
	} else if (o->at > COMPACT_BYTES && o->at > o->out.n_bytes / 2) {
		buf_consume(&o->out, o->at);
		o->at = 0;
	}
}

int outbox_flush(struct outbox *o)
{
	while (!o->broken && outbox_unsent(o)) {
		size_t n = outbox_unsent(o);
		if (!o->nonblocking && n > PIECE_BYTES)
			n = PIECE_BYTES;
		const ssize_t put = write(o->fd, o->out.data + o->at, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (put < 0) {
			o->broken = true;
			o->at = o->out.n_bytes;
			break;
		}
		o->at += (size_t)put;
		if (!o->nonblocking)
			break;
	}
	compact(o);
	if (o->broken)
		return ERR_IO;
	return outbox_unsent(o) ? ERR_AGAIN : 0;
}
