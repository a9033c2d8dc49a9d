/* roster.h - workers added, drained, removed and replaced while the rest serves.
 *
 * A worker that leaves first gives the models that only it has to another, then takes nothing
 * more, and when it has answered everything its stdin is closed. One that is replaced leaves when
 * its successor, started from the binary that is there now, is up with the same models; if it does
 * not get them, nobody is replaced. So no call and no stream ends because of it. */
#ifndef CONTROLLER_ROSTER_H
#define CONTROLLER_ROSTER_H
#include "controller/controller.h"

/* The methods; the calls are held and answered when what they ask for is done. */
void roster_add(struct controller *c, struct call *call);
void roster_drain(struct controller *c, struct call *call);
void roster_remove(struct controller *c, struct call *call);

/* SIGHUP: replace all, one after the other. */
void roster_renew(struct controller *c);

/* Go on with what is under way; call after workers changed. */
void roster_step(struct controller *c);
#endif
