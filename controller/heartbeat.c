/* heartbeat.c - pings, and what their absence means. */
#include "controller/heartbeat.h"
#include "controller/controller.h"
#include "protocol/log.h"

static void on_pong(void *arg, const struct peer_reply *r)
{
	struct worker *w = arg;
	if (r->outcome != PEER_LOST)
		w->beat.is_asked = false;
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct worker *w = arg;
	struct heartbeat *b = &w->beat;
	bool listens = sup_answers(w->sup.state);
	uint64_t heard = w->peer ? peer_n_heard(w->peer) : 0;
	if (!listens || w->c->fleet.is_paused || heard != b->n_heard) {
		b->n_heard = heard;
		b->n_missed = 0;
		return;
	}
	if (!b->is_asked) {
		b->is_asked = true;
		peer_call(w->peer, "ping", (struct json_span) { NULL, 0 }, on_pong, w);
		return;
	}
	if (++b->n_missed != HEARTBEAT_MISSES)
		return;
	log_warn("worker %d does not answer", w->index);
	w->c->metrics.counts[METRICS_SILENT]++;
	b->silent(w);
}

void heartbeat_init(struct worker *w, unsigned period_ms, void (*silent)(struct worker *w))
{
	unsigned ms = period_ms / (HEARTBEAT_MISSES + 1);
	struct timeval every = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };
	w->beat.silent = silent;
	if (period_ms == 0)
		return;
	w->beat.event = event_new(w->c->base, -1, EV_PERSIST, on_beat, w);
	event_add(w->beat.event, &every);
}

void heartbeat_release(struct worker *w)
{
	if (w->beat.event)
		event_free(w->beat.event);
}

void heartbeat_restart(struct worker *w)
{
	w->beat.n_heard = 0;
	w->beat.n_missed = 0;
	w->beat.is_asked = false;
}

bool heartbeat_is_lost(const struct worker *w)
{
	return w->beat.n_missed >= HEARTBEAT_MISSES;
}
