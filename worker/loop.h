/* loop.h - the I/O thread: stdin, stdout, letters, signals, time.
 *
 * It never blocks but in poll(2), and never stops reading because the host does not. End of
 * stdin, `shutdown`, `exit` and signals all take one path: nothing more is admitted, what
 * runs may end within drain_ms, the rest is cancelled, every id is answered. */
#ifndef WORKER_LOOP_H
#define WORKER_LOOP_H
#include "worker/worker.h"
#include <sys/types.h>

struct loop_io {
	int in;       /* the host's bytes */
	int signals;  /* a byte each: SIGTERM SIGINT SIGHUP; SIGUSR1 = a parent thread died */
	pid_t parent; /* who started us */
};

/* Until there is nothing more to do. True if all calls ended, so that what they used may be
 * freed; false when the host went away or did not let us finish. */
bool loop_run(struct worker *w, const struct loop_io *io);

/* Begin the end (again is harmless). why: for the log. */
void loop_drain(struct worker *w, const char *why);
#endif
