/* share.h - work that several calls wait for (once.h): who leaves costs only itself.
 *
 * The first of them is the one that is queued and sent. If it is cancelled or out of time, it
 * changes places with one of the others: the work goes on in that one's name and with its time, and
 * what leaves is a call that only waited. Work nobody wants any more is given up by whoever left
 * last, as any other is. */
#ifndef CONTROLLER_SHARE_H
#define CONTROLLER_SHARE_H
#include "controller/controller.h"

/* Others wait for the answer of this call. */
bool share_is_wanted(const struct call *call);

/* The call to be ended where its caller leaves: itself, or if others wait for its answer one of
 * them, which has its caller now. */
struct call *share_leave(struct controller *c, struct call *call);

/* A worker answered call, which is the caller's, and its own time limit may have decided how: then
 * it leaves with that answer, and the others' work is queued again. False: the answer is for all.
 */
bool share_go_on(struct controller *c, struct call *call, enum answer a, struct json_span body);
#endif
