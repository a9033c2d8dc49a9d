/* inbox.h - where other threads meet the compute thread: jobs come in, cancels reach them.
 *
 * One lock guards the line of new tasks, the table of all that are not over, and the wish
 * to stop. The compute thread holds it for a few instructions per step. */
#ifndef WORKER_ENGINE_INBOX_H
#define WORKER_ENGINE_INBOX_H
#include "worker/engine/task.h"
#include <pthread.h>

struct inbox {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct task *line;  /* new tasks, oldest first (utlist) */
	struct task *table; /* all that are not over, by job key */
	bool stopping;
	bool rung;    /* something was cancelled, held or let go since the last look */
	bool gathers; /* the line is not taken yet: more of it is coming */
};

void inbox_init(struct inbox *in);
void inbox_release(struct inbox *in);

/* Any thread. */
void inbox_put(struct inbox *in, struct task *t); /* t->refused once stopping */
void inbox_gather(struct inbox *in, bool gathers);
bool inbox_cancel(struct inbox *in, uint64_t key);
bool inbox_hold(struct inbox *in, uint64_t key, bool is_held);
void inbox_cancel_model(struct inbox *in, const struct model_ref *m); /* NULL: all */
size_t inbox_count(struct inbox *in);
void inbox_stop(struct inbox *in, bool drain);

/* Compute thread. inbox_take: the whole line, oldest first; it sleeps until there is one,
 * something was said about a task, the engine stops or wait_s passed (negative: however long
 * that is; 0: not at all). */
struct task *inbox_take(struct inbox *in, double wait_s);
bool inbox_is_over(struct inbox *in);               /* stopping, and nothing came in */
bool inbox_close(struct inbox *in, struct task *t); /* out of the table; true: was cancelled */
#endif
