/* once.h - calls with an idempotency_key: what was asked twice is done once.
 *
 * A key belongs to a method and a client. While the first call with it is on its way, a repeated
 * one waits for the same answer (share.h: whoever leaves, it goes on for the rest); afterwards it
 * gets the answer that was kept. Only results are kept,
 * and handshakes of streams that came to their end or still may, for a time and within
 * bounds, the oldest going first: what failed may be tried again. A repeated call must ask for the
 * same; only how it is delivered may differ (timeout_ms, progress tokens). */
#ifndef CONTROLLER_ONCE_H
#define CONTROLLER_ONCE_H
#include "controller/registry.h"

#define ONCE_KEEP_US      (300 * UINT64_C(1000000))
#define ONCE_KEPT         4096               /* answers, */
#define ONCE_BYTES        ((size_t)16 << 20) /* all together, */
#define ONCE_ANSWER_BYTES ((size_t)1 << 20)  /* and one */

struct once_digest {
	uint64_t low, high;
};

struct once_entry {
	struct once *once;
	char *name; /* method, client and key */
	struct once_digest asked;
	struct call *first;       /* NULL once answered */
	struct call_list waiters; /* by call->joined */
	enum answer kind;
	struct buf answer;
	char *stream_id; /* of a stream, or NULL */
	uint64_t answered_us;
	bool is_kept;                     /* found by its name once answered */
	TAILQ_ENTRY(once_entry) in_order; /* of the answers */
	UT_hash_handle hh;
};

struct once {
	struct once_entry *by_name;
	TAILQ_HEAD(once_answered, once_entry) answered; /* those not kept in front */
	size_t n_kept, n_bytes;
	size_t n_due; /* calls that wait for an answer which is there */
};

void once_init(struct once *o);
void once_release(struct once *o); /* no call may wait */

struct once_digest once_digest(struct json_span params);
/* The call of that name that is on its way or whose answer is kept, or NULL. */
struct once_entry *once_find(struct once *o, const char *name, uint64_t now);
bool once_is_same(const struct once_entry *e, struct once_digest asked);

/* call is the first of this name, which once_find() does not know. */
void once_begin(struct once *o, const char *name, struct once_digest asked, struct call *call);
/* call waits for e's answer, which is not there yet: CALL_JOINED. */
void once_join(struct once_entry *e, struct call *call);
/* It does not any more; nothing if it did not. */
void once_leave(struct call *call);

/* A call is consumed with this answer; if it was a first one, that is kept or passed on. */
void once_answered(struct call *call, enum answer a, struct json_span body, uint64_t now);
/* The stream whose handshake may be kept ended too early: a repeated call begins it anew. */
void once_stream_failed(struct once *o, const char *stream_id);
/* A result, or the event that ends a stream: it has a finish_reason, which is not the text's end.
 */
bool once_is_cut_short(struct json_span result);
/* One of the calls whose answer is there; *e holds it until once_settle(). NULL: none. */
struct call *once_next(struct once *o, struct once_entry **e);
/* Forget what is over time or bounds, or failed and was told to all who waited. */
void once_settle(struct once *o, uint64_t now);
#endif
