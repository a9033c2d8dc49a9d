/* desk.h - a whole worker in the test's process: say a line, hear what it answers.
 *
 * The test's thread is the I/O thread. Frames are taken from the outbox, so no pipe, no
 * clock and no second process is in it; waiting is for letters of the other threads. */
#ifndef TESTS_WORKER_DESK_H
#define TESTS_WORKER_DESK_H
#include "worker/worker.h"

#define DESK_MODEL "models/novel-7m"

struct desk {
	struct worker w;
	char **lines; /* every frame so far, terminated */
	size_t n_lines;
};

struct desk *desk_new(void);
struct desk *desk_new_of(int n_threads);
struct desk *desk_new_loaded(void); /* DESK_MODEL as "m" */
void desk_free(struct desk *d);     /* cancels what runs, and waits for its end */

void desk_say(struct desk *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The first frame that contains text, waited for. Borrowed. Fails the test after ten minutes. */
const char *desk_hear(struct desk *d, const char *text);
/* The same after line number `from`. */
const char *desk_hear_from(struct desk *d, size_t from, const char *text);
/* Let the I/O thread do what is to be done now; count of frames that contain text. */
size_t desk_count(struct desk *d, const char *text);
/* say, and the answer with that id ("7", "\"x\""). */
const char *desk_ask(struct desk *d, const char *id, const char *method, const char *params);
/* Member by path of a frame ("result.tokens"), as JSON text of the frame; absent fails. */
struct json_span desk_find(const char *line, const char *path);
bool desk_is(const char *line, const char *path, const char *json);
#endif
