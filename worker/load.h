/* load.h - load_model: on the loader thread, joined by who asks for the same, cancellable. */
#ifndef WORKER_LOAD_H
#define WORKER_LOAD_H
#include "worker/models.h"

handler_fn handle_load_model;

/* Keep rq until the load of model_id is decided; false if none is running. */
bool load_park(const struct request *rq, const char *model_id);
/* Answer those whose timeout_ms passed while they waited; seconds to the next, -1 = none. */
double load_tick(struct worker *w, double now);
/* fn(arg, model_id, fraction) for each load running or queued. */
void load_each(const struct models *m, void (*fn)(void *arg, const char *model_id, double fraction),
	void *arg);
bool load_is_idle(const struct models *m); /* no load holds the loader thread */
#endif
