/* flow.h - output that the host does not read stops the computing, not the memory bound.
 *
 * The I/O thread says how many bytes wait in the outbox; sinks add what they put into
 * stream buffers. Above the high mark the compute thread waits between steps until the sum
 * fell below the low one. Control answers do not pass here, so they keep flowing. */
#ifndef WORKER_FLOW_H
#define WORKER_FLOW_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define FLOW_HIGH ((size_t)8 << 20)
#define FLOW_LOW  ((size_t)1 << 20)

struct flow {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	size_t buffered; /* bytes in stream buffers */
	size_t unsent;   /* bytes in the outbox */
	bool released;   /* the end: nobody waits any more */
};

void flow_init(struct flow *f);
void flow_release(struct flow *f);
void flow_buffered(struct flow *f, size_t n_bytes);               /* a sink took these */
void flow_drained(struct flow *f, size_t n_bytes, size_t unsent); /* and they went on; outbox now */
void flow_open(struct flow *f);                                   /* wait never again */
void flow_wait(struct flow *f); /* compute thread, between steps, no lock held */
#endif
