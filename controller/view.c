/* view.c - what there is to see of a worker from outside. */
#include "controller/view.h"
#include "controller/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* /proc/PID/statm begins with the pages of address space and those resident. */
struct view_memory view_read_memory(pid_t pid)
{
	char path[64], text[128] = "", *rest = text;
	long page = sysconf(_SC_PAGESIZE);
	snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
	FILE *f = pid > 0 ? fopen(path, "re") : NULL;
	if (!f)
		return (struct view_memory) { 0, 0 };
	if (!fgets(text, sizeof text, f))
		text[0] = '\0';
	fclose(f);
	long vms = strtol(rest, &rest, 10);
	long rss = strtol(rest, &rest, 10);
	return (struct view_memory) { rss * page, vms * page };
}

size_t view_inflight(const struct worker *w)
{
	return w->n_calls + w->n_streams;
}

static void write_worker(const struct worker *w, struct buf *out, const struct buf *telemetry)
{
	jout_sep(out);
	buf_addc(out, '{');
	jout_key_int(out, "id", w->index);
	jout_key_int(out, "pid", w->pid);
	/* Hosts wait for the word ready: one that is busy is ready, too. */
	jout_key_cstr(out, "state", sup_state_name(worker_is_ready(w) ? SUP_READY : w->sup.state));
	jout_key_bool(out, "busy", w->sup.state == SUP_BUSY);
	jout_key_int(out, "generation", w->generation);
	jout_key_int(out, "restarts", w->sup.restarts);
	jout_key_int(out, "inflight", (int64_t)view_inflight(w));
	jout_key_cstr(out, "breaker", breaker_name(breaker_state(&w->breaker, clock_us())));
	jout_key_int(out, "rss", view_read_memory(w->pid).rss);
	jout_key_cstr(out, "last_error", w->last_error[0] ? w->last_error : NULL);
	if (telemetry && telemetry->n_bytes)
		jout_key_raw(out, "telemetry", telemetry->data, telemetry->n_bytes);
	buf_addc(out, '}');
}

void view_write_workers(const struct controller *c, struct buf *out, const struct buf *telemetry)
{
	jout_key(out, "workers");
	buf_addc(out, '[');
	for (int i = 0; i < c->fleet.n; i++)
		if (!c->fleet.workers[i].is_vacant)
			write_worker(&c->fleet.workers[i], out, telemetry ? &telemetry[i] : NULL);
	buf_addc(out, ']');
}
