/* inner.c - a host inside this process. */
#include "controller/inner.h"
#include "protocol/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	struct inner *in = arg;
	struct rpc_msg m;
	const char *text;
	size_t n_text;
	ssize_t n = read(fd, frame_space(&in->reader, 65536), 65536);
	if (n <= 0)
		return;
	frame_fed(&in->reader, (size_t)n);
	while (frame_next(&in->reader, &text, &n_text) == FRAME_TEXT) {
		if (json_scan(text, n_text, NULL) < 0)
			continue;
		rpc_parse((struct json_span) { text, n_text }, &m);
		in->heard(in->arg, &m);
	}
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)what;
	struct inner *in = arg;
	in->signalled(in->arg, (int)sig);
}

void inner_open(struct inner *in, const struct options *opt)
{
	static const int signals[INNER_SIGNALS] = { SIGTERM, SIGINT, SIGHUP };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in->fds) < 0)
		log_fatal("no socket pair: %s", strerror(errno));
	in->base = controller_event_base();
	fcntl(in->fds[0], F_SETFL, fcntl(in->fds[0], F_GETFL) | O_NONBLOCK);
	sink_init(&in->to, in->base, in->fds[0], 65536);
	frame_reader_init(&in->reader, FRAMING_NDJSON, FRAME_IN_MAX);
	in->readable = event_new(in->base, in->fds[0], EV_READ | EV_PERSIST, on_readable, in);
	event_add(in->readable, NULL);
	for (int i = 0; i < INNER_SIGNALS; i++) {
		in->signals[i] = evsignal_new(in->base, signals[i], on_signal, in);
		event_add(in->signals[i], NULL);
	}
	in->controller = controller_new(in->base, opt, in->fds[1], in->fds[1]);
}

void inner_run(struct inner *in)
{
	event_base_dispatch(in->base);
}

void inner_close(struct inner *in)
{
	controller_free(in->controller);
	for (int i = 0; i < INNER_SIGNALS; i++)
		event_free(in->signals[i]);
	event_free(in->readable);
	sink_release(&in->to);
	frame_reader_release(&in->reader);
	event_base_free(in->base);
	close(in->fds[0]);
	close(in->fds[1]);
}

/* -- asking ----------------------------------------------------------------------------- */

void inner_call(struct inner *in, int id, const char *method, const struct buf *params)
{
	char digits[16];
	struct buf text = BUF_INIT;
	int n = snprintf(digits, sizeof digits, "%d", id);
	rpc_write_request(&text, digits, (size_t)n, method, params->data, params->n_bytes);
	frame_write(sink_buf(&in->to), FRAMING_NDJSON, text.data, text.n_bytes);
	sink_kick(&in->to);
	buf_release(&text);
}

void inner_load(struct inner *in, int id, const char *model, const char *model_id)
{
	struct buf params = BUF_INIT;
	char *path = realpath(model, NULL);
	buf_addc(&params, '{');
	jout_key_cstr(&params, "model_id", model_id);
	if (path || strchr(model, '/'))
		jout_key_cstr(&params, "local_path", path ? path : model);
	jout_key_bool(&params, "progress", true);
	buf_addc(&params, '}');
	inner_call(in, id, "load_model", &params);
	buf_release(&params);
	free(path);
}

void inner_name_model(const char *model, char *out, size_t n_out)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@:";
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s", model);
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	bool is_path = access(path, F_OK) == 0 || path[0] == '/' || path[0] == '.';
	const char *slash = is_path ? strrchr(path, '/') : NULL;
	snprintf(out, n_out, "%.*s", (int)n_out - 1, slash ? slash + 1 : path);
	for (char *c = out; *c; c++)
		if (!strchr(allowed, *c))
			*c = '_';
	if (!strcmp(out, ".") || strstr(out, "..") || !out[0])
		snprintf(out, n_out, "model");
}

void inner_name_draft(const char *draft, const char *model, char *out, size_t n_out)
{
	char model_id[NAME_MAX + 1], id[NAME_MAX + 1];
	out[0] = '\0';
	if (!draft)
		return;
	inner_name_model(model, model_id, sizeof model_id);
	inner_name_model(draft, id, sizeof id);
	const bool is_taken = strcmp(id, model_id) == 0 && strcmp(draft, model) != 0;
	snprintf(out, n_out, "%.*s%s", (int)n_out - 7, id, is_taken ? "-draft" : "");
}
