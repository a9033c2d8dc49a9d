/* rig.c - see rig.h. */
#include "tests/controller/rig.h"
#include "controller/drain.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_over(void *arg)
{
	struct rig *r = arg;
	r->is_over = true;
}

static void parse(struct rig *r, const char *const *args)
{
	char *argv[32] = { "tandem", "--worker=tests/conform/fake_worker.py" };
	struct fault f = { 0 };
	int argc = 2;
	for (; *args; args++)
		argv[argc++] = (char *)(uintptr_t)*args;
	argv[argc] = NULL;
	cr_assert_eq(options_parse(&r->opt, argc, argv, &f), 0, "%s", f.text);
}

void rig_open(struct rig *r, const char *const *args)
{
	int pair[2];
	memset(r, 0, sizeof *r);
	log_init("test", LOG_ERROR);
	parse(r, args);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	r->host = pair[0];
	r->theirs = pair[1];
	fcntl(r->host, F_SETFL, O_NONBLOCK);
	frame_reader_init(&r->reader, FRAMING_NDJSON, FRAME_IN_MAX);
	r->base = controller_event_base();
	r->c = controller_new(r->base, &r->opt, r->theirs, r->theirs);
	r->c->over = on_over;
	r->c->over_arg = r;
}

void rig_close(struct rig *r)
{
	controller_free(r->c);
	event_base_free(r->base);
	frame_reader_release(&r->reader);
	for (size_t i = 0; i < r->n_messages; i++)
		free(r->messages[i]);
	free(r->messages);
	options_release(&r->opt);
	close(r->host);
	close(r->theirs);
}

#define KEPT_BYTES 32768 /* of a message: enough to see which it is */

static void keep(struct rig *r, const char *text, size_t n)
{
	r->messages = xreallocarray(r->messages, r->n_messages + 1, sizeof *r->messages);
	r->messages[r->n_messages++] = xstrndup(text, n < KEPT_BYTES ? n : KEPT_BYTES);
}

static void hear(struct rig *r)
{
	ssize_t n;
	const char *text;
	size_t n_text;
	if (r->is_deaf)
		return;
	while ((n = read(r->host, frame_space(&r->reader, 65536), 65536)) > 0)
		frame_fed(&r->reader, (size_t)n);
	while (frame_next(&r->reader, &text, &n_text) == FRAME_TEXT)
		keep(r, text, n_text);
}

static void turn(struct rig *r)
{
	hear(r); /* or the controller may wait for us */
	event_base_loop(r->base, EVLOOP_ONCE);
	hear(r);
}

void rig_send(struct rig *r, const char *fmt, ...)
{
	struct buf line = BUF_INIT;
	char *text;
	va_list ap;
	va_start(ap, fmt);
	cr_assert_geq(vasprintf(&text, fmt, ap), 0);
	va_end(ap);
	buf_adds(&line, text);
	buf_addc(&line, '\n');
	free(text);
	for (size_t at = 0; at < line.n_bytes;) {
		ssize_t n = write(r->host, line.data + at, line.n_bytes - at);
		if (n > 0)
			at += (size_t)n;
		else
			turn(r);
	}
	buf_release(&line);
}

void rig_end_input(struct rig *r)
{
	shutdown(r->host, SHUT_WR);
}

size_t rig_count(const struct rig *r, const char *part)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n_messages; i++)
		n += strstr(r->messages[i], part) != NULL;
	return n;
}

ptrdiff_t rig_find(const struct rig *r, const char *part)
{
	for (size_t i = 0; i < r->n_messages; i++)
		if (strstr(r->messages[i], part))
			return (ptrdiff_t)i;
	return -1;
}

const char *rig_await(struct rig *r, const char *part)
{
	while (rig_find(r, part) < 0)
		turn(r);
	return r->messages[rig_find(r, part)];
}

void rig_await_n(struct rig *r, const char *part, size_t n)
{
	while (rig_count(r, part) < n)
		turn(r);
}

void rig_until(struct rig *r, bool (*is_so)(struct rig *r))
{
	while (!is_so(r))
		turn(r);
}

void rig_await_over(struct rig *r)
{
	while (!r->is_over)
		turn(r);
	hear(r);
}

bool rig_all_ready(struct rig *r)
{
	for (int i = 0; i < r->c->fleet.n; i++)
		if (!worker_is_ready(&r->c->fleet.workers[i]))
			return false;
	return true;
}

void rig_load(struct rig *r)
{
	rig_send(r, "{\"jsonrpc\":\"2.0\",\"id\":\"load\",\"method\":\"load_model\","
		    "\"params\":{\"model_id\":\"m\"}}");
	cr_assert(strstr(rig_await(r, "\"id\":\"load\""), "\"result\""));
}

void rig_assert_has(const char *text, const char *part)
{
	cr_assert(strstr(text, part), "no %s in %.2000s", part, text);
}
