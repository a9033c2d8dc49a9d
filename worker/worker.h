/* worker.h - the parts of one worker process, and a request on its way through them.
 *
 * One struct worker exists; main makes it, the I/O thread owns it. Other threads touch only
 * what says that it is thread-safe: catalog, engine, mailbox, workqs. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H
#include "worker/calls.h"
#include "worker/catalog.h"
#include "worker/engine/engine.h"
#include "worker/heap.h"
#include "worker/mailbox.h"
#include "worker/model/artifact_store.h"
#include "worker/options.h"
#include "worker/outbox.h"
#include "worker/reply.h"
#include "worker/telemetry.h"
#include "worker/workq.h"
#include <json-c/json.h>

struct models; /* models.h: what was loaded, is being loaded, waits to be unloaded */

enum phase {
	PHASE_SERVING,
	PHASE_DRAINING,   /* nothing is admitted; what runs may end by itself */
	PHASE_CANCELLING, /* the drain time is over: everything was asked to end */
};

struct worker {
	struct worker_options options;
	struct artifact_store cache;
	struct catalog *catalog;
	struct engine *engine;
	struct mailbox mail;
	struct outbox out;
	struct calls calls;
	struct heap heap;
	struct models *models;
	struct workq loader, aux;
	pthread_t compute; /* runs the engine */
	struct telemetry telemetry;
	struct stream *held;      /* streams with tokens that wait for more, time or room */
	uint64_t last_key;        /* of the jobs given to the engine */
	struct reply *on_drained; /* the `shutdown` request, answered when nothing is left */
	enum phase phase;
	double drain_until;  /* clock_now() based, once the phase is not SERVING */
	bool exit_asked;     /* `exit` or a signal: leave without waiting for the end of stdin */
	bool is_replaceable; /* the client said `takes_over`: a signal ends us at once */
	double started;      /* clock_now() */
	size_t n_emitted;    /* tokens written, for --dev-crash-after */
};

/* One request, with what it owns: a handler uses up params and reply. */
struct request {
	struct worker *w;
	const struct method *method;
	struct json_object *params;  /* checked by method_check; NULL = {} */
	struct json_span raw_params; /* its text, while the handler runs */
	struct reply *reply;
	double arrived; /* clock_now() */
	bool is_bulky;  /* part of so much text that reading it would hold up the I/O thread */
	bool admitted;  /* once let in, waiting for a model does not put it out again */
};

/* Start every thread but the caller's, which becomes the I/O thread. w->options is set, the
 * rest zeroed; out: the protocol's descriptor. ERR_IO: no descriptors, threads or memory. */
int worker_start(struct worker *w, int out);
/* Only when no call and no load is left: then every thread comes to its end. */
void worker_stop(struct worker *w);
#endif
