/* handlers.h - one function per method, the notifications among them. */
#ifndef WORKER_HANDLERS_H
#define WORKER_HANDLERS_H
#include "worker/worker.h"

/* Runs on the I/O thread with checked params; uses up rq->params and rq->reply, now or
 * when what it started ends. Must not block. */
typedef void handler_fn(struct request *rq);

handler_fn *handler_find(const char *method); /* NULL if the worker has none */
#endif
