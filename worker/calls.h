/* calls.h - the calls that are not over yet, so that a cancel can find them.
 *
 * A call is embedded in what runs it (a stream, a load, a long tokenize). It is found by
 * the bytes of its request's id or by its stream_id; several calls may share a request id
 * (the items of one batch). Owned by the I/O thread. */
#ifndef WORKER_CALLS_H
#define WORKER_CALLS_H
#include "worker/reply.h"
#include <uthash.h>

enum cancel_how {
	CANCEL_FINISH, /* our `cancel`: ends in its usual way, finish_reason cancelled */
	CANCEL_ERROR,  /* $/cancelRequest: an unanswered request is answered -32800 */
	CANCEL_SILENT, /* notifications/cancelled: nothing more is written for it */
};

struct call {
	struct call *prev, *next;
	char *id; /* bytes of the request's id; NULL for a notification */
	size_t n_id;
	char *stream_id; /* NULL if it has none */
	UT_hash_handle by_stream;
	/* The ones it uses, so that unloading can wait; or NULL. */
	const struct model_ref *model, *draft;
	/* Ask the call to end. It may end before this returns, or later; it always ends. */
	void (*cancel)(struct call *c, enum cancel_how how);
	struct cancel_waiter **waiting; /* `cancel` requests to answer when it is over */
	size_t n_waiting;
};

struct calls {
	struct call *list;
	struct call *streams; /* by stream_id */
	size_t n;
};

/* Register. reply tells the id (may be NULL), stream_id is copied (may be NULL). */
void calls_add(struct calls *cs, struct call *c, const struct reply *reply, const char *stream_id);
struct call *calls_find_stream(const struct calls *cs, const char *stream_id);
/* It can emit nothing more: unregister, and answer the cancels that waited for it. */
void calls_over(struct calls *cs, struct call *c);

/* Cancel every call with this request id, by stream_id, all. How many were found. */
size_t calls_cancel_id(struct calls *cs, struct json_span id, enum cancel_how how);
bool calls_cancel_stream(struct calls *cs, const char *stream_id, enum cancel_how how);
void calls_cancel_all(struct calls *cs, enum cancel_how how);

/* The `cancel` method, by stream_id (or NULL) and id (or an absent span): {cancelled:true}
 * once all that were found are over, false at once when there are none. Takes reply. */
void calls_cancel_and_tell(
	struct calls *cs, const char *stream_id, struct json_span id, struct reply *reply);
#endif
