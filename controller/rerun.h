/* rerun.h - `tandem replay FILE`: a recorded host, once more.
 *
 * A fresh controller in this process is told what the recorded one was, each frame once it has
 * answered as much as that one had by then: the record's order, not its times, so that a machine
 * of another speed replays it too. Where the record shows which seed or stream_id was chosen for
 * a generate, it is asked for. With --check the two transcripts are compared. */
#ifndef CONTROLLER_RERUN_H
#define CONTROLLER_RERUN_H
#include "controller/recording.h"
#include "controller/transcript.h"
#include "protocol/methods.h"

/* A request that was sent, or what is refused as none, by the key of its answer. */
struct rerun_asked {
	char *key;
	const struct method *method; /* NULL: unknown */
	UT_hash_handle hh;
};

struct rerun_sides {
	const struct recording *recording;
	const struct transcript *recorded, *fresh;
	const struct rerun_asked *asked;
};

/* rerun_request.c: append the frame as it is to be sent, and note what it asks. */
void rerun_write_request(struct buf *out, struct json_span frame, const struct transcript *recorded,
	struct rerun_asked **asked);
/* Does anything noted ask for this answer, the n-th to its id? What had no id to be answered by is
 * not noted: an answer to null always is asked for. */
bool rerun_is_asked(const struct rerun_asked *asked, struct json_span id, size_t n);

/* rerun_compare.c: one line for each difference. Ids, results and errors, each stream's tokens,
 * order and end; not what only measures (times, memory, process ids), and only whether there was
 * a result of methods that tell about the process. A text that was cut short by a cancel or a
 * timeout, in a stream or a result, must be the beginning of the other; what was refused for
 * lack of time or room is not compared, and *n_skipped counts it. Returns the number of
 * differences. */
size_t rerun_compare(const struct rerun_sides *s, struct buf *lines, size_t *n_skipped);

/* out: a descriptor for what it has to say. 0: replayed, and the same if that was asked. */
int rerun_main(int out, int argc, char **argv);
#endif
