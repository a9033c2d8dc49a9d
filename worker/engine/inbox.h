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
};

void inbox_init(struct inbox *in);
void inbox_release(struct inbox *in);

/* Any thread. */
void inbox_put(struct inbox *in, struct task *t); /* t->refused once stopping */
bool inbox_cancel(struct inbox *in, uint64_t key);
void inbox_cancel_model(struct inbox *in, const struct model_ref *m); /* NULL: all */
size_t inbox_count(struct inbox *in);
void inbox_stop(struct inbox *in, bool drain);

/* Compute thread. inbox_take: the whole line, oldest first; with `wait` it sleeps until
 * there is one or the engine stops. */
struct task *inbox_take(struct inbox *in, bool wait);
bool inbox_is_over(struct inbox *in);               /* stopping, and nothing came in */
bool inbox_close(struct inbox *in, struct task *t); /* out of the table; true: was cancelled */
#endif
