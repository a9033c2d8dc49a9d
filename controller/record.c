/* record.c - the host's wire on file: lines to a process that writes them. */
#include "controller/record.h"
#include "controller/clock.h"
#include "controller/sink.h"
#include "protocol/json_scan.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "protocol/version.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct record {
	struct sink out; /* the pipe to the writing process */
	int fd;
	pid_t writer;
	uint64_t began_us;
	size_t n_bytes, max_bytes; /* of the file */
	uint64_t n_lost;           /* frames since the latest line about them */
	bool is_full;
};

/* -- the writing process ---------------------------------------------------------------- */

static bool write_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t wrote = write(fd, bytes, n);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return false;
		bytes += wrote;
		n -= (size_t)wrote;
	}
	return true;
}

/* Ends when its pipe does, that is with us. What a terminal or a service manager sends to the
 * whole group is not for it, or the last frames were missing. */
static _Noreturn void run_writer(int from, int file)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	char bytes[65536];
	ssize_t n;
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		sigaction(signals[i], &ignore, NULL);
	if (dup2(from, STDIN_FILENO) < 0 || dup2(file, STDOUT_FILENO) < 0)
		_exit(EXIT_FAILURE);
	fcntl(STDOUT_FILENO, F_SETFL, 0);
	close_range(3, ~0U, 0);
	while ((n = read(STDIN_FILENO, bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && !write_all(STDOUT_FILENO, bytes, (size_t)n))
			_exit(EXIT_FAILURE);
	_exit(EXIT_SUCCESS);
}

/* A file that was there already may be one that others read. */
static int keep_private(int file)
{
	struct stat st;
	if (fstat(file, &st) < 0)
		return -1;
	return S_ISREG(st.st_mode) && (st.st_mode & 077) ? fchmod(file, 0600) : 0;
}

static int start_writer(struct record *r, const char *path, struct fault *f)
{
	/* O_NONBLOCK: a FIFO that nobody reads is an error, not a wait. */
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK;
	int ends[2], file = open(path, flags, 0600);
	if (file < 0 || keep_private(file) < 0) {
		fault_set(f, ERR_IO, "cannot record to %s: %s", path, strerror(errno));
		if (file >= 0)
			close(file);
		return ERR_IO;
	}
	if (pipe2(ends, O_CLOEXEC) < 0) {
		close(file);
		return fault_set(f, ERR_IO, "no pipe to record through: %s", strerror(errno));
	}
	r->writer = fork();
	if (r->writer == 0)
		run_writer(ends[0], file);
	int saved = errno;
	close(file);
	close(ends[0]);
	r->fd = ends[1];
	if (r->writer < 0) {
		close(r->fd);
		return fault_set(f, ERR_IO, "cannot fork to record: %s", strerror(saved));
	}
	fcntl(r->fd, F_SETFL, O_NONBLOCK);
	return 0;
}

/* -- lines ------------------------------------------------------------------------------ */

static void open_line(const struct record *r, struct buf *line)
{
	buf_addc(line, '{');
	jout_key_int(line, "us", (int64_t)(clock_us() - r->began_us));
}

static bool put_line(struct record *r, struct buf *line)
{
	buf_adds(line, "}\n");
	if (r->out.is_broken || line->n_bytes > RECORD_QUEUE_BYTES - sink_queued(&r->out))
		return false;
	r->n_bytes += line->n_bytes;
	buf_add(sink_buf(&r->out), line->data, line->n_bytes);
	sink_kick(&r->out);
	return true;
}

static void tell_lost(struct record *r)
{
	struct buf line = BUF_INIT;
	open_line(r, &line);
	jout_key_int(&line, "lost", (int64_t)r->n_lost);
	if (put_line(r, &line))
		r->n_lost = 0;
	buf_release(&line);
}

static void tell_end(struct record *r, const char *why)
{
	struct buf line = BUF_INIT;
	open_line(r, &line);
	jout_key_cstr(&line, "end", why);
	put_line(r, &line);
	buf_release(&line);
}

/* Not what is as deep as JSON may be: the line around it is one deeper. */
static bool is_one_line_of_json(const char *text, size_t n)
{
	struct buf around = BUF_INIT;
	bool is_so = !memchr(text, '\n', n) && json_scan(text, n, NULL) == 0;
	if (is_so) {
		buf_addc(&around, '[');
		buf_add(&around, text, n);
		buf_addc(&around, ']');
		is_so = json_scan(around.data, around.n_bytes, NULL) == 0;
	}
	buf_release(&around);
	return is_so;
}

static void write_hex(struct buf *out, const char *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	buf_reserve(out, 2 * n);
	for (size_t i = 0; i < n; i++) {
		buf_addc(out, digits[(unsigned char)bytes[i] >> 4]);
		buf_addc(out, digits[(unsigned char)bytes[i] & 15]);
	}
}

static void write_frame(struct buf *line, enum record_dir dir, const char *text, size_t n)
{
	jout_key_cstr(line, "dir", dir == RECORD_IN ? "in" : "out");
	if (dir == RECORD_OUT || is_one_line_of_json(text, n)) {
		jout_key_raw(line, "frame", text, n);
	} else if (utf8_is_valid(text, n)) {
		jout_key_str(line, "text", text, n);
	} else {
		jout_key(line, "hex");
		buf_addc(line, '"');
		write_hex(line, text, n);
		buf_addc(line, '"');
	}
}

void record_frame(struct record *r, enum record_dir dir, const char *text, size_t n)
{
	struct buf line = BUF_INIT;
	if (!r || r->is_full || r->out.is_broken)
		return;
	if (r->n_bytes + n > r->max_bytes) {
		r->is_full = true;
		tell_end(r, "the file has the size it may have");
		log_warn("the recording is full and ends; the wire goes on");
		return;
	}
	if (r->n_lost)
		tell_lost(r);
	if (r->n_lost == 0) {
		open_line(r, &line);
		write_frame(&line, dir, text, n);
	}
	if (r->n_lost || !put_line(r, &line))
		r->n_lost++;
	buf_release(&line);
}

void record_unread(struct record *r)
{
	if (!r || r->is_full)
		return;
	r->n_lost++;
	tell_lost(r);
}

/* -- life ------------------------------------------------------------------------------- */

static void on_broken(void *arg, int err)
{
	(void)arg;
	log_warn("the recording cannot be written and ends: %s", strerror(err));
}

static void write_header(struct record *r, char *const *options)
{
	struct buf line = BUF_INIT;
	buf_adds(&line, "{\"tandem\":\"" TANDEM_VERSION "\",\"record\":1,\"options\":[");
	for (; options && *options; options++) {
		jout_sep(&line);
		jout_cstr(&line, *options);
	}
	buf_addc(&line, ']');
	put_line(r, &line);
	buf_release(&line);
}

struct record *record_open(struct event_base *base, const char *path, size_t max_bytes,
	char *const *options, struct fault *f)
{
	struct record *r = xcalloc(1, sizeof *r);
	if (start_writer(r, path, f) < 0) {
		free(r);
		return NULL;
	}
	r->began_us = clock_us();
	r->max_bytes = max_bytes;
	sink_init(&r->out, base, r->fd, (size_t)1 << 20);
	r->out.broken = on_broken;
	write_header(r, options);
	return r;
}

void record_close(struct record *r)
{
	if (!r)
		return;
	if (r->n_lost)
		tell_lost(r);
	if (!r->is_full)
		tell_end(r, "whole");
	/* The wire is closed by now: here, and only here, it may take its time. */
	fcntl(r->fd, F_SETFL, 0);
	if (!r->out.is_broken &&
		!write_all(r->fd, r->out.queued.data + r->out.sent, sink_queued(&r->out)))
		log_warn("the end of the recording cannot be written: %s", strerror(errno));
	sink_release(&r->out);
	close(r->fd);
	while (waitpid(r->writer, NULL, 0) < 0 && errno == EINTR)
		continue;
	free(r);
}
