/* transcript.h - what a controller told its host, by request and by stream.
 *
 * Fed with the frames out, of a record or of a replay; the two can then be compared. */
#ifndef CONTROLLER_TRANSCRIPT_H
#define CONTROLLER_TRANSCRIPT_H
#include "protocol/json_scan.h"
#include <uthash.h>

struct told_answer {
	char *key;   /* the id's bytes, "#", which answer to that id it is: 0, 1, … */
	char *bytes; /* owned */
	struct json_span result, error; /* one of them */
	size_t n_alike;                 /* answers to this id; in the first of them */
	UT_hash_handle hh;
};

struct told_stream {
	char *id;          /* as JSON text */
	struct buf text;   /* of all tokens */
	struct buf tokens; /* "id@index " each, in order */
	size_t n_tokens;
	char *event; /* owned; NULL until the end */
	struct json_span event_params;
	UT_hash_handle hh;
};

struct transcript {
	struct told_answer *answers;
	struct told_stream *streams;
};

/* One frame out, accepted by json_scan(). */
void transcript_add(struct transcript *t, struct json_span frame);
void transcript_release(struct transcript *t);

/* The n-th answer to this id, or NULL. */
const struct told_answer *transcript_answer(
	const struct transcript *t, struct json_span id, size_t n);
size_t transcript_count(const struct transcript *t, struct json_span id);
const struct told_stream *transcript_stream(const struct transcript *t, struct json_span id);

/* Has t heard at least as much of everything this frame is about as `than` has? */
bool transcript_is_level(
	const struct transcript *t, const struct transcript *than, struct json_span frame);
#endif
