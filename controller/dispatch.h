/* dispatch.h - from the queue to the workers, and the answers back. */
#ifndef CONTROLLER_DISPATCH_H
#define CONTROLLER_DISPATCH_H
#include "controller/controller.h"

/* Look at everything again at the end of this turn of the event loop: waiting calls, ops on
 * models, the drain. The requests that arrived in one read so leave together, and none
 * waits for a timer. */
void dispatch_soon(struct controller *c);
void dispatch_run(struct controller *c);

/* The worker a call is at, -1 when it is at none. */
int dispatch_worker(const struct call *call);

/* Take a call out of the frame it travels in; its answer will be dropped. Only-call
 * frames are cancelled at the worker too. The caller owns the call then. */
void dispatch_detach(struct controller *c, struct call *call);
#endif
