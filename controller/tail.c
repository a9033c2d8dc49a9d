/* tail.c - the last words of a worker. */
#include "controller/tail.h"
#include <string.h>

void tail_finish(struct tail *t, void (*said)(void *arg, const char *line), void *arg)
{
	if (t->n_open == 0)
		return;
	char *line = t->lines[t->n_lines++ % TAIL_LINES];
	memcpy(line, t->open, t->n_open);
	line[t->n_open] = '\0';
	t->n_open = 0;
	said(arg, line);
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

const char *tail_last(const struct tail *t)
{
	return t->n_lines ? t->lines[(t->n_lines - 1) % TAIL_LINES] : "";
}
