/* session.h - from one message of the host to the handler that answers it. */
#ifndef WORKER_SESSION_H
#define WORKER_SESSION_H
#include "worker/worker.h"

/* One message, as the frame reader gave it. Everything wrong with it is answered here. */
void session_text(struct worker *w, const char *text, size_t n);
/* A message that was too long to keep (FRAME_TOO_LONG) or had no usable header. */
void session_bad_frame(struct worker *w, enum frame_status status);

/* Check rq->params against rq->method's row and hand rq to its handler; what is wrong is
 * answered. Uses up params and reply. Also the way of each batch_* item and of a request
 * that waited for its model. */
void session_dispatch(struct request *rq);
#endif
