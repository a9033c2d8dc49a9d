/* peer.c - the pipes to one worker; on the way back dispatch.c gets its answers and relay.c
 * its notifications. Stop 9; next: worker/loop.c */
#include "controller/peer.h"
#include "controller/clock.h"
#include "controller/lately.h"
#include "controller/sink.h"
#include "controller/tail.h"
#include "protocol/frame.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#define READ_BYTES ((size_t)256 << 10)

struct pending {
	uint64_t id;
	peer_reply_fn fn;
	void *arg;
	UT_hash_handle hh;
};

struct peer {
	struct peer_events events;
	void *arg;
	int in_fd, out_fd, err_fd; /* -1 once closed */
	struct frame_reader reader;
	struct sink in;
	struct event *readable, *heard;
	struct pending *pending;
	uint64_t next_id;
	uint64_t n_garbage, n_heard;
	bool ends_input;
	bool is_at_end; /* of its stdout, or it is dead */
	bool is_broken;
	struct tail tail;
	struct lately lately;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_heard(evutil_socket_t fd, short what, void *arg);
static void on_drained(void *arg);

struct peer *peer_open(struct event_base *base, const struct spawned *fds,
	const struct peer_events *events, void *arg)
{
	struct peer *p = xcalloc(1, sizeof *p);
	p->events = *events;
	p->arg = arg;
	p->in_fd = fds->in_fd;
	p->out_fd = fds->out_fd;
	p->err_fd = fds->err_fd;
	/* Not AUTO: a stray line that begins with C must not choose the framing. */
	frame_reader_init(&p->reader, FRAMING_NDJSON, FRAME_IN_MAX);
	sink_init(&p->in, base, p->in_fd, (size_t)1 << 20);
	p->in.drained = on_drained;
	p->in.arg = p;
	p->readable = event_new(base, p->out_fd, EV_READ | EV_PERSIST, on_readable, p);
	p->heard = event_new(base, p->err_fd, EV_READ | EV_PERSIST, on_heard, p);
	event_add(p->readable, NULL);
	event_add(p->heard, NULL);
	return p;
}

/* -- out -------------------------------------------------------------------------------- */

/* Once its input is closed a worker is ending: nothing can be said to it any more, and a
 * call is lost when the peer is closed. */
static void put(struct peer *p, const struct buf *text)
{
	if (p->in_fd < 0)
		return;
	lately_note(&p->lately, LATELY_TO, text->data, text->n_bytes, clock_us());
	frame_write(sink_buf(&p->in), FRAMING_NDJSON, text->data, text->n_bytes);
	sink_kick(&p->in);
}

uint64_t peer_call(
	struct peer *p, const char *method, struct json_span params, peer_reply_fn fn, void *arg)
{
	struct pending *call = xcalloc(1, sizeof *call);
	struct buf text = BUF_INIT;
	char id[24];
	call->id = ++p->next_id;
	call->fn = fn;
	call->arg = arg;
	HASH_ADD(hh, p->pending, id, sizeof call->id, call);
	int n = snprintf(id, sizeof id, "%llu", (unsigned long long)call->id);
	rpc_write_request(&text, id, (size_t)n, method, params.at, params.n);
	put(p, &text);
	buf_release(&text);
	return call->id;
}

void peer_notify(struct peer *p, const char *method, struct json_span params)
{
	struct buf text = BUF_INIT;
	rpc_write_notification(&text, method, params.at, params.n);
	put(p, &text);
	buf_release(&text);
}

static void close_input(struct peer *p)
{
	sink_release(&p->in);
	if (p->in_fd >= 0)
		close(p->in_fd);
	p->in_fd = -1;
}

static void on_drained(void *arg)
{
	struct peer *p = arg;
	if (p->ends_input && sink_queued(&p->in) == 0)
		close_input(p);
}

void peer_end_input(struct peer *p)
{
	p->ends_input = true;
	if (p->in_fd >= 0 && (sink_queued(&p->in) == 0 || p->in.is_broken))
		close_input(p);
}

/* -- in --------------------------------------------------------------------------------- */

/* Not at its end: there half a message is only what a death leaves. */
static void find_broken(struct peer *p, const char *how)
{
	p->n_garbage++;
	if (p->is_broken || p->is_at_end)
		return;
	p->is_broken = true;
	p->events.broken(p->arg, how);
}

static void take_reply(struct peer *p, const struct rpc_msg *m)
{
	int64_t id = 0;
	uint64_t key;
	struct pending *call = NULL;
	if (json_get_int(m->id, &id)) {
		key = (uint64_t)id;
		HASH_FIND(hh, p->pending, &key, sizeof key, call);
	}
	if (!call) {
		find_broken(p, "it answered what was not asked");
		return;
	}
	HASH_DEL(p->pending, call);
	bool is_result = m->kind == RPC_RESULT;
	struct peer_reply r = { is_result ? PEER_RESULT : PEER_ERROR,
		is_result ? m->result : m->error };
	call->fn(call->arg, &r);
	free(call);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct json_span trimmed(const char *text, size_t n)
{
	while (n && is_space(*text))
		text++, n--;
	while (n && is_space(text[n - 1]))
		n--;
	return (struct json_span) { text, n };
}

/* A print without a line end may stand before a frame on its line; the frame counts. */
static struct json_span find_message(const char *text, size_t n)
{
	static const char start[] = "{\"jsonrpc\"";
	const char *end = text + n;
	while (text < end) {
		struct json_span v = trimmed(text, (size_t)(end - text));
		if (v.n && json_scan(v.at, v.n, NULL) == 0)
			return v;
		const char *next =
			memmem(text + 1, (size_t)(end - text - 1), start, sizeof start - 1);
		if (!next)
			break;
		text = next;
	}
	return (struct json_span) { NULL, 0 };
}

/* Further than this no print gets by chance. */
static bool has_begun_message(const char *text, size_t n)
{
	static const char start[] = "{\"jsonrpc\"", version[] = "\"2.0\"";
	const char *at = memmem(text, n, start, sizeof start - 1);
	size_t left = at ? (size_t)(text + n - at) : 0;
	/* A few blanks may stand around the colon. */
	return at && memmem(at, left < 24 ? left : 24, version, sizeof version - 1);
}

static void take_line(struct peer *p, const char *text, size_t n)
{
	struct rpc_msg m;
	struct json_span v = find_message(text, n);
	lately_note(&p->lately, LATELY_FROM, text, n, clock_us());
	m.kind = RPC_INVALID;
	if (v.at)
		rpc_parse(v, &m);
	switch (m.kind) {
	case RPC_RESULT:
	case RPC_ERROR: take_reply(p, &m); return;
	case RPC_NOTIFICATION: p->events.notified(p->arg, &m, v.at, v.n); return;
	case RPC_REQUEST:
	case RPC_INVALID: break;
	}
	log_debug("a worker wrote %zu bytes that are no message of ours: %.*s", n,
		(int)(n < 80 ? n : 80), text);
	if (!v.at && has_begun_message(text, n))
		find_broken(p, "a part of a message is missing");
	else
		p->n_garbage++;
}

static void take_lines(struct peer *p)
{
	const char *text;
	size_t n;
	enum frame_status st;
	while ((st = frame_next(&p->reader, &text, &n)) != FRAME_NEED_MORE) {
		if (p->is_broken)
			continue; /* what comes after a gap is no stream's next token */
		if (st == FRAME_TEXT)
			take_line(p, text, n);
		else
			p->n_garbage++;
	}
}

/* Returns bytes read, 0 at the end, -1 if there is nothing now. */
static ssize_t read_some(struct peer *p)
{
	ssize_t n = read(p->out_fd, frame_space(&p->reader, READ_BYTES), READ_BYTES);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -1;
	p->n_heard += n > 0 ? (uint64_t)n : 0;
	if (n > 0) {
		frame_fed(&p->reader, (size_t)n);
	} else {
		p->is_at_end = true;
		frame_eof(&p->reader);
	}
	take_lines(p);
	return n > 0 ? n : 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct peer *p = arg;
	if (read_some(p) != 0)
		return;
	event_del(p->readable);
	p->events.closed(p->arg);
}

static void said(void *arg, const char *line)
{
	struct peer *p = arg;
	p->events.said(p->arg, line);
}

static void on_heard(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	struct peer *p = arg;
	char bytes[8192];
	ssize_t n = read(fd, bytes, sizeof bytes);
	if (n > 0)
		tail_feed(&p->tail, bytes, (size_t)n, said, p);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		event_del(p->heard);
}

void peer_read_rest(struct peer *p)
{
	char bytes[8192];
	ssize_t n;
	p->is_at_end = true;
	while ((n = read(p->err_fd, bytes, sizeof bytes)) > 0)
		tail_feed(&p->tail, bytes, (size_t)n, said, p);
	tail_finish(&p->tail, said, p);
	while (read_some(p) > 0)
		continue;
}

void peer_pause(struct peer *p, bool is_paused)
{
	if (is_paused)
		event_del(p->readable);
	else if (!p->is_at_end)
		event_add(p->readable, NULL);
}

/* -- end -------------------------------------------------------------------------------- */

static void lose_all(struct peer *p)
{
	struct peer_reply lost = { PEER_LOST, { NULL, 0 } };
	while (p->pending) {
		struct pending *call = p->pending;
		HASH_DEL(p->pending, call);
		call->fn(call->arg, &lost);
		free(call);
	}
}

void peer_close(struct peer *p)
{
	if (!p)
		return;
	lose_all(p);
	event_free(p->readable);
	event_free(p->heard);
	close_input(p);
	close(p->out_fd);
	close(p->err_fd);
	frame_reader_release(&p->reader);
	free(p);
}

uint64_t peer_n_heard(const struct peer *p)
{
	return p->n_heard;
}

uint64_t peer_garbage(const struct peer *p)
{
	return p->n_garbage;
}

void peer_write_tail(const struct peer *p, struct buf *out)
{
	tail_write(&p->tail, out);
}

void peer_write_evidence(const struct peer *p, struct buf *out)
{
	jout_key(out, "stderr_tail");
	tail_write(&p->tail, out);
	jout_key(out, "backtrace");
	tail_write_trace(&p->tail, out);
	jout_key(out, "frames");
	lately_write(&p->lately, clock_us(), out);
}

const char *peer_last_line(const struct peer *p)
{
	return tail_last(&p->tail);
}
