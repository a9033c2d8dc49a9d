/* local.h - the methods the controller answers itself. */
#ifndef CONTROLLER_LOCAL_H
#define CONTROLLER_LOCAL_H
#include "controller/controller.h"

void local_call(struct controller *c, struct call *call);
/* The same for one that was checked before: its worker ended over it. */
void local_again(struct controller *c, struct call *call);
/* Answer the runtime/info calls that waited for a worker to be up. */
void local_workers_changed(struct controller *c);
#endif
