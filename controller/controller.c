/* controller.c - the parts put together, and the life of the whole. */
#include "controller/controller.h"
#include "controller/admit.h"
#include "controller/cancel.h"
#include "controller/clock.h"
#include "controller/dispatch.h"
#include "controller/drain.h"
#include "controller/flow.h"
#include "controller/local.h"
#include "controller/lone.h"
#include "controller/orphan.h"
#include "controller/relay.h"
#include "controller/replay.h"
#include "controller/roster.h"
#include "protocol/cpus.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* -- what the parts tell each other ----------------------------------------------------- */

static void on_message(void *arg, const char *text, size_t n)
{
	admit_message(arg, text, n);
}

static void on_unreadable(void *arg, enum frame_status why)
{
	admit_unreadable(arg, why);
}

static void on_ended(void *arg)
{
	drain_leave(arg, "end of stdin");
}

static void on_gone(void *arg, const char *why)
{
	drain_abort(arg, why);
}

static void on_taken(void *arg)
{
	struct controller *c = arg;
	flow_drained(c);
	if (c->phase == PHASE_ENDING && host_queued(c->host) == 0)
		dispatch_soon(c);
}

/* Streams are bounded by their credit; with much waiting no new call goes to a worker either
 * (see dispatch_run), while what we answer ourselves still flows. Full means a worker that
 * keeps to no credit: only then is its pipe left to fill up. */
static void on_level(void *arg, enum host_level level)
{
	struct controller *c = arg;
	static const char *const names[] = { "reading again", "not reading", "not reading at all" };
	log_debug("the host is %s", names[level]);
	fleet_pause(&c->fleet, level == HOST_FULL);
	dispatch_soon(c);
}

static void write_to_host(void *arg, const char *text, size_t n)
{
	struct controller *c = arg;
	host_write(c->host, text, n);
}

static void note_answer(struct controller *c, const struct call *call)
{
	uint64_t took = clock_us() - call->arrived_us;
	metrics_answered(&c->metrics, call->method->name, call->code);
	histogram_add(&c->metrics.times[METRICS_CALL], took);
	if (!strcmp(call->method->name, "load_model"))
		histogram_add(&c->metrics.times[METRICS_LOAD], took);
}

static void on_consumed(void *arg, struct call *call, enum answer a, struct json_span body)
{
	struct controller *c = arg;
	if (call->once) {
		once_leave(call);
		once_answered(call, a, body, clock_us());
	}
	if (c->once.n_due)
		dispatch_soon(c);
}

static void on_answered(void *arg, struct call *call)
{
	struct controller *c = arg;
	struct stream *s = call->stream;
	if (call->is_continuation) {
		if (s)
			replay_answered(c, s, call);
		return;
	}
	note_answer(c, call);
	retry_answered(&c->retry);
	if (!s)
		return;
	s->call = NULL;
	if (call->code || !call->wants_stream) {
		stream_free(&c->streams, s);
		return;
	}
	c->metrics.counts[METRICS_STREAMS]++;
	replay_keep_params(s, call);
	const bool is_over = s->has_ended;
	stream_open(&c->streams, s);
	if (!is_over)
		flow_passed(c, s);
}

static void on_dispatch(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	dispatch_run(arg);
	drain_step(arg);
}

static void on_phase_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	drain_overdue(arg);
}

static void on_over(void *arg)
{
	struct controller *c = arg;
	event_base_loopbreak(c->base);
}

/* -- life ------------------------------------------------------------------------------- */

static void on_libevent_log(int severity, const char *text)
{
	if (severity >= EVENT_LOG_WARN)
		log_warn("libevent: %s", text);
}

struct event_base *controller_event_base(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;
	event_set_log_callback(on_libevent_log);
	/* epoll refuses regular files, and stdin may be one. */
	if (cfg && event_config_require_features(cfg, EV_FEATURE_FDS) == 0)
		base = event_base_new_with_config(cfg);
	if (cfg)
		event_config_free(cfg);
	if (!base)
		log_fatal("no event loop that can watch files");
	return base;
}

static void open_host(struct controller *c, int in_fd, int out_fd)
{
	static const struct host_events events = { on_message, on_unreadable, on_ended, on_gone,
		on_taken, on_level };
	struct host_io io = { in_fd, out_fd, c->opt->framing, c->opt->max_message };
	c->host = host_open(c->base, &io, &events, c);
}

struct controller *controller_new(
	struct event_base *base, const struct options *opt, int in_fd, int out_fd)
{
	static const struct registry_events events = { write_to_host, on_consumed, on_answered };
	struct controller *c = xcalloc(1, sizeof *c);
	c->opt = opt;
	c->base = base;
	c->started_us = clock_us();
	c->over = on_over;
	c->over_arg = c;
	TAILQ_INIT(&c->pending);
	TAILQ_INIT(&c->marks);
	c->registry = registry_new(&events, c);
	c->streams.write = write_to_host;
	c->streams.ended = relay_stream_ended;
	c->streams.arg = c;
	retry_init(&c->retry, opt->retry_budget, c->started_us);
	c->affinity = xcalloc(1, sizeof *c->affinity);
	once_init(&c->once);
	poison_init(&c->poison);
	queue_init(&c->queue, opt->queue_calls, opt->queue_bytes);
	c->dispatch = event_new(base, -1, 0, on_dispatch, c);
	c->phase_timer = evtimer_new(base, on_phase_timer, c);
	open_host(c, in_fd, out_fd);
	fleet_start(c);
	return c;
}

/* Nobody reads any more: what is left only has to give its memory back. */
static void drop_everything(struct controller *c)
{
	struct fault f;
	struct call *call;
	struct stream *s, *tmp;
	fault_set(&f, ERR_SHUTTING_DOWN, "tandem is shutting down");
	while ((call = TAILQ_FIRST(registry_live(c->registry))) != NULL) {
		cancel_withdraw(c, call);
		registry_fail(c->registry, call, &f);
	}
	HASH_ITER (hh, c->streams.by_id, s, tmp)
		stream_free(&c->streams, s);
}

void controller_free(struct controller *c)
{
	if (!c)
		return;
	c->phase = PHASE_OVER;
	/* First the workers: losing them answers every load and cancel. */
	fleet_end(c);
	drop_everything(c);
	fleet_free(c);
	queue_release(&c->queue);
	once_release(&c->once);
	poison_forget(&c->poison);
	models_free(&c->models);
	metrics_release(&c->metrics);
	registry_free(c->registry);
	event_free(c->dispatch);
	event_free(c->phase_timer);
	host_close(c->host);
	free(c->affinity);
	free(c);
}

/* -- serving ---------------------------------------------------------------------------- */

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)what;
	if (sig == SIGHUP)
		roster_renew(arg);
	else
		drain_leave(arg, strsignal((int)sig));
}

static void on_orphaned(void *arg)
{
	drain_leave(arg, "the parent process is gone");
}

/* A process with one processor would keep it from those that it waits for. */
static void turn_until_over(struct controller *c)
{
	struct lone lone = { 0 };
	const bool may_watch = cpus_allowed() > 1;
	while (c->phase != PHASE_OVER) {
		const bool watch = may_watch && lone_expects(&lone, clock_us());
		event_base_loop(c->base, watch ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
		lone_note(&lone, registry_count(c->registry), c->streams.n, clock_us());
	}
}

int controller_serve(const struct options *opt, int in_fd, int out_fd, pid_t parent)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct event *events[3];
	struct orphan_watch orphan;
	struct event_base *base = controller_event_base();
	struct record *record = NULL;
	struct fault f;
	if (opt->record_path) {
		record = record_open(base, opt->record_path, opt->record_bytes, opt->given, &f);
		if (!record) {
			log_error("%s", f.text);
			event_base_free(base);
			return EX_CANTCREAT;
		}
	}
	struct controller *c = controller_new(base, opt, in_fd, out_fd);
	host_record(c->host, record);
	for (int i = 0; i < 3; i++) {
		events[i] = evsignal_new(base, signals[i], on_signal, c);
		event_add(events[i], NULL);
	}
	orphan_watch_init(&orphan, base, parent, on_orphaned, c);
	turn_until_over(c);
	int code = c->exit_code;
	controller_free(c);
	record_close(record);
	orphan_watch_release(&orphan);
	for (int i = 0; i < 3; i++)
		event_free(events[i]);
	event_base_free(base);
	return code;
}
