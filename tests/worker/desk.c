/* desk.c - a whole worker in the test's process. */
#include "tests/worker/desk.h"
#include "protocol/mem.h"
#include "worker/load.h"
#include "worker/models.h"
#include "worker/session.h"
#include "worker/stream.h"
#include <criterion/criterion.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* Until somebody says that it hangs: long, for sanitizers on a slow machine. */
#define PATIENCE_MS 600000

struct desk *desk_new(void)
{
	return desk_new_of(1);
}

struct desk *desk_new_of(int n_threads)
{
	struct desk *d = xcalloc(1, sizeof *d);
	d->w.options = (struct worker_options) { .threads = n_threads,
		.kv_bytes = (size_t)64 << 20,
		.max_running = 16,
		.max_frame = FRAME_IN_MAX,
		.drain_ms = 1500 };
	cr_assert_eq(worker_start(&d->w, dup(2)), 0);
	return d;
}

/* Frames are lines in the outbox; they are taken out of it instead of being written. */
static void take_lines(struct desk *d)
{
	struct buf *out = &d->w.out.out;
	char *newline;
	while (out->n_bytes && (newline = memchr(out->data, '\n', out->n_bytes))) {
		const size_t n = (size_t)(newline - out->data);
		d->lines = xreallocarray(d->lines, d->n_lines + 1, sizeof *d->lines);
		d->lines[d->n_lines++] = xstrndup(out->data, n);
		buf_consume(out, n + 1);
	}
}

/* One turn of the loop; waits for a letter when wait_ms says so. */
static void turn(struct desk *d, int wait_ms)
{
	struct pollfd p = { d->w.mail.fd, POLLIN, 0 };
	const double held = streams_tick(&d->w, clock_now()),
		     parked = load_tick(&d->w, clock_now());
	const double due = held < 0 || (parked >= 0 && parked < held) ? parked : held;
	if (due >= 0 && due * 1e3 < wait_ms)
		wait_ms = (int)(due * 1e3) + 1;
	if (poll(&p, 1, wait_ms) > 0)
		mailbox_open(&d->w.mail);
	streams_tick(&d->w, clock_now());
	load_tick(&d->w, clock_now());
	take_lines(d);
}

void desk_say(struct desk *d, const char *fmt, ...)
{
	va_list args;
	char *text;
	va_start(args, fmt);
	cr_assert_geq(vasprintf(&text, fmt, args), 0);
	va_end(args);
	session_text(&d->w, text, strlen(text));
	free(text);
	take_lines(d);
}

const char *desk_hear_from(struct desk *d, size_t from, const char *text)
{
	const double deadline = clock_now() + PATIENCE_MS / 1e3;
	for (size_t at = from;; turn(d, 1000)) {
		for (; at < d->n_lines; at++)
			if (strstr(d->lines[at], text))
				return d->lines[at];
		cr_assert(clock_now() < deadline, "never heard %s; last: %s", text,
			d->n_lines ? d->lines[d->n_lines - 1] : "nothing");
	}
}

const char *desk_hear(struct desk *d, const char *text)
{
	return desk_hear_from(d, 0, text);
}

size_t desk_count(struct desk *d, const char *text)
{
	size_t n = 0;
	turn(d, 0);
	for (size_t i = 0; i < d->n_lines; i++)
		n += strstr(d->lines[i], text) != NULL;
	return n;
}

const char *desk_ask(struct desk *d, const char *id, const char *method, const char *params)
{
	char key[128];
	const size_t from = d->n_lines;
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"%s\",\"params\":%s}", id, method,
		params);
	snprintf(key, sizeof key, "\"id\":%s,\"", id);
	return desk_hear_from(d, from, key);
}

struct desk *desk_new_loaded(void)
{
	struct desk *d = desk_new();
	desk_ask(d, "0", "load_model", "{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}");
	cr_assert(models_find(d->w.models, "m"), "%s", d->lines[d->n_lines - 1]);
	return d;
}

struct json_span desk_find(const char *line, const char *path)
{
	struct json_span at = { line, strlen(line) };
	char copy[128];
	char *rest = copy;
	snprintf(copy, sizeof copy, "%s", path);
	for (char *key; at.at && (key = strsep(&rest, "."));)
		at = json_find(at, key);
	cr_assert(at.at, "no %s in %s", path, line);
	return at;
}

bool desk_is(const char *line, const char *path, const char *json)
{
	const struct json_span s = desk_find(line, path);
	return s.n == strlen(json) && memcmp(s.at, json, s.n) == 0;
}

void desk_free(struct desk *d)
{
	calls_cancel_all(&d->w.calls, CANCEL_FINISH);
	while (d->w.calls.n || !load_is_idle(d->w.models))
		turn(d, 1000);
	const int fd = d->w.out.fd;
	worker_stop(&d->w);
	close(fd);
	for (size_t i = 0; i < d->n_lines; i++)
		free(d->lines[i]);
	free(d->lines);
	free(d);
}
