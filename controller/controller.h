/* controller.h - the controller: what its parts share, and its life.
 *
 * One thread, one event base. Each part owns its field and hands out functions; this
 * struct only lets them find each other. host -> admit -> (queue -> dispatch -> worker) or
 * (local, models, cancel) -> registry -> host. */
#ifndef CONTROLLER_CONTROLLER_H
#define CONTROLLER_CONTROLLER_H
#include "controller/affinity.h"
#include "controller/fleet.h"
#include "controller/host.h"
#include "controller/metrics.h"
#include "controller/models.h"
#include "controller/once.h"
#include "controller/options.h"
#include "controller/poison.h"
#include "controller/queue.h"
#include "controller/registry.h"
#include "controller/retry.h"
#include "controller/stream.h"
#include <event2/event.h>

enum controller_phase {
	PHASE_SERVING,
	PHASE_DRAINING,   /* nothing new; what runs may finish */
	PHASE_CANCELLING, /* the drain time is nearly over: streams are being cancelled */
	PHASE_ENDING,     /* every id answered; workers are ending */
	PHASE_OVER,
};

struct controller {
	const struct options *opt;
	struct event_base *base;
	struct host *host;
	struct registry *registry;
	struct streams streams;
	struct stream_marks marks; /* flow.h: streams that wait for the host's pipe, in order */
	struct queue queue;
	struct fleet fleet;
	struct models models;
	struct metrics metrics;
	struct retry_budget retry;
	struct once once;
	struct poison poison;
	struct affinity *affinity; /* which worker knows which prompts */
	struct event *dispatch;    /* runs dispatch_run() at the end of this turn */

	enum controller_phase phase;
	struct event *phase_timer;
	struct call *shutdown;    /* the call to answer once drained, or NULL */
	struct call_list pending; /* calls that wait for a worker to be up, see local.h */
	bool speaks_mcp;          /* the host said so when it said hello */
	bool was_shut_down;       /* shutdown was answered: the host may still say `exit` */
	bool has_left;            /* it has, or cannot, or the time for it is over */
	size_t unread;            /* output of the host at the latest look in PHASE_ENDING */
	uint64_t started_us;
	int exit_code;
	void (*over)(void *arg); /* PHASE_OVER was reached */
	void *over_arg;
};

/* Opens the host's descriptors and starts the workers. opt is borrowed. */
struct controller *controller_new(
	struct event_base *base, const struct options *opt, int in_fd, int out_fd);
/* After PHASE_OVER, or at any time: what is left is ended at once, unanswered. Waits for
 * nothing but the reaping of killed workers. */
void controller_free(struct controller *c);

/* Serve stdin and stdout until the end, or that of `parent`; returns the exit code. */
int controller_serve(const struct options *opt, int in_fd, int out_fd, pid_t parent);

/* An event base that can also watch regular files. */
struct event_base *controller_event_base(void);

#endif
