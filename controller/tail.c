/* tail.c - the last words of a worker. */
#include "controller/tail.h"
#include "protocol/log.h"
#include <string.h>

/* Whether the line that was read belongs to a backtrace; it would push the last words out. */
static bool keep_trace(struct tail *t)
{
	bool is_end = !strcmp(t->open, LOG_BACKTRACE_END), was_in = t->is_in_trace;
	if (!strcmp(t->open, LOG_BACKTRACE_BEGIN)) {
		t->is_in_trace = true;
		t->n_trace = 0;
		return true;
	}
	t->is_in_trace = was_in && !is_end;
	if (t->is_in_trace && t->n_trace < sizeof t->trace / sizeof t->trace[0])
		memcpy(t->trace[t->n_trace++], t->open, sizeof t->open);
	return was_in;
}

void tail_finish(struct tail *t, void (*said)(void *arg, const char *line), void *arg)
{
	if (t->n_open == 0)
		return;
	t->open[t->n_open] = '\0';
	t->n_open = 0;
	if (!keep_trace(t)) {
		char *line = t->lines[t->n_lines++ % TAIL_LINES];
		memcpy(line, t->open, sizeof t->open);
	}
	said(arg, t->open);
}

void tail_feed(struct tail *t, const char *bytes, size_t n,
	void (*said)(void *arg, const char *line), void *arg)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n')
			tail_finish(t, said, arg);
		else if (bytes[i] != '\r' && t->n_open < TAIL_LINE_BYTES - 1)
			t->open[t->n_open++] = bytes[i];
	}
}

void tail_write(const struct tail *t, struct buf *out)
{
	size_t first = t->n_lines > TAIL_LINES ? t->n_lines - TAIL_LINES : 0;
	buf_addc(out, '[');
	for (size_t i = first; i < t->n_lines; i++) {
		const char *line = t->lines[i % TAIL_LINES];
		jout_sep(out);
		jout_str(out, line, strlen(line));
	}
	buf_addc(out, ']');
}

void tail_write_trace(const struct tail *t, struct buf *out)
{
	buf_addc(out, '[');
	for (size_t i = 0; i < t->n_trace; i++) {
		jout_sep(out);
		jout_cstr(out, t->trace[i]);
	}
	buf_addc(out, ']');
}

const char *tail_last(const struct tail *t)
{
	return t->n_lines ? t->lines[(t->n_lines - 1) % TAIL_LINES] : "";
}
