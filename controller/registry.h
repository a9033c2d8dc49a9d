/* registry.h - the live requests: each has one owner and gets exactly one answer.
 *
 * A call is admitted once, then always owned by exactly one part (enum call_owner says
 * which), and ends in registry_finish() (or registry_fail(), which is the same with an
 * error), the only place where an id is answered; it consumes the call, and the caller's
 * pointer with it. a call marked is_silent ends without an answer, for the dialect that wants
 * that. Calls may belong to a group (group.h), whose answers travel together. */
#ifndef CONTROLLER_REGISTRY_H
#define CONTROLLER_REGISTRY_H
#include "controller/queue.h"
#include "protocol/jsonrpc.h"
#include "protocol/methods.h"
#include <event2/event.h>
#include <sys/queue.h>
#include <uthash.h>

struct controller;
struct flight; /* dispatch.c */
struct group;
struct once_entry;
struct progress;
struct registry;
struct stream;

enum call_owner {
	CALL_ADMITTED,  /* being looked at */
	CALL_QUEUED,    /* queue.h */
	CALL_IN_FLIGHT, /* at a worker, in call->flight */
	CALL_JOINED,    /* waits for the answer of an equal one, once.h */
	CALL_HELD,      /* local.c, models.c or a group of its own: waits for other answers */
	CALL_ANSWERED,  /* consumed; its bytes wait for the rest of its group */
};

/* Where an answer goes: into a group, or (group NULL) to the host by itself. */
struct call_seat {
	struct group *group;
	size_t slot;
};

struct call {
	struct queue_item waiting; /* CALL_QUEUED */
	enum call_owner owner;
	const struct method *method;
	char *bytes;                  /* owns what the two spans show */
	struct json_span id;          /* to echo; absent for a notification */
	struct json_span params;      /* an object */
	size_t timeout_at, n_timeout; /* where timeout_ms stands in params; n 0 = absent */

	struct controller *controller; /* for callbacks that get only the call */
	bool wants_stream;             /* generate with notifications */
	bool is_silent;                /* its answer is not written: cancelled by an MCP host */
	struct stream *stream;         /* generate: its stream_id, reserved */
	bool is_continuation;          /* ours, of a stream that lost its worker: replay.h */
	unsigned deaths;               /* of workers that had it */
	struct once_entry *once;       /* its idempotency_key's, or NULL */
	struct progress *progress;     /* the host wants to hear of it, progress.h; or NULL */

	uint64_t number; /* ours, for TRACE */
	uint64_t arrived_us;
	uint64_t deadline_us;  /* 0 = none */
	struct event *timer;   /* deadline; freed when the id is consumed */
	struct flight *flight; /* CALL_IN_FLIGHT */
	size_t flight_slot;

	struct call_seat seat;
	struct group *leads;     /* the group whose answers make this call's, or NULL */
	struct call *kept;       /* answered members of the group it was the parent of */
	int code;                /* once answered: 0, or the error's code */
	struct json_span answer; /* of a call without a seat, while answered() looks at it */

	struct call *next; /* in a kept list */
	TAILQ_ENTRY(call) live;
	TAILQ_ENTRY(call) joined;  /* CALL_JOINED: in once->waiters */
	TAILQ_ENTRY(call) pending; /* in controller->pending */
	UT_hash_handle hh;         /* by id */
};
TAILQ_HEAD(call_list, call);

enum answer { ANSWER_RESULT, ANSWER_ERROR };

struct registry_events {
	/* One whole message for the host. */
	void (*write)(void *arg, const char *text, size_t n);
	/* c's answer is known; its bytes may have to wait for the rest of its group. */
	void (*consumed)(void *arg, struct call *c, enum answer a, struct json_span body);
	/* The bytes of c's answer were given to write(); c is freed on return. */
	void (*answered)(void *arg, struct call *c);
};

struct call_seed {
	const struct method *method;
	struct json_span id;     /* copied */
	struct json_span params; /* an object; copied */
	struct call_seat seat;
	uint64_t now_us;
};

struct registry *registry_new(const struct registry_events *events, void *arg);
void registry_free(struct registry *r); /* no call may be live */

/* A new live call, CALL_ADMITTED. */
struct call *registry_admit(struct registry *r, const struct call_seed *seed);

/* Answer and consume. body: the JSON text of the result, or of the error object. */
void registry_finish(struct registry *r, struct call *c, enum answer a, struct json_span body);
void registry_fail(struct registry *r, struct call *c, const struct fault *f);

/* a and b, both live and neither in a kept list, change callers: ids, seats, times. What a asks for
 * from now on is `params`, an object, copied; its timer and b's are gone. */
void registry_trade(struct registry *r, struct call *a, struct call *b, struct json_span params);

/* A live call with these id bytes, or NULL. */
struct call *registry_find(struct registry *r, struct json_span id);
/* The live calls, oldest first. */
struct call_list *registry_live(struct registry *r);
size_t registry_count(const struct registry *r);

/* An answer to something that never became a call (unreadable, unknown, refused). f NULL:
 * it gets none, but its seat is taken. */
void registry_refuse(
	struct registry *r, struct json_span id, struct call_seat seat, const struct fault *f);

struct call *call_of_item(struct queue_item *it);
#endif
