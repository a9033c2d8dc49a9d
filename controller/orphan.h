/* orphan.h - noticing that the process which started us is gone.
 *
 * Its end shows as end of file on stdin, unless somebody else holds the pipe open. The
 * kernel's signal tells at once, but is lost in an exec by a set-uid program and comes also when
 * only the starting thread ended; asking getppid() settles both. */
#ifndef CONTROLLER_ORPHAN_H
#define CONTROLLER_ORPHAN_H
#include <event2/event.h>
#include <sys/types.h>

struct orphan_watch {
	pid_t parent;
	struct event *signalled, *looks;
	void (*orphaned)(void *arg);
	void *arg;
};

/* parent: getppid() as it was when the process began. orphaned(arg) is called once. */
void orphan_watch_init(struct orphan_watch *o, struct event_base *base, pid_t parent,
	void (*orphaned)(void *arg), void *arg);
void orphan_watch_release(struct orphan_watch *o);
#endif
