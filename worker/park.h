/* park.h - requests that named a model while it was being loaded.
 *
 * They wait in the list of that load, cancellable and no longer than their timeout_ms, and
 * go on as if they had come after it. */
#ifndef WORKER_PARK_H
#define WORKER_PARK_H
#include "worker/worker.h"

struct parked; /* a list; NULL = empty */

/* Takes what rq owns. model_id is borrowed for as long as the list lives. */
void park(struct parked **list, const struct request *rq, const char *model_id);
/* The load is decided: dispatch all, in the order they came. */
void park_resume(struct parked **list);
/* The load failed, and would again: answer all with f. */
void park_refuse(struct parked **list, const struct fault *f);
/* Is any of them a call of this method? */
bool park_has(const struct parked *list, const char *method);
/* Does any of them name this model, as its own or to draft? */
bool park_names(const struct parked *list, const char *model_id);
/* Answer those whose time is over; seconds to the next, -1 = none. */
double park_tick(struct parked **list, double now);
#endif
