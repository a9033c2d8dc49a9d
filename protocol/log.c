/* log.c - stderr lines that can neither block nor end the process. */
#include "protocol/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A pipe that polls writable takes PIPE_BUF bytes at once and unbroken. */
#define LINE_MAX_BYTES PIPE_BUF

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char program[32] = "tandem";
/* Every part that log_trace() is called for; docs/protocol.md names them. */
static const char parts[] = ",all,host,registry,queue,dispatch,relay,cancel,supervise,"
			    "session,handler,generate,engine,sched,draft,stream,reply,outbox,";
static char traced[256]; /* ",part,part," or "" */
static bool traces_all;
static enum log_level max_level = LOG_INFO;
static unsigned long n_dropped;

static void warn_of_unknown_parts(void)
{
	size_t n;
	for (const char *at = traced; *at && at[1]; at += n + 1) {
		n = strcspn(at + 1, ",");
		if (n && !memmem(parts, sizeof parts - 1, at, n + 2))
			log_warn("TRACE names %.*s, which is no part; there are %.*s", (int)n,
				at + 1, (int)sizeof parts - 3, parts + 1);
	}
}

void log_init(const char *name, enum log_level level)
{
	snprintf(program, sizeof program, "%s", name);
	log_set_level(level);
	const char *trace = getenv("TRACE");
	traced[0] = '\0';
	if (trace && *trace)
		snprintf(traced, sizeof traced, ",%.*s,", (int)sizeof traced - 3, trace);
	traces_all = strstr(traced, ",all,") != NULL;
	/* A reader of stderr or of any pipe that goes away is EPIPE, never our death. */
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigaction(SIGPIPE, &ignore, NULL);
	warn_of_unknown_parts();
}

void log_set_level(enum log_level level)
{
	max_level = level;
}

/* stderr may be shared with other processes, so O_NONBLOCK on it would change their
 * writes too; asking poll first does not. */
static bool write_line(const char *line, size_t n)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT) || (p.revents & (POLLERR | POLLHUP)))
		return false;
	return write(STDERR_FILENO, line, n) == (ssize_t)n;
}

/* Text from outside may carry anything: one message stays one line and cannot steer a
 * terminal. */
static void neutralise(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
}

static void write_dropped(void)
{
	char line[128];
	int n = snprintf(line, sizeof line, "%s: %lu log lines were dropped: stderr was full\n",
		program, n_dropped);
	if (write_line(line, (size_t)n))
		n_dropped = 0;
}

__attribute__((format(printf, 2, 0))) static void emit(const char *tag, const char *fmt, va_list ap)
{
	int saved = errno;
	char line[LINE_MAX_BYTES];
	int n = snprintf(line, sizeof line, "%s: %s", program, tag);
	vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
	neutralise(line);
	size_t end = strlen(line);
	line[end] = '\n';
	pthread_mutex_lock(&lock);
	if (n_dropped)
		write_dropped();
	if (n_dropped || !write_line(line, end + 1))
		n_dropped++;
	pthread_mutex_unlock(&lock);
	errno = saved;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	static const char *const tags[] = { "error: ", "warning: ", "", "debug: " };
	if (level > max_level)
		return;
	va_list ap;
	va_start(ap, fmt);
	emit(tags[level], fmt, ap);
	va_end(ap);
}

bool log_traces(const char *part)
{
	if (!traced[0] || !*part || traces_all)
		return traces_all;
	size_t n = strlen(part);
	for (const char *p = traced; (p = strstr(p, part)) != NULL; p += n)
		if (p[-1] == ',' && p[n] == ',')
			return true;
	return false;
}

void log_trace(const char *part, const char *fmt, ...)
{
	if (!log_traces(part))
		return;
	char tag[64];
	snprintf(tag, sizeof tag, "[%s] ", part);
	va_list ap;
	va_start(ap, fmt);
	emit(tag, fmt, ap);
	va_end(ap);
}

void log_fatal(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	emit("fatal: ", fmt, ap);
	va_end(ap);
	abort();
}
