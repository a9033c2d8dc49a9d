/* task.h - a job inside the engine: which of its choices run, and how they end.
 *
 * Everything here belongs to the compute thread but `cancelled`, `held` and `refused`,
 * by which other threads reach it (inbox.h). Each choice ends exactly once, by task_end. */
#ifndef WORKER_ENGINE_TASK_H
#define WORKER_ENGINE_TASK_H
#include "worker/engine/engine.h"
#include <stdatomic.h>
#include <uthash.h>

struct inbox;
struct sequence;
struct turn;

struct task {
	struct job *job;                /* owned */
	struct inbox *inbox;            /* that it came through */
	double rank;                    /* sched_rank */
	struct turn *turn;              /* of its client, in the lane; NULL = takes no turns */
	double started;                 /* clock_now() when it left the line; 0 before */
	size_t blocks, full_blocks;     /* of KV: promised to it, and all it can need */
	struct sequence *seqs[LIMIT_N]; /* owned; NULL until the choice is under way */
	bool ended[LIMIT_N];
	int n_open;               /* choices not ended */
	bool is_parked;           /* in line again, with a sequence that has no KV (room.h) */
	struct task *prev, *next; /* of the one list it is in */
	atomic_bool cancelled;    /* set by any thread */
	atomic_bool held;         /* its reader does not keep up; set by any thread */
	bool refused;      /* submitted after the end; set before the compute thread sees it */
	UT_hash_handle hh; /* inbox table, under its lock */
};

/* How a choice ends. */
struct ending {
	enum finish finish;
	enum stop_detail detail;
	const struct fault *fault; /* FINISH_ERROR */
};

struct task *task_new(struct job *j, struct inbox *inbox); /* takes j */
int task_choices(const struct task *t);                    /* 1..LIMIT_N */
void task_free(struct task *t);                            /* every choice has ended */

/* End one choice, or all that are still open: the sink hears of it, KV blocks go back. */
void task_end(struct task *t, int choice, const struct ending *how);
void task_end_all(struct task *t, const struct ending *how);
#endif
