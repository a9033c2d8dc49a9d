/* loop.c - the I/O thread. Stop 10; next: session.c */
#include "worker/loop.h"
#include "protocol/log.h"
#include "worker/load.h"
#include "worker/session.h"
#include "worker/stream.h"
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define READ_BYTES 262144
/* Handled before letters and output get their turn again: so many messages, so much time, or
 * answers that whoever waits for them had better read meanwhile. */
#define MESSAGES_PER_TURN 64
#define TURN_S            0.002
#define TURN_BYTES        16384
/* After shutdown was answered: time for the host to send exit or close, as LSP hosts do. */
#define GRACE_S 0.25
/* After everything was cancelled: time for the last answers to be computed and read. */
#define LAST_WORDS_S 1.0

struct loop {
	struct worker *w;
	const struct loop_io *io;
	struct frame_reader reader;
	bool eof;
	bool backlog;               /* whole messages may wait in the reader */
	bool has_room;              /* the latest flush made some; no poll tells held streams */
	bool abandoned;             /* nobody hears us any more: stop at once */
	double grace_until, end_at; /* 0 = not set */
};

void loop_drain(struct worker *w, const char *why)
{
	if (w->phase != PHASE_SERVING)
		return;
	log_info("ending: %s; %zu calls run", why, w->calls.n);
	w->phase = PHASE_DRAINING;
	w->drain_until = clock_now() + w->options.drain_ms / 1e3;
}

static void handle_messages(struct loop *l)
{
	const char *text;
	size_t n;
	const double turn_ends = clock_now() + TURN_S;
	const size_t enough = outbox_unsent(&l->w->out) + TURN_BYTES;
	l->backlog = true;
	for (int i = 0; i < MESSAGES_PER_TURN && clock_now() < turn_ends &&
			outbox_unsent(&l->w->out) < enough;
		i++) {
		const enum frame_status status = frame_next(&l->reader, &text, &n);
		l->w->out.framing = l->reader.framing;
		if (status == FRAME_NEED_MORE) {
			l->backlog = false;
			return;
		}
		if (status == FRAME_TEXT)
			session_text(l->w, text, n);
		else
			session_bad_frame(l->w, status);
	}
}

static void read_host(struct loop *l)
{
	const ssize_t n = read(l->io->in, frame_space(&l->reader, READ_BYTES), READ_BYTES);
	if (n > 0) {
		frame_fed(&l->reader, (size_t)n);
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
		frame_eof(&l->reader);
		l->eof = true;
	}
	l->backlog = true;
}

/* A client that goes on elsewhere with what was here takes an end by a signal for what it is; of
 * a drain it would see calls refused and streams cancelled, which nobody cancelled. */
static void die_of(int number)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	log_info("ending: a signal");
	sigaction(number, &usual, NULL);
	raise(number);
}

static void read_signal(struct loop *l)
{
	unsigned char number;
	if (read(l->io->signals, &number, 1) != 1)
		return;
	if (number == SIGUSR1) {
		/* Also sent when only the thread that started us ended. */
		if (getppid() != l->io->parent) {
			log_info("ending: the parent process is gone");
			l->abandoned = true;
		}
	} else if (l->w->phase == PHASE_SERVING) {
		if (l->w->is_replaceable)
			die_of(number);
		loop_drain(l->w, "a signal");
		l->w->exit_asked = true;
	} else {
		l->w->drain_until = 0; /* asked twice: do not wait */
		l->w->exit_asked = true;
	}
}

/* One step of the end. True when there is nothing left to do. */
static bool ending(struct loop *l, double now)
{
	struct worker *w = l->w;
	if (w->phase == PHASE_DRAINING && now >= w->drain_until && w->calls.n) {
		log_info("cancelling %zu calls", w->calls.n);
		w->phase = PHASE_CANCELLING;
		calls_cancel_all(&w->calls, CANCEL_FINISH);
	}
	if (w->phase != PHASE_SERVING && !l->end_at)
		l->end_at = w->drain_until + LAST_WORDS_S;
	if (w->phase != PHASE_SERVING && w->calls.n == 0 && w->on_drained) {
		struct reply *r = w->on_drained;
		w->on_drained = NULL;
		l->grace_until = now + GRACE_S;
		reply_result(r, "{\"success\":true}", 16);
		outbox_flush(&w->out);
	}
	if (w->phase == PHASE_SERVING ||
		(now < l->end_at && (w->calls.n || outbox_unsent(&w->out))))
		return false;
	return l->eof || w->exit_asked || now >= l->end_at || now >= l->grace_until;
}

/* Of two waits, where a negative one is none. */
static double sooner(double a, double b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static int timeout_ms(const struct loop *l, double now, double due)
{
	double at = due >= 0 ? now + due : INFINITY;
	if (l->backlog || l->has_room)
		return 0;
	if (l->w->phase == PHASE_DRAINING && l->w->drain_until < at)
		at = l->w->drain_until;
	if (l->end_at && l->end_at < at)
		at = l->end_at;
	if (l->grace_until && l->grace_until < at)
		at = l->grace_until;
	if (isinf(at))
		return -1;
	return at <= now ? 0 : (int)ceil((at - now) * 1e3);
}

static void wait_and_take(struct loop *l, int wait_ms)
{
	struct worker *w = l->w;
	struct pollfd fds[] = {
		{ l->eof ? -1 : l->io->in, POLLIN, 0 },
		{ w->out.fd, outbox_unsent(&w->out) ? POLLOUT : 0, 0 },
		{ w->mail.fd, POLLIN, 0 },
		{ l->io->signals, POLLIN, 0 },
	};
	if (poll(fds, 4, wait_ms) < 0)
		return;
	if (fds[3].revents)
		read_signal(l);
	if (fds[2].revents)
		mailbox_open(&w->mail);
	if (fds[1].revents & (POLLERR | POLLNVAL))
		l->abandoned = true;
	if (fds[0].revents)
		read_host(l);
}

bool loop_run(struct worker *w, const struct loop_io *io)
{
	struct loop l = { .w = w, .io = io };
	frame_reader_init(&l.reader, w->options.framing, w->options.max_frame);
	w->out.framing = w->options.framing;
	while (!l.abandoned) {
		if (l.backlog)
			handle_messages(&l);
		if (l.eof && !l.backlog)
			loop_drain(w, "end of input");
		double now = clock_now();
		const double due = sooner(sooner(streams_tick(w, now), load_tick(w, now)),
			heap_tick(&w->heap, w->calls.n, now));
		const size_t unsent = outbox_unsent(&w->out);
		if (outbox_flush(&w->out) == ERR_IO)
			break;
		l.has_room = w->held && outbox_unsent(&w->out) < unsent;
		if (ending(&l, now))
			break;
		wait_and_take(&l, timeout_ms(&l, now, due));
	}
	if (w->out.broken || l.abandoned)
		log_debug("nobody reads any more");
	frame_reader_release(&l.reader);
	return w->calls.n == 0;
}
