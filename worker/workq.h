/* workq.h - one thread that takes what would hold up the I/O thread: loading a model,
 * tokenizing a very long text. In order, one at a time. */
#ifndef WORKER_WORKQ_H
#define WORKER_WORKQ_H
#include <pthread.h>
#include <stdbool.h>

struct chore {
	void (*run)(struct chore *c); /* on the queue's thread; the chore is its own from here */
	struct chore *next;
};

struct workq {
	pthread_mutex_t lock;
	pthread_cond_t some;
	struct chore *first, *last;
	bool stopping;
	pthread_t thread;
};

int workq_start(struct workq *q, const char *thread_name); /* 0, or ERR_IO */
void workq_push(struct workq *q, struct chore *c);
void workq_stop(struct workq *q); /* runs what is queued, then joins the thread */
#endif
