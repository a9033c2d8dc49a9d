/* host.c - stdin and stdout of the controller. Stop 1; next: protocol/frame.c */
#include "controller/host.h"
#include "controller/sink.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES ((size_t)256 << 10)
/* Taken before the workers' answers and the next frame to them get their turn. */
#define MESSAGES_PER_TURN 32

struct host {
	struct host_events events;
	void *arg;
	struct frame_reader reader;
	struct sink out;
	struct event *readable;
	struct event *again;   /* whole messages wait in the reader */
	struct record *record; /* NULL = none */
	int in_fd, out_fd;
	int in_flags, out_flags; /* to restore; -1 = untouched */
	enum host_level level;
	bool has_backlog; /* on_again() is due */
	bool is_gone;
};

/* Returns the flags to restore, or -1 where O_NONBLOCK is not ours to set: on a terminal
 * or a file it would change every other process that has it open. */
static int make_nonblocking(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	if (fstat(fd, &st) < 0 || flags < 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
		return -1;
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -1 : flags;
}

static void declare_gone(struct host *h, const char *why)
{
	if (h->is_gone)
		return;
	h->is_gone = true;
	h->events.gone(h->arg, why);
}

static void on_broken(void *arg, int err)
{
	declare_gone(arg, err == EPIPE ? "the host closed our stdout" : strerror(err));
}

static enum host_level level_of(size_t n, enum host_level before)
{
	if (n > HOST_FULL_BYTES || (before == HOST_FULL && n > HOST_CROWDED_BYTES))
		return HOST_FULL;
	if (n > HOST_CROWDED_BYTES || (before != HOST_EASY && n > HOST_EASY_BYTES))
		return HOST_CROWDED;
	return HOST_EASY;
}

static void watch_level(struct host *h)
{
	size_t n = sink_queued(&h->out);
	if (n > HOST_HARD_BYTES)
		declare_gone(h, "the host does not read: too much output waits for it");
	enum host_level level = level_of(n, h->level);
	if (level == h->level)
		return;
	h->level = level;
	h->events.level(h->arg, level);
}

static void on_drained(void *arg)
{
	struct host *h = arg;
	watch_level(h);
	h->events.taken(h->arg);
}

/* At most n_most of them; false if more may be left. */
static bool take_messages(struct host *h, size_t n_most)
{
	const char *text;
	size_t n;
	for (; h->readable && n_most > 0; n_most--) {
		enum frame_status st = frame_next(&h->reader, &text, &n);
		if (st == FRAME_NEED_MORE)
			return true;
		if (st == FRAME_TEXT) {
			log_trace("host", "in %zu bytes", n);
			record_frame(h->record, RECORD_IN, text, n);
			h->events.message(h->arg, text, n);
		} else {
			record_unread(h->record);
			h->events.unreadable(h->arg, st);
		}
	}
	return !h->readable;
}

/* A timer of no time, not an active event: the loop looks at every descriptor in between. */
static void take_turn(struct host *h)
{
	static const struct timeval now = { 0, 0 };
	h->has_backlog = !take_messages(h, MESSAGES_PER_TURN);
	if (h->has_backlog)
		event_add(h->again, &now);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	take_turn(arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	struct host *h = arg;
	if (h->has_backlog)
		return; /* one thing after the other: on_again() comes before more is read */
	ssize_t n = read(fd, frame_space(&h->reader, READ_BYTES), READ_BYTES);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		frame_fed(&h->reader, (size_t)n);
		take_turn(h);
		return;
	}
	frame_eof(&h->reader);
	take_messages(h, SIZE_MAX);
	host_stop_reading(h);
	h->events.ended(h->arg);
}

struct host *host_open(struct event_base *base, const struct host_io *io,
	const struct host_events *events, void *arg)
{
	struct host *h = xcalloc(1, sizeof *h);
	h->events = *events;
	h->arg = arg;
	h->in_fd = io->in_fd;
	h->out_fd = io->out_fd;
	h->in_flags = make_nonblocking(io->in_fd);
	h->out_flags = make_nonblocking(io->out_fd);
	frame_reader_init(&h->reader, io->framing, io->max_message);
	sink_init(&h->out, base, io->out_fd, h->out_flags < 0 ? 4096 : (size_t)1 << 20);
	h->out.drained = on_drained;
	h->out.broken = on_broken;
	h->out.arg = h;
	h->readable = event_new(base, io->in_fd, EV_READ | EV_PERSIST, on_readable, h);
	h->again = evtimer_new(base, on_again, h);
	event_add(h->readable, NULL);
	return h;
}

void host_stop_reading(struct host *h)
{
	if (h->readable)
		event_free(h->readable);
	if (h->again)
		event_free(h->again);
	h->readable = h->again = NULL;
}

void host_close(struct host *h)
{
	if (!h)
		return;
	host_stop_reading(h);
	if (h->in_flags >= 0)
		fcntl(h->in_fd, F_SETFL, h->in_flags);
	if (h->out_flags >= 0)
		fcntl(h->out_fd, F_SETFL, h->out_flags);
	frame_reader_release(&h->reader);
	sink_release(&h->out);
	free(h);
}

void host_write(struct host *h, const char *text, size_t n)
{
	if (h->is_gone)
		return;
	log_trace("host", "out %zu bytes", n);
	record_frame(h->record, RECORD_OUT, text, n);
	frame_write(sink_buf(&h->out), h->reader.framing, text, n);
	sink_kick(&h->out);
	watch_level(h);
}

void host_record(struct host *h, struct record *r)
{
	h->record = r;
}

void host_limit_bursts(struct host *h)
{
	/* What a pipe or socket can hold is all that one read can find. A socket counts each
	 * piece's own bookkeeping too, and the kernel doubles what it is told. */
	const int n_bytes = HOST_BURST_BYTES / 2;
	if (fcntl(h->out_fd, F_SETPIPE_SZ, HOST_BURST_BYTES) < 0 &&
		setsockopt(h->out_fd, SOL_SOCKET, SO_SNDBUF, &n_bytes, sizeof n_bytes) < 0)
		log_debug("stdout is neither pipe nor socket: bursts have no limit");
}

size_t host_queued(const struct host *h)
{
	return sink_queued(&h->out);
}

uint64_t host_given(const struct host *h)
{
	return h->out.n_taken + sink_queued(&h->out);
}

uint64_t host_taken(const struct host *h)
{
	return h->out.n_taken;
}

enum host_level host_level(const struct host *h)
{
	return h->level;
}
