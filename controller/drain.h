/* drain.h - the one way to stop: admit nothing, let finish, cancel, end the workers.
 *
 * drain_begin() is idempotent; drain_step() is called whenever something ended. The last
 * fifth of the drain time is for cancelling what will not finish by itself. */
#ifndef CONTROLLER_DRAIN_H
#define CONTROLLER_DRAIN_H
#include "controller/controller.h"

void drain_begin(struct controller *c, const char *why);
/* The same, and nobody is there to say more: after a shutdown was answered nothing is
 * waited for. */
void drain_leave(struct controller *c, const char *why);
void drain_step(struct controller *c);
/* The time of the present phase has passed. */
void drain_overdue(struct controller *c);
/* stdout is gone: end at once. */
void drain_abort(struct controller *c, const char *why);
#endif
