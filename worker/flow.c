/* flow.c - the compute thread waits for a host that does not read. */
#include "worker/flow.h"

void flow_init(struct flow *f)
{
	*f = (struct flow) { 0 };
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->moved, NULL);
}

void flow_release(struct flow *f)
{
	pthread_cond_destroy(&f->moved);
	pthread_mutex_destroy(&f->lock);
}

void flow_buffered(struct flow *f, size_t n_bytes)
{
	pthread_mutex_lock(&f->lock);
	f->buffered += n_bytes;
	pthread_mutex_unlock(&f->lock);
}

void flow_drained(struct flow *f, size_t n_bytes, size_t unsent)
{
	pthread_mutex_lock(&f->lock);
	f->buffered -= n_bytes;
	f->unsent = unsent;
	if (f->buffered + f->unsent <= FLOW_LOW)
		pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
}

void flow_open(struct flow *f)
{
	pthread_mutex_lock(&f->lock);
	f->released = true;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
}

void flow_wait(struct flow *f)
{
	pthread_mutex_lock(&f->lock);
	if (f->buffered + f->unsent > FLOW_HIGH)
		while (!f->released && f->buffered + f->unsent > FLOW_LOW)
			pthread_cond_wait(&f->moved, &f->lock);
	pthread_mutex_unlock(&f->lock);
}
