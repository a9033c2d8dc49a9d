/* tail.h - a worker's stderr, cut into lines, the last few of them kept. */
#ifndef CONTROLLER_TAIL_H
#define CONTROLLER_TAIL_H
#include "protocol/buf.h"
#include <stddef.h>

#define TAIL_LINES      20
#define TAIL_LINE_BYTES 400 /* the rest of a longer line is dropped */

struct tail {
	char lines[TAIL_LINES][TAIL_LINE_BYTES]; /* a ring */
	size_t n_lines;                          /* ever finished */
	char open[TAIL_LINE_BYTES];              /* the line being read */
	size_t n_open;
	char trace[TAIL_LINES * 2][TAIL_LINE_BYTES]; /* of a backtrace, which is kept apart */
	size_t n_trace;
	bool is_in_trace;
};

/* Feed bytes; said(arg, line) for each finished line that is not blank. */
void tail_feed(struct tail *t, const char *bytes, size_t n,
	void (*said)(void *arg, const char *line), void *arg);
void tail_finish(struct tail *t, void (*said)(void *arg, const char *line), void *arg);

/* Append the kept lines as a JSON array of strings, oldest first. */
void tail_write(const struct tail *t, struct buf *out);
/* The same for the lines of a backtrace, if it left one (log.h). */
void tail_write_trace(const struct tail *t, struct buf *out);
const char *tail_last(const struct tail *t); /* "" before the first */
#endif
