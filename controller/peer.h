/* peer.h - one worker's three pipes: calls out, answers and notifications in.
 *
 * Ids on this pipe are our own integers, one for each call or frame. Every call gets
 * exactly one reply: a result, an error, or PEER_LOST when the worker ended first. Lines
 * that are not JSON-RPC are skipped and counted: a stray print in a library disturbs
 * nobody. But a message of which a part is missing, or an answer to what was not asked,
 * means that some call will never be answered: the worker is broken. The bytes of a reply
 * are borrowed for the duration of the callback. */
#ifndef CONTROLLER_PEER_H
#define CONTROLLER_PEER_H
#include "controller/spawn.h"
#include "protocol/jsonrpc.h"
#include <event2/event.h>

enum peer_outcome { PEER_RESULT, PEER_ERROR, PEER_LOST };

struct peer_reply {
	enum peer_outcome outcome;
	struct json_span body; /* the result or the error object; absent when lost */
};
typedef void (*peer_reply_fn)(void *arg, const struct peer_reply *r);

struct peer_events {
	void (*notified)(void *arg, const struct rpc_msg *m, const char *text, size_t n);
	void (*closed)(void *arg);                  /* its stdout ended */
	void (*said)(void *arg, const char *line);  /* one line of its stderr */
	void (*broken)(void *arg, const char *how); /* once at most; how: static */
};

struct peer;
struct peer *peer_open(struct event_base *base, const struct spawned *fds,
	const struct peer_events *events, void *arg);
/* Every call not answered yet is PEER_LOST first. Closes the pipes. */
void peer_close(struct peer *p);

/* params: JSON text, or an absent span. Returns the id used. */
uint64_t peer_call(
	struct peer *p, const char *method, struct json_span params, peer_reply_fn fn, void *arg);
void peer_notify(struct peer *p, const char *method, struct json_span params);

void peer_pause(struct peer *p, bool is_paused); /* stop reading its stdout */
void peer_end_input(struct peer *p); /* close its stdin once everything queued is written */
void peer_read_rest(struct peer *p); /* after its death: what the pipes still hold */

uint64_t peer_n_heard(const struct peer *p); /* bytes read from its stdout so far */
uint64_t peer_garbage(const struct peer *p); /* lines skipped, broken ones included */

/* Append its last stderr lines as a JSON array of strings, oldest first. */
void peer_write_tail(const struct peer *p, struct buf *out);
/* Append what a crash bundle tells of it, as members: stderr_tail, backtrace, frames. */
void peer_write_evidence(const struct peer *p, struct buf *out);
/* The last line it said, or "". */
const char *peer_last_line(const struct peer *p);
#endif
