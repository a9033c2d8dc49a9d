/* heartbeat.h - telling a busy worker from one that stopped answering.
 *
 * A worker answers ping at once, also while it computes or loads. One that says nothing at all for
 * a number of beats in a row, though asked, is reported as SUP_SILENT. Beats are counted, not
 * seconds: when the machine or we ourselves stood still, what it said meanwhile is read
 * before the next beat. Workers are read also while the host does not read; only where one keeps
 * to no credit (flow.h) and filled the host's queue are they not, and nothing counts. */
#ifndef CONTROLLER_HEARTBEAT_H
#define CONTROLLER_HEARTBEAT_H
#include "controller/fleet.h"

#define HEARTBEAT_MISSES 4 /* beats without a byte before it counts as silent */

/* Does nothing if the period is 0. silent(w) is called once a process at most. */
void heartbeat_init(struct worker *w, unsigned period_ms, void (*silent)(struct worker *w));
void heartbeat_release(struct worker *w);
/* A new process: begin to count anew. */
void heartbeat_restart(struct worker *w);
/* The present process was found silent. */
bool heartbeat_is_lost(const struct worker *w);
#endif
