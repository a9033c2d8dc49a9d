/* stream.h - the streams hosts are reading: which id, in what phase, at which worker.
 *
 * A stream_id is reserved when its generate is admitted, so that it is unique over all
 * workers. Nothing reaches the host before the handshake's answer (what comes early is
 * held), chunks come before the one stats, that before the one terminal event, and after
 * that the id is unknown again. */
#ifndef CONTROLLER_STREAM_H
#define CONTROLLER_STREAM_H
#include "protocol/buf.h"
#include "protocol/json_scan.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

struct call;

enum stream_kind { STREAM_CHUNK, STREAM_STATS, STREAM_EVENT };

struct stream {
	char *id;      /* decoded; the key */
	char *call_id; /* bytes of the generate's id, or NULL */
	size_t n_call_id;
	struct call *call; /* the generate, until its answer is written */
	int worker;        /* index, -1 before dispatch */
	bool is_open;      /* the handshake was written */
	bool has_stats, has_ended;
	size_t n_tokens; /* delivered or held */
	uint64_t arrived_us;
	uint64_t last_us; /* of the latest chunk; 0 before the first */
	struct buf held;  /* messages before the handshake, each followed by \n */
	UT_hash_handle hh, hh_call;
};

struct streams {
	struct stream *by_id, *by_call;
	size_t n;
	uint64_t n_made;  /* for ids of our own */
	uint64_t n_stray; /* notifications for no stream, or out of order: dropped */
	void (*write)(void *arg, const char *text, size_t n);
	void (*ended)(void *arg, struct stream *s); /* about to be freed; may be NULL */
	void *arg;
};

/* NULL if the id is in use. */
struct stream *stream_reserve(struct streams *ss, const char *id);
/* Remember whose it is, so that it can be cancelled by the request's id. */
void stream_own(struct streams *ss, struct stream *s, struct call *call, struct json_span call_id);
void stream_free(struct streams *ss, struct stream *s);

struct stream *stream_find(struct streams *ss, const char *id);
struct stream *stream_find_call(struct streams *ss, struct json_span call_id);

/* A stream_id that is not in use, for a generate that came without. */
void stream_make_id(struct streams *ss, char *out, size_t cap);

/* Pass one notification on. False (dropped, counted) when it may not follow what came
 * before. After a STREAM_EVENT on an open stream s is gone. */
bool stream_pass(
	struct streams *ss, struct stream *s, enum stream_kind kind, const char *text, size_t n);

/* The handshake was written: release what was held. s is gone if it already ended. */
void stream_open(struct streams *ss, struct stream *s);

/* End it ourselves. error: an error object with message, code and data, or absent for
 * {event:"completed", finish_reason}. */
void stream_end(
	struct streams *ss, struct stream *s, const char *finish_reason, struct json_span error);
#endif
