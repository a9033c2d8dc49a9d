/* bundle.c - a dead worker's case, on file. */
#include "controller/bundle.h"
#include "controller/bundle_folder.h"
#include "controller/clock.h"
#include "controller/dispatch.h"
#include "controller/replay.h"
#include "protocol/log.h"
#include "protocol/utf8.h"
#include "protocol/version.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PARAMS_BYTES   ((size_t)32 << 10)  /* kept of one request's */
#define REQUESTS_BYTES ((size_t)512 << 10) /* kept of all */

static void write_request(
	struct buf *out, const char *method, struct json_span id, struct json_span params)
{
	jout_sep(out);
	buf_addc(out, '{');
	if (id.at)
		jout_key_raw(out, "id", id.at, id.n);
	jout_key_cstr(out, "method", method);
	if (params.n <= PARAMS_BYTES)
		jout_key_raw(out, "params", params.at, params.n);
	else
		jout_key_str(
			out, "params_begin", params.at, utf8_whole_prefix(params.at, PARAMS_BYTES));
}

/* What it had: calls not answered yet, and streams whose handshake was. */
static void write_requests(const struct worker *w, struct buf *out)
{
	const size_t before = out->n_bytes;
	size_t n_left_out = 0;
	const struct call *call;
	const struct stream *s;
	jout_key(out, "requests");
	buf_addc(out, '[');
	TAILQ_FOREACH (call, registry_live(w->c->registry), live) {
		if (dispatch_worker(call) != w->index)
			continue;
		if (out->n_bytes - before > REQUESTS_BYTES) {
			n_left_out++;
			continue;
		}
		write_request(out, call->method->name, call->id, call->params);
		buf_addc(out, '}');
	}
	for (s = w->c->streams.by_id; s; s = s->hh.next) {
		if (s->worker != w->index || !s->params_bytes)
			continue;
		if (out->n_bytes - before > REQUESTS_BYTES) {
			n_left_out++;
			continue;
		}
		write_request(out, "generate", stream_call_id(s), s->params);
		jout_key_int(out, "tokens_delivered", (int64_t)s->n_tokens);
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
	if (n_left_out)
		jout_key_int(out, "requests_left_out", (int64_t)n_left_out);
}

static void write_bundle(const struct worker *w, const char *when, struct buf *out)
{
	buf_adds(out, "{\"tandem\":\"" TANDEM_VERSION "\"");
	jout_key_cstr(out, "time", when);
	jout_key_int(out, "worker", w->index);
	jout_key_int(out, "pid", w->pid);
	jout_key_int(out, "generation", w->generation);
	jout_key_cstr(out, "state", sup_state_name(w->sup.state));
	jout_key_cstr(out, "last_error", w->last_error);
	jout_key(out, "signal");
	if (w->end.signal)
		buf_addf(out, "\"SIG%s\"", worker_signal_name(w));
	else
		buf_adds(out, "null");
	jout_key_int(out, "exit_code", w->end.exit_code);
	peer_write_evidence(w->peer, out);
	write_requests(w, out);
	jout_key_raw(out, "runtime_info", w->info.n_bytes ? w->info.data : "null",
		w->info.n_bytes ? w->info.n_bytes : 4);
	buf_adds(out, "}\n");
}

void bundle_write(struct worker *w)
{
	char when[24], name[64];
	struct buf text = BUF_INIT;
	struct fault f;
	struct tm tm;
	time_t now = time(NULL);
	w->end.bundle[0] = '\0';
	if (!w->c->opt->bundles)
		return;
	gmtime_r(&now, &tm);
	strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
	snprintf(name, sizeof name, BUNDLE_PREFIX "%s-%d" BUNDLE_SUFFIX, when, (int)w->pid);
	write_bundle(w, when, &text);
	struct bundle_limits limits = { w->c->opt->bundles, BUNDLE_BYTES_ALL };
	if (bundle_store(name, &text, &limits, w->end.bundle, sizeof w->end.bundle, &f) < 0)
		log_warn("no crash bundle: %s", f.text);
	else
		log_warn("what is known of it is in %s", w->end.bundle);
	buf_release(&text);
}
