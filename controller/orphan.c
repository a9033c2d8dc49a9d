/* orphan.c - the death of our parent. */
#include "controller/orphan.h"
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LOOK_SECONDS 1

static void look(struct orphan_watch *o)
{
	if (getppid() == o->parent)
		return;
	event_del(o->signalled);
	event_del(o->looks);
	o->orphaned(o->arg);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	look(arg);
}

void orphan_watch_init(struct orphan_watch *o, struct event_base *base, pid_t parent,
	void (*orphaned)(void *arg), void *arg)
{
	const struct timeval every = { LOOK_SECONDS, 0 };
	o->parent = parent;
	o->orphaned = orphaned;
	o->arg = arg;
	o->signalled = evsignal_new(base, SIGUSR1, on_look, o);
	o->looks = event_new(base, -1, EV_PERSIST, on_look, o);
	event_add(o->signalled, NULL);
	event_add(o->looks, &every);
	/* After the handler is there: by default SIGUSR1 would end us, unanswered. */
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
}

void orphan_watch_release(struct orphan_watch *o)
{
	prctl(PR_SET_PDEATHSIG, 0);
	event_free(o->signalled);
	event_free(o->looks);
}
