/* supervise.h - what to do when something happens to a worker, as a state x event table.
 *
 * Pure policy: no process, no clock, no timer. The caller (fleet.c) reports an event with
 * the time, does what the returned action says, and reports what came of it. A start
 * failure (a bad argument, a missing library: exit codes 64 to 78) ends in FAILED at once,
 * since trying again cannot help; any other death is tried again after a growing delay,
 * at most max_restarts times in SUP_WINDOW_US, then FAILED too. */
#ifndef CONTROLLER_SUPERVISE_H
#define CONTROLLER_SUPERVISE_H
#include <stdbool.h>
#include <stdint.h>

#define SUP_RESTARTS     3 /* unless told otherwise */
#define SUP_RESTARTS_MAX 256
#define SUP_WINDOW_US    (60 * UINT64_C(1000000))
#define SUP_DELAY_MIN_MS 100
#define SUP_DELAY_MAX_MS 30000

enum sup_state {
	SUP_STARTING, /* spawned, `initialize` not answered yet */
	SUP_LOADING,  /* answers; its models are being loaded back */
	SUP_READY,    /* takes requests and has none */
	SUP_BUSY,     /* takes requests and has some */
	SUP_RETIRING, /* finishes what it has and takes nothing more */
	SUP_PARKED,   /* has finished it; lives, and takes nothing */
	SUP_SILENCED, /* did not answer any more and was killed for it; not reaped yet */
	SUP_ENDING,   /* its stdin is closed, it ends by itself */
	SUP_KILLED,   /* told to die, not reaped yet */
	SUP_BACKOFF,  /* dead; a new one follows after the delay */
	SUP_FAILED,   /* dead, given up */
	SUP_STOPPED,  /* dead as asked */
	SUP_N_STATES
};

enum sup_event {
	SUP_HELLO,       /* it answered `initialize` */
	SUP_MODELS_BACK, /* every model it should have is loaded or was refused */
	SUP_UNFIT,       /* it ended with an exit code 64..78, or could not be spawned */
	SUP_DIED,        /* it ended in any other way */
	SUP_SILENT,     /* no `initialize` answer, or no end, in time, heartbeats missed, its stdout
			   closed, or the protocol broken */
	SUP_DELAY_OVER, /* the back-off delay has passed */
	SUP_WORK,       /* it was given its first call, */
	SUP_IDLE,       /* or has answered its last */
	SUP_DRAIN,      /* it shall take nothing more, */
	SUP_RESUME,     /* or shall again */
	SUP_STOP,       /* the controller ends, or goes on without it */
	SUP_N_EVENTS
};

enum sup_action {
	SUP_NOTHING,
	SUP_RELOAD,  /* load the models it should have, then report MODELS_BACK */
	SUP_SERVE,   /* dispatch to it */
	SUP_REST,    /* it has nothing left: whoever drained it may go on */
	SUP_KILL,    /* SIGKILL its process group; its death will be reported */
	SUP_WAIT,    /* its requests failed; report DELAY_OVER after sup->delay_ms */
	SUP_SPAWN,   /* start a new process */
	SUP_GIVE_UP, /* its requests and its models failed for good */
	SUP_CLOSE,   /* close its stdin, so that it drains and ends */
	SUP_BURY,    /* it ended as asked */
	SUP_N_ACTIONS
};

struct supervise {
	enum sup_state state;
	unsigned max_restarts;
	uint64_t deaths[SUP_RESTARTS_MAX]; /* times of the latest unexpected deaths, a ring */
	unsigned n_deaths;                 /* all of them */
	unsigned restarts;                 /* processes started after the first */
	unsigned delay_ms;                 /* valid after SUP_WAIT */
};

void sup_init(struct supervise *s, unsigned max_restarts);

/* Moves s to its next state. `noise` is any random number; it spreads the delays. */
enum sup_action sup_happened(
	struct supervise *s, enum sup_event event, uint64_t now_us, uint32_t noise);

const char *sup_state_name(enum sup_state s);
bool sup_is_alive(enum sup_state s);  /* a process exists */
bool sup_may_serve(enum sup_state s); /* it serves, or will without anybody's help */
bool sup_serves(enum sup_state s);    /* calls may be given to it now */
bool sup_answers(enum sup_state s);   /* it was up: pings should be answered */
bool sup_is_unfit_code(int exit_code);
#endif
