/* room.h - who is let in, and whose blocks they are.
 *
 * Every task in the pool has blocks promised to it, together never more than there are; so
 * whoever needs one of his own finds it, given that the prefix cache yields. A request of the
 * default or the urgent class is promised all it can come to need before it starts, and runs
 * to its end. A background one is promised what it has to hold now, and more as it grows.
 * When there is no more, the youngest of them is parked: its blocks go back, its tokens stay,
 * and once in line again it is let in with all it can need promised, computes its KV anew and
 * goes on, bit for bit, as if nothing had been. One whose end is a matter of several texts or
 * of sums (n > 1, a draft check, an embedding) is never parked. Compute thread only. */
#ifndef WORKER_ENGINE_ROOM_H
#define WORKER_ENGINE_ROOM_H
#include "worker/engine/lane.h"

/* What t can come to need into t->full_blocks. False, and the fault, if the pool is smaller. */
bool room_measure(struct lane *l, struct task *t, struct fault *f);
/* Put t in line, by rank. */
void room_queue(struct lane *l, struct task *t);
/* Promise the background what it grew by, or park the youngest until it is enough. */
void room_grow(struct lane *l);
/* Let in who fits, first in line first. Who is above the background and does not fit makes
 * those of it that come after him leave, where that helps. */
void room_admit(struct lane *l, double now);
#endif
