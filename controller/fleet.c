/* fleet.c - worker processes. */
#include "controller/fleet.h"
#include "controller/bundle.h"
#include "controller/clock.h"
#include "controller/controller.h"
#include "controller/dispatch.h"
#include "controller/heartbeat.h"
#include "controller/local.h"
#include "controller/relay.h"
#include "controller/replay.h"
#include "protocol/cpus.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "protocol/version.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

#define START_SECONDS 60  /* to answer `initialize`; models are not loaded yet then */
#define CLOSED_MS     500 /* to end after its stdout did */

static void happened(struct worker *w, enum sup_event event);
static void workers_changed(struct controller *c);

struct worker *fleet_worker(struct fleet *f, int index)
{
	return index >= 0 && index < f->n ? &f->workers[index] : NULL;
}

bool worker_is_ready(const struct worker *w)
{
	return sup_serves(w->sup.state);
}

static void set_timer(struct worker *w, unsigned ms)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };
	event_add(w->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct worker *w = arg;
	happened(w, w->sup.state == SUP_BACKOFF ? SUP_DELAY_OVER : SUP_SILENT);
}

/* -- greeting --------------------------------------------------------------------------- */

static void on_info(void *arg, const struct peer_reply *r)
{
	struct worker *w = arg;
	if (r->outcome == PEER_LOST)
		return;
	buf_clear(&w->info);
	if (r->outcome == PEER_RESULT)
		buf_add(&w->info, r->body.at, r->body.n);
	happened(w, SUP_HELLO);
}

static void on_initialized(void *arg, const struct peer_reply *r)
{
	struct worker *w = arg;
	struct json_span none = { NULL, 0 };
	if (r->outcome == PEER_RESULT)
		peer_call(w->peer, "runtime/info", none, on_info, w);
	else if (r->outcome == PEER_ERROR)
		happened(w, SUP_SILENT);
}

static void greet(struct worker *w)
{
	static const char params[] =
		"{\"protocolVersion\":\"1\",\"capabilities\":{\"takes_over\":true},"
		"\"clientInfo\":{\"name\":\"tandem\",\"version\":\"" TANDEM_VERSION "\"}}";
	struct json_span span = { params, sizeof params - 1 };
	peer_call(w->peer, "initialize", span, on_initialized, w);
	set_timer(w, START_SECONDS * 1000);
}

/* -- a process -------------------------------------------------------------------------- */

static void on_notified(void *arg, const struct rpc_msg *m, const char *text, size_t n)
{
	relay_notification(arg, m, text, n);
}

static void on_silent(struct worker *w)
{
	happened(w, SUP_SILENT);
}

static void on_closed(void *arg)
{
	struct worker *w = arg;
	/* It is about to end by itself, most likely; a kill now would hide why. */
	if (w->sup.state != SUP_ENDING)
		set_timer(w, CLOSED_MS);
}

/* One that hangs, or is stopped, would not end by itself; no heartbeat is heard from here on. */
static void close_input(struct worker *w)
{
	unsigned patience = w->c->opt->heartbeat_ms;
	peer_end_input(w->peer);
	set_timer(w, patience ? patience : START_SECONDS * 1000);
}

static void on_said(void *arg, const char *line)
{
	struct worker *w = arg;
	log_info("[worker %d] %s", w->index, line);
}

/* It is not to be trusted with the rest of its calls either. */
static void on_broken(void *arg, const char *how)
{
	struct worker *w = arg;
	log_warn("worker %d broke the protocol: %s", w->index, how);
	w->broke = how;
	happened(w, SUP_SILENT);
}

static void start(struct worker *w)
{
	static const struct peer_events events = { on_notified, on_closed, on_said, on_broken };
	struct spawned fds;
	struct fault f;
	w->generation++;
	char **argv = options_worker_command(w->c->opt, w->command);
	cpu_set_t cpus;
	const bool pin = w->c->opt->pin && !w->c->opt->n_commands;
	if (pin)
		cpus_slice(w->index * (int)w->c->opt->threads, (int)w->c->opt->threads, &cpus);
	int err = spawn_process(argv, pin ? &cpus : NULL, &fds, &f);
	free(argv);
	if (err < 0) {
		log_error("%s", f.text);
		snprintf(w->last_error, sizeof w->last_error, "%.250s", f.text);
		happened(w, SUP_UNFIT);
		models_worker_lost(w->c, w, true);
		workers_changed(w->c);
		return;
	}
	heartbeat_restart(w);
	w->n_garbage = 0;
	w->broke = NULL;
	w->pid = fds.pid;
	w->peer = peer_open(w->c->base, &fds, &events, w);
	if (w->c->fleet.is_paused)
		peer_pause(w->peer, true);
	log_debug("worker %d is process %d", w->index, (int)w->pid);
	greet(w);
}

static void kill_group(struct worker *w)
{
	if (w->pid > 0)
		kill(-w->pid, SIGKILL);
}

const char *worker_signal_name(const struct worker *w)
{
	const char *name = sigabbrev_np(w->end.signal);
	return name ? name : "RT";
}

static void note_end(struct worker *w, int status)
{
	w->end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	w->end.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	w->end.n_had = w->n_calls + w->n_streams;
	buf_clear(&w->end.tail);
	peer_write_tail(w->peer, &w->end.tail);
	const char *said = peer_last_line(w->peer);
	if (w->broke)
		snprintf(w->last_error, sizeof w->last_error, "broke the protocol: %s", w->broke);
	else if (heartbeat_is_lost(w))
		snprintf(w->last_error, sizeof w->last_error, "stopped answering: %.200s", said);
	else if (w->end.signal)
		snprintf(w->last_error, sizeof w->last_error, "killed by SIG%s: %.200s",
			worker_signal_name(w), said);
	else
		snprintf(w->last_error, sizeof w->last_error, "exit %d: %.200s", w->end.exit_code,
			said);
}

/* What it wrote before it died is still delivered; then its calls are lost, then its
 * streams, in this order, so that a handshake is never answered after its stream ended. A
 * stream that was being cancelled ends first: its cancel is answered with the calls. */
static void ended(struct worker *w, int status)
{
	bool was_expected = w->sup.state == SUP_ENDING || w->sup.state == SUP_KILLED;
	bool was_up = w->sup.state == SUP_SILENCED ||
		      (sup_answers(w->sup.state) && w->sup.state != SUP_LOADING);
	struct peer *peer = w->peer;
	peer_read_rest(peer);
	note_end(w, status);
	w->end.bundle[0] = '\0';
	if (!was_expected)
		bundle_write(w);
	kill_group(w); /* whatever it started */
	w->pid = 0;
	event_del(w->timer);
	if (!was_expected) {
		log_warn("worker %d ended: %s", w->index, w->last_error);
		w->c->metrics.counts[METRICS_CRASHES]++;
		breaker_fault(&w->breaker, clock_us());
	}
	enum sup_event event = SUP_DIED;
	if (!was_up && !w->end.signal && sup_is_unfit_code(w->end.exit_code))
		event = SUP_UNFIT;
	w->peer = NULL;
	happened(w, event);
	replay_end_cancelled(w);
	peer_close(peer);
	affinity_forget(w->c->affinity, w->index);
	replay_streams(w);
	models_worker_lost(w->c, w, w->sup.state == SUP_FAILED);
	workers_changed(w->c);
}

static void on_sigchld(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct controller *c = arg;
	for (int i = 0; i < c->fleet.n; i++) {
		struct worker *w = &c->fleet.workers[i];
		int status;
		if (w->pid > 0 && waitpid(w->pid, &status, WNOHANG) == w->pid)
			ended(w, status);
	}
}

/* -- what the table says ---------------------------------------------------------------- */

/* Old hosts wait for this text. It is said once every worker is up or given up. */
static void announce(struct controller *c)
{
	struct fleet *f = &c->fleet;
	bool any = false;
	for (int i = 0; i < f->n; i++)
		any = any || worker_is_ready(&f->workers[i]);
	if (f->is_announced || !any || fleet_is_settling(f))
		return;
	f->is_announced = true;
	log_info("MLX Runtime ready");
}

static void workers_changed(struct controller *c)
{
	announce(c);
	local_workers_changed(c);
	models_advance(c);
	dispatch_soon(c);
}

static void happened(struct worker *w, enum sup_event event)
{
	uint32_t noise = 0;
	bool is_end = event == SUP_DIED || event == SUP_UNFIT;
	if (is_end && getrandom(&noise, sizeof noise, GRND_NONBLOCK) < 0)
		noise = (uint32_t)clock_us();
	enum sup_state before = w->sup.state;
	enum sup_action action = sup_happened(&w->sup, event, clock_us(), noise);
	log_trace("supervise", "worker %d: %s, event %d -> %s", w->index, sup_state_name(before),
		(int)event, sup_state_name(w->sup.state));
	switch (action) {
	case SUP_RELOAD:
		event_del(w->timer);
		models_reload(w->c, w);
		break;
	case SUP_WAIT: set_timer(w, w->sup.delay_ms); break;
	case SUP_SPAWN: start(w); break;
	case SUP_KILL: kill_group(w); break;
	case SUP_CLOSE: close_input(w); break;
	case SUP_GIVE_UP: log_error("worker %d is given up: %s", w->index, w->last_error); break;
	case SUP_SERVE: workers_changed(w->c); break;
	case SUP_REST:
	case SUP_BURY: dispatch_soon(w->c); break;
	case SUP_NOTHING:
	case SUP_N_ACTIONS: break;
	}
}

void fleet_happened(struct worker *w, enum sup_event event)
{
	happened(w, event);
}

/* -- all of them ------------------------------------------------------------------------ */

static void open_slot(struct controller *c, int i)
{
	struct worker *w = &c->fleet.workers[i];
	w->c = c;
	w->index = w->command = i;
	w->timer = evtimer_new(c->base, on_timer, w);
	heartbeat_init(w, c->opt->heartbeat_ms, on_silent);
	sup_init(&w->sup, c->opt->restarts);
	w->change.replaces = -1;
}

void fleet_start(struct controller *c)
{
	struct fleet *f = &c->fleet;
	f->n = c->opt->n_workers;
	/* All slots that may ever be used: workers are pointed to. */
	f->workers = xcalloc(OPTIONS_WORKERS_MAX, sizeof *f->workers);
	f->sigchld = evsignal_new(c->base, SIGCHLD, on_sigchld, c);
	event_add(f->sigchld, NULL);
	for (int i = 0; i < f->n; i++)
		open_slot(c, i);
	for (int i = 0; i < f->n; i++)
		start(&f->workers[i]);
}

struct worker *fleet_add(struct controller *c, const struct worker *like)
{
	struct fleet *f = &c->fleet;
	int i = 0;
	while (i < f->n && !f->workers[i].is_vacant)
		i++;
	if (i == OPTIONS_WORKERS_MAX)
		return NULL;
	struct worker *w = &f->workers[i];
	if (i == f->n) {
		f->n++;
		open_slot(c, i);
	}
	w->command = like ? like->command : i;
	w->is_vacant = false;
	w->last_error[0] = '\0';
	sup_init(&w->sup, c->opt->restarts);
	w->breaker = (struct breaker) { .n_faults = 0 };
	start(w);
	return w;
}

void fleet_vacate(struct worker *w)
{
	log_info("worker %d is gone", w->index);
	/* Who was to take its place has it now; the slot may soon be another's. */
	for (int i = 0; i < w->c->fleet.n; i++)
		if (w->c->fleet.workers[i].change.replaces == w->index)
			w->c->fleet.workers[i].change.replaces = -1;
	w->is_vacant = true;
	w->change = (struct roster_entry) { .replaces = -1 };
	buf_clear(&w->info);
	models_worker_lost(w->c, w, true);
	workers_changed(w->c);
}

int fleet_size(const struct fleet *f)
{
	int n = 0;
	for (int i = 0; i < f->n; i++)
		n += !f->workers[i].is_vacant && !f->workers[i].change.is_leaving;
	return n;
}

static void end_process(struct worker *w)
{
	struct peer *peer = w->peer;
	pid_t pid = w->pid;
	kill_group(w);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	w->pid = 0;
	w->peer = NULL;
	peer_close(peer);
}

void fleet_end(struct controller *c)
{
	/* First none serves, so that nothing lost from one goes to another. */
	for (int i = 0; i < c->fleet.n; i++)
		c->fleet.workers[i].sup.state = SUP_STOPPED;
	for (int i = 0; i < c->fleet.n; i++)
		end_process(&c->fleet.workers[i]);
}

void fleet_free(struct controller *c)
{
	struct fleet *f = &c->fleet;
	for (int i = 0; i < f->n; i++) {
		event_free(f->workers[i].timer);
		heartbeat_release(&f->workers[i]);
		buf_release(&f->workers[i].info);
		buf_release(&f->workers[i].end.tail);
	}
	event_free(f->sigchld);
	free(f->workers);
}

bool fleet_is_settling(const struct fleet *f)
{
	for (int i = 0; i < f->n; i++)
		if (f->workers[i].sup.state == SUP_STARTING ||
			f->workers[i].sup.state == SUP_LOADING)
			return true;
	return false;
}

bool fleet_may_serve(const struct fleet *f)
{
	for (int i = 0; i < f->n; i++)
		if (sup_may_serve(f->workers[i].sup.state))
			return true;
	return false;
}

void fleet_pause(struct fleet *f, bool is_paused)
{
	f->is_paused = is_paused;
	for (int i = 0; i < f->n; i++)
		if (f->workers[i].peer)
			peer_pause(f->workers[i].peer, is_paused);
}

void fleet_stop(struct controller *c)
{
	for (int i = 0; i < c->fleet.n; i++)
		happened(&c->fleet.workers[i], SUP_STOP);
}

bool fleet_is_gone(const struct fleet *f)
{
	for (int i = 0; i < f->n; i++)
		if (f->workers[i].pid > 0)
			return false;
	return true;
}

/* -- telling ---------------------------------------------------------------------------- */

static void open_error(struct buf *out, const struct worker *w, const char *message, bool is_poison)
{
	const struct err_info *info = err_info(ERR_WORKER_CRASHED);
	buf_addc(out, '{');
	jout_key_int(out, "code", info->code);
	jout_key_cstr(out, "message", message);
	jout_key(out, "data");
	buf_addc(out, '{');
	jout_key_cstr(out, "type", info->type);
	jout_key_bool(out, "retryable", !is_poison && sup_may_serve(w->sup.state));
}

static void write_end(const struct worker *w, struct buf *out)
{
	jout_key_int(out, "worker", w->index);
	jout_key(out, "signal");
	if (w->end.signal) {
		buf_adds(out, "\"SIG");
		buf_adds(out, worker_signal_name(w));
		buf_addc(out, '"');
	} else {
		buf_adds(out, "null");
		jout_key_int(out, "exit_code", w->end.exit_code);
	}
	jout_key_int(out, "restarts", w->sup.restarts);
	if (w->end.bundle[0])
		jout_key_cstr(out, "bundle", w->end.bundle);
	jout_key(out, "stderr_tail");
	if (w->end.tail.n_bytes)
		buf_add(out, w->end.tail.data, w->end.tail.n_bytes);
	else
		buf_adds(out, "[]");
	buf_adds(out, "}}");
}

void worker_write_crash(const struct worker *w, const struct crash_note *note, struct buf *out)
{
	char message[512];
	snprintf(message, sizeof message, "Worker crashed%s: %s",
		note->is_poison ? ", as one did before with this request" : "", w->last_error);
	open_error(out, w, message, note->is_poison);
	jout_key_cstr(out, "phase", note->phase);
	if (note->tokens >= 0)
		jout_key_int(out, "tokens_delivered", note->tokens);
	if (note->is_poison)
		jout_key_bool(out, "poison", true);
	if (note->is_spent)
		jout_key_bool(out, "retry_budget_spent", true);
	write_end(w, out);
}

void fleet_write_failure(const struct fleet *f, struct buf *out)
{
	char message[512];
	const struct worker *w = &f->workers[0];
	snprintf(message, sizeof message, "No worker can serve: %s", w->last_error);
	open_error(out, w, message, false);
	jout_key_cstr(out, "phase", "start");
	write_end(w, out);
}
