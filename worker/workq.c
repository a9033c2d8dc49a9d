/* workq.c - threads beside the I/O loop for what takes long. */
#include "worker/workq.h"
#include "protocol/err.h"
#include <stddef.h>

static struct chore *take(struct workq *q)
{
	pthread_mutex_lock(&q->lock);
	while (!q->first && !q->stopping)
		pthread_cond_wait(&q->some, &q->lock);
	struct chore *c = q->first;
	if (c)
		q->first = c->next;
	pthread_mutex_unlock(&q->lock);
	return c;
}

static void *serve(void *arg)
{
	struct workq *q = arg;
	struct chore *c;
	while ((c = take(q)))
		c->run(c);
	return NULL;
}

int workq_start(struct workq *q, const char *thread_name, int n_threads)
{
	*q = (struct workq) { 0 };
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->some, NULL);
	for (int i = 0; i < n_threads && i < WORKQ_THREADS_MAX; i++) {
		if (pthread_create(&q->threads[i], NULL, serve, q) != 0)
			break;
		pthread_setname_np(q->threads[i], thread_name);
		q->n_threads++;
	}
	return q->n_threads > 0 ? 0 : ERR_IO;
}

void workq_push(struct workq *q, struct chore *c)
{
	c->next = NULL;
	pthread_mutex_lock(&q->lock);
	if (q->first)
		q->last->next = c;
	else
		q->first = c;
	q->last = c;
	pthread_cond_signal(&q->some);
	pthread_mutex_unlock(&q->lock);
}

void workq_stop(struct workq *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	pthread_cond_broadcast(&q->some);
	pthread_mutex_unlock(&q->lock);
	for (int i = 0; i < q->n_threads; i++)
		pthread_join(q->threads[i], NULL);
	pthread_cond_destroy(&q->some);
	pthread_mutex_destroy(&q->lock);
}
