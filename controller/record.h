/* record.h - every frame between the host and us, both ways, with times, in a file.
 *
 * One JSON text a line: a header {"tandem","record","options"}, then
 * {"us","dir":"in"|"out","frame":…} with the frame as it was ("text" or "hex" instead where it is
 * not one line of JSON), {"us","lost":n} where n frames were left out, and at the end
 * {"us","end":…}. Times are microseconds since the start.
 *
 * The wire never waits for the file: lines go through a pipe to a process of our own that does
 * nothing but write them, and what neither takes is left out and counted. Frames are kept as they
 * are, with whatever secrets they hold; the file is readable by its owner alone. */
#ifndef CONTROLLER_RECORD_H
#define CONTROLLER_RECORD_H
#include "protocol/err.h"
#include <event2/event.h>
#include <stddef.h>

#define RECORD_QUEUE_BYTES ((size_t)16 << 20) /* lines that may wait for the pipe */
#define RECORD_FILE_BYTES  ((size_t)1 << 30)  /* unless told otherwise */

enum record_dir { RECORD_IN, RECORD_OUT };

struct record;

/* options: the command line, for whoever replays it; NULL-terminated. NULL: cannot be, see f. */
struct record *record_open(struct event_base *base, const char *path, size_t max_bytes,
	char *const *options, struct fault *f);
/* All there is to write is in the file on return. NULL is fine, here and below. */
void record_close(struct record *r);

void record_frame(struct record *r, enum record_dir dir, const char *text, size_t n);
/* A message in that was too long to be kept. */
void record_unread(struct record *r);
#endif
