/* reply.h - the one answer that each request gets, whatever it is part of.
 *
 * A reply is made when a request is read and used up by exactly one of reply_result,
 * reply_fault and reply_drop. It knows where its answer goes: a frame of its own, an
 * element of a JSON-RPC batch array, or an item of a batch_* call's results[] (and those
 * nest). The array or the results leave when the last member was answered. Owned by the
 * I/O thread. */
#ifndef WORKER_REPLY_H
#define WORKER_REPLY_H
#include "protocol/json_scan.h"
#include "worker/outbox.h"
#include "worker/telemetry.h"

struct reply;
struct gather; /* several replies that leave together */

struct reply_to {
	struct outbox *out;
	struct telemetry *telemetry;
	struct json_span id;  /* copied; absent (at NULL) = a notification: nothing is written */
	struct gather *array; /* NULL, or the batch array this answer is an element of */
};
struct reply *reply_new(const struct reply_to *to);

/* A JSON-RPC batch array of n members; each reply_new() with it counts as one. Members
 * that are notifications add nothing; when nothing was added, nothing is written. */
struct gather *gather_new_array(struct outbox *out, size_t n);
/* The results[] of a batch_* call; parent is answered (or dropped) with the last item. */
struct gather *gather_new_results(struct reply *parent, size_t n);
struct reply *reply_new_item(struct gather *results, size_t i);

/* For telemetry: which method, since when (clock_now). */
void reply_about(struct reply *r, const struct method *m, double arrived);
/* Call fn(arg) right after the frame with this answer was put in the outbox. */
void reply_on_sent(struct reply *r, void (*fn)(void *arg), void *arg);
bool reply_is_wanted(const struct reply *r); /* false for a notification */
const char *reply_id(
	const struct reply *r, size_t *n); /* bytes of the request's id; NULL if none */

/* Each frees r. A result that does not fit in a frame becomes ERR_INVALID_PARAMS. */
void reply_result(struct reply *r, const char *json, size_t n);
void reply_fault(struct reply *r, const struct fault *f);
void reply_drop(struct reply *r); /* MCP's cancelled request: silence */
#endif
