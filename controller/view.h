/* view.h - workers as runtime/info, runtime/state and runtime/telemetry show them. */
#ifndef CONTROLLER_VIEW_H
#define CONTROLLER_VIEW_H
#include "controller/controller.h"

struct view_memory {
	long rss, vms; /* bytes; 0 for a process that is not there */
};
struct view_memory view_read_memory(pid_t pid);

size_t view_inflight(const struct worker *w);

/* Append the member "workers":[…]. telemetry: for each worker the JSON text of its own
 * telemetry, or empty; NULL for none at all. */
void view_write_workers(const struct controller *c, struct buf *out, const struct buf *telemetry);
#endif
