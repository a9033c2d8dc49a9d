/* drain.c - the end, in order. */
#include "controller/drain.h"
#include "controller/cancel.h"
#include "controller/dispatch.h"
#include "protocol/log.h"
#include <string.h>

/* After shutdown was answered: time for the host to say `exit` or to close, as language
 * clients do. */
#define LEAVE_MS 250

/* The last fifth of the drain time is split: streams are cancelled at its beginning, what
 * is left is answered at its middle, workers are killed at its end. */
static unsigned slice_ms(const struct controller *c)
{
	return (unsigned)c->opt->drain_ms / 10;
}

static void set_timer(struct controller *c, unsigned ms)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };
	event_add(c->phase_timer, &tv);
}

void drain_begin(struct controller *c, const char *why)
{
	if (c->phase != PHASE_SERVING)
		return;
	c->phase = PHASE_DRAINING;
	log_debug("draining: %s; %zu calls, %zu streams", why, registry_count(c->registry),
		c->streams.n);
	set_timer(c, (unsigned)c->opt->drain_ms - 2 * slice_ms(c));
	dispatch_soon(c);
}

void drain_leave(struct controller *c, const char *why)
{
	c->has_left = true;
	drain_begin(c, why);
	dispatch_soon(c);
}

static bool is_idle(const struct controller *c)
{
	return registry_count(c->registry) == (c->shutdown ? 1 : 0) && c->streams.n == 0;
}

/* A worker that does not end by itself is killed when the timer fires. */
static void end_workers(struct controller *c)
{
	c->phase = PHASE_ENDING;
	fleet_stop(c);
	set_timer(c, slice_ms(c) > 100 ? slice_ms(c) : 100);
}

static void answer_shutdown(struct controller *c)
{
	static const char done[] = "{\"success\":true}";
	struct call *call = c->shutdown;
	c->shutdown = NULL;
	if (!call)
		return;
	c->was_shut_down = true;
	registry_finish(
		c->registry, call, ANSWER_RESULT, (struct json_span) { done, sizeof done - 1 });
	set_timer(c, LEAVE_MS);
}

static void finish(struct controller *c)
{
	c->phase = PHASE_OVER;
	event_del(c->phase_timer);
	c->over(c->over_arg);
}

void drain_step(struct controller *c)
{
	if ((c->phase == PHASE_DRAINING || c->phase == PHASE_CANCELLING) && is_idle(c))
		end_workers(c);
	if (c->phase != PHASE_ENDING || !fleet_is_gone(&c->fleet) || !is_idle(c))
		return;
	answer_shutdown(c);
	if (host_queued(c->host) == 0 && (c->has_left || !c->was_shut_down))
		finish(c);
}

/* -- when time runs out ----------------------------------------------------------------- */

/* At the worker, so that they end with their text and statistics. */
static void cancel_streams(struct controller *c)
{
	struct stream *s, *tmp;
	c->phase = PHASE_CANCELLING;
	HASH_ITER (hh, c->streams.by_id, s, tmp)
		cancel_at_worker(c, s);
	set_timer(c, slice_ms(c));
}

static struct call *withdraw_any(struct controller *c)
{
	struct call *call;
	TAILQ_FOREACH (call, registry_live(c->registry), live)
		if (call != c->shutdown && cancel_withdraw(c, call))
			return call;
	return NULL;
}

/* Killing the workers answers what only they can: loads, cancels. */
static void force(struct controller *c)
{
	struct fault f;
	struct call *call;
	struct stream *s, *tmp;
	fault_set(&f, ERR_SHUTTING_DOWN, "tandem is shutting down");
	while ((call = withdraw_any(c)) != NULL)
		registry_fail(c->registry, call, &f);
	HASH_ITER (hh, c->streams.by_id, s, tmp)
		stream_end(&c->streams, s, "cancelled", (struct json_span) { NULL, 0 });
	c->phase = PHASE_ENDING;
	fleet_stop(c);
	fleet_stop(c);
	set_timer(c, 1000);
}

/* All is over but the host has not read it: wait as long as it reads at all. */
static void wait_for_host(struct controller *c)
{
	size_t queued = host_queued(c->host);
	c->has_left = true;
	if (queued == 0 || queued == c->unread) {
		finish(c);
		return;
	}
	c->unread = queued;
	set_timer(c, 1000);
}

void drain_overdue(struct controller *c)
{
	switch (c->phase) {
	case PHASE_SERVING:
	case PHASE_OVER: return;
	case PHASE_DRAINING: cancel_streams(c); break;
	case PHASE_CANCELLING: force(c); break;
	case PHASE_ENDING:
		if (fleet_is_gone(&c->fleet)) {
			wait_for_host(c);
			return;
		}
		fleet_stop(c);
		set_timer(c, 1000);
		break;
	}
	dispatch_soon(c);
}

void drain_abort(struct controller *c, const char *why)
{
	if (c->phase == PHASE_OVER)
		return;
	log_error("%s", why);
	c->exit_code = 74;
	finish(c);
}
