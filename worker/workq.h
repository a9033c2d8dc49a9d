/* workq.h - threads that take what would hold up the I/O thread: loading a model, tokenizing
 * much text. Chores start in order; with one thread they also end in order. */
#ifndef WORKER_WORKQ_H
#define WORKER_WORKQ_H
#include <pthread.h>
#include <stdbool.h>

#define WORKQ_THREADS_MAX 16

struct chore {
	void (*run)(struct chore *c); /* on the queue's thread; the chore is its own from here */
	struct chore *next;
};

struct workq {
	pthread_mutex_t lock;
	pthread_cond_t some;
	struct chore *first, *last;
	bool stopping;
	pthread_t threads[WORKQ_THREADS_MAX];
	int n_threads;
};

/* 0, or ERR_IO when not even one thread could be started. */
int workq_start(struct workq *q, const char *thread_name, int n_threads);
void workq_push(struct workq *q, struct chore *c);
void workq_stop(struct workq *q); /* runs what is queued, then joins the threads */
#endif
