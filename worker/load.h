/* load.h - load_model: on the loader thread, joined by who asks for the same, cancellable.
 *
 * With --model-bytes a load begins once there is room for it: the models that were unused
 * longest are put to sleep, those in use are waited for, loads are let in in the order they came.
 * A call that names a sleeping model wakes it, and waits as for any load. */
#ifndef WORKER_LOAD_H
#define WORKER_LOAD_H
#include "worker/models.h"

handler_fn handle_load_model;

/* Keep rq until the load of model_id is decided; false if none is running. */
bool load_park(const struct request *rq, const char *model_id);
bool load_is_running(const struct models *m, const char *model_id);
/* Load a sleeping model again, and keep rq until it is there. True. */
bool load_wake(const struct request *rq, const struct loaded *l);
/* Start what waited for room, put to sleep what was kept long enough, and answer those whose
 * timeout_ms passed while they waited; seconds to the next of these, -1 = none. */
double load_tick(struct worker *w, double now);
/* A model that is larger than it looked, or was to leave, is there: others may have to. */
void load_trim(struct worker *w);
/* fn(arg, model_id, fraction) for each load running or queued. */
void load_each(const struct models *m, void (*fn)(void *arg, const char *model_id, double fraction),
	void *arg);
bool load_is_idle(const struct models *m); /* no load holds the loader thread */
#endif
