/* cancel.h - stopping a request, in the three dialects hosts speak. */
#ifndef CONTROLLER_CANCEL_H
#define CONTROLLER_CANCEL_H
#include "controller/controller.h"

/* `cancel`, `$/cancelRequest` (LSP) and `notifications/cancelled` (MCP). */
void cancel_method(struct controller *c, struct call *call);

/* A call's deadline has passed. */
void cancel_overdue(struct controller *c, struct call *call);

/* Take a call away from whoever owns it, to be finished by the caller. False if its owner
 * cannot let go (a load, a cancel): it will be answered in its own time. */
bool cancel_withdraw(struct controller *c, struct call *call);

/* Ask the worker to end a stream; one that waits for a worker ends here. */
void cancel_at_worker(struct controller *c, struct stream *s);
#endif
