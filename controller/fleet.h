/* fleet.h - the worker processes: started, watched, reaped, started again.
 *
 * supervise.h decides; this file does. A worker's slot lives as long as the controller,
 * the process and the pipes in it come and go. */
#ifndef CONTROLLER_FLEET_H
#define CONTROLLER_FLEET_H
#include "controller/peer.h"
#include "controller/supervise.h"
#include <event2/event.h>
#include <limits.h>

struct controller;
struct worker;

/* How the latest process of a slot ended. */
struct worker_end {
	int signal;            /* 0 = exited */
	int exit_code;         /* -1 = killed by the signal */
	struct buf tail;       /* its last stderr lines, a JSON array */
	char bundle[PATH_MAX]; /* bundle.h; "" = none */
};

/* heartbeat.h */
struct heartbeat {
	struct event *event;
	uint64_t n_heard; /* bytes from the process, at the latest beat */
	unsigned n_missed;
	bool is_asked; /* a ping is not answered yet */
	void (*silent)(struct worker *w);
};

struct worker {
	struct controller *c;
	int index;
	struct supervise sup;
	struct peer *peer;   /* NULL while there is no process */
	pid_t pid;           /* 0 likewise */
	unsigned generation; /* processes started in this slot */
	struct event *timer; /* start deadline, back-off */
	struct heartbeat beat;
	size_t n_calls;   /* in flight here, generates apart */
	size_t n_streams; /* generates it holds, streaming or not */
	size_t n_tokens;  /* of work left in both, load.h */
	uint64_t last_us; /* of the latest dispatch */
	size_t n_reloading;
	const char *broke; /* how the present process broke the protocol, or NULL */
	struct buf info;   /* its runtime/info result, JSON */
	struct worker_end end;
	char last_error[256];
};

struct fleet {
	struct worker *workers;
	int n;
	struct event *sigchld;
	bool is_announced;
	bool is_paused;
};

void fleet_start(struct controller *c);
/* Kill and reap what is left at once; every call there is lost. */
void fleet_end(struct controller *c);
void fleet_free(struct controller *c); /* after fleet_end() */

bool fleet_is_settling(const struct fleet *f);     /* a worker is starting or loading */
bool fleet_may_serve(const struct fleet *f);       /* a worker serves or will */
void fleet_pause(struct fleet *f, bool is_paused); /* reading of workers' stdout */
/* Ask every worker to end; again to kill those that have not. */
void fleet_stop(struct controller *c);
bool fleet_is_gone(const struct fleet *f); /* no process is left */

/* A worker has its models. */
void fleet_models_back(struct worker *w);

struct worker *fleet_worker(struct fleet *f, int index);
bool worker_is_ready(const struct worker *w);

/* What a worker's end took with it. */
struct crash_note {
	const char *phase;
	int64_t tokens; /* delivered; < 0: not a stream */
	bool is_poison; /* the second worker it was lost with */
	bool is_spent;  /* it would go again if the retry budget allowed */
};
/* Its error object. */
void worker_write_crash(const struct worker *w, const struct crash_note *note, struct buf *out);
/* The same for a call that found no worker able to serve. */
void fleet_write_failure(const struct fleet *f, struct buf *out);
#endif
