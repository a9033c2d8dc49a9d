/* fleet.h - the worker processes: started, watched, reaped, started again.
 *
 * supervise.h decides; this file does. A worker's slot lives as long as the controller,
 * the process and the pipes in it come and go. */
#ifndef CONTROLLER_FLEET_H
#define CONTROLLER_FLEET_H
#include "controller/breaker.h"
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
	size_t n_had;          /* requests and streams */
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

/* roster.h */
enum roster_wish { ROSTER_NOTHING, ROSTER_ADD, ROSTER_DRAIN, ROSTER_REMOVE };
struct roster_entry {
	enum roster_wish wish;
	struct call *asker; /* to be answered when the wish came true, or NULL */
	bool is_leaving;    /* it shall be drained, and then end */
	bool has_moved;     /* its models were given to others, as far as it was the only one */
	bool is_lacking;    /* a model that it should have got could not be loaded there */
	bool is_due;        /* a new process shall take its place */
	int replaces;       /* the worker that leaves when this one is up, or -1 */
};

struct worker {
	struct controller *c;
	int index;
	int command; /* that of the user's which starts it, options_worker_command() */
	struct supervise sup;
	struct breaker breaker;
	uint64_t n_garbage;  /* of the process, counted by the breaker so far */
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
	struct roster_entry change; /* roster.h: what is being done about it */
	bool is_vacant;             /* the slot may be used again */
	const char *broke;          /* how the present process broke the protocol, or NULL */
	struct buf info;            /* its runtime/info result, JSON */
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

bool fleet_is_settling(const struct fleet *f); /* a worker is starting or loading */
bool fleet_may_serve(const struct fleet *f);   /* a worker serves or will */
int fleet_size(const struct fleet *f);         /* workers there are and that stay */
/* A new worker in a free slot, started by the same command as `like`, or NULL: by the slot's own.
 * NULL when there is no slot. */
struct worker *fleet_add(struct controller *c, const struct worker *like);
/* Its process is gone and no other follows: forget it, and what it had. */
void fleet_vacate(struct worker *w);
void fleet_pause(struct fleet *f, bool is_paused); /* reading of workers' stdout */
/* Ask every worker to end; again to kill those that have not. */
void fleet_stop(struct controller *c);
bool fleet_is_gone(const struct fleet *f); /* no process is left */

/* Report to the supervision table what only others know: SUP_MODELS_BACK, SUP_WORK, SUP_IDLE,
 * SUP_DRAIN, SUP_RESUME, SUP_STOP. */
void fleet_happened(struct worker *w, enum sup_event event);

struct worker *fleet_worker(struct fleet *f, int index);
bool worker_is_ready(const struct worker *w);
/* Of the signal that ended its latest process: "KILL", or "RT" of one that has only a number. */
const char *worker_signal_name(const struct worker *w);

/* What a worker's end took with it. */
struct crash_note {
	const char *phase;
	int64_t tokens; /* delivered; < 0: not a stream */
	bool is_poison; /* lost with as many workers as retry.h bears */
	bool is_spent;  /* it would go again if the retry budget allowed */
};
/* Its error object. */
void worker_write_crash(const struct worker *w, const struct crash_note *note, struct buf *out);
/* The same for a call that found no worker able to serve. */
void fleet_write_failure(const struct fleet *f, struct buf *out);
#endif
