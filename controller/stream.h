/* stream.h - the streams hosts are reading: which id, in what phase, at which worker.
 *
 * A stream_id is reserved when its generate is admitted, so that it is unique over all
 * workers. Nothing reaches the host before the handshake's answer (what comes early is
 * held), chunks come before the one stats, that before the one terminal event, and after
 * that the id is unknown again. What belongs to the end (stats, and text that no token carried)
 * is kept back until the event is there, so that a worker that dies between them leaves nothing
 * of an end behind. */
#ifndef CONTROLLER_STREAM_H
#define CONTROLLER_STREAM_H
#include "protocol/buf.h"
#include "protocol/json_scan.h"
#include "protocol/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

struct call;

enum stream_kind {
	STREAM_CHUNK,
	STREAM_TAIL, /* a chunk of what no token carried, after the last one */
	STREAM_STATS,
	STREAM_EVENT
};

struct stream {
	char *id; /* decoded; the key */
	struct stream_caller *callers;
	size_t n_callers;  /* those without an id, or too many to be known, too */
	struct call *call; /* the generate, until its answer is written */
	int worker;        /* index, -1 before dispatch */
	size_t n_owed;     /* tokens of work its worker has left with it, load.h */
	bool is_open;      /* the handshake was written */
	bool has_tail, has_stats, has_ended;
	bool has_failed;     /* its end is not the text's: error, cancel, time */
	bool tells_progress; /* it was asked for as a stream */
	bool is_cancelled;   /* its end was asked for */

	/* What a continuation after a crash needs, see replay.h. */
	size_t n_tokens;  /* delivered or held */
	int32_t *tokens;  /* their ids; [n_tokens] unless is_unloggable */
	uint8_t *choices; /* and whose they are; NULL if all are the first choice's */
	size_t cap_tokens;
	size_t n_before;             /* tokens of a run before, that the host gave to resume */
	size_t n_by_choice[LIMIT_N]; /* of both */
	bool is_unloggable;          /* something was sent that tokens alone do not repeat */
	bool has_seed;
	int64_t seed;              /* of the handshake */
	char *params_bytes;        /* owned; NULL until the answer is written */
	struct json_span params;   /* in them: of the generate */
	struct call *continuation; /* waiting or in flight */
	uint64_t deadline_us;      /* 0 = none */
	unsigned n_replays;
	unsigned deaths; /* of workers that had it, since it got further */
	size_t n_tokens_at_death;

	/* Credit, see flow.h; counted in tokens. */
	size_t window;  /* that its worker keeps; 0 = none */
	bool is_acked;  /* the host acknowledges it */
	size_t n_acked; /* by the host */
	size_t n_read;  /* whose bytes the host's pipe took */
	size_t n_told;  /* of which its worker knows */
	bool is_marked; /* n_read will be mark_tokens once the pipe took mark_at bytes */
	uint64_t mark_at;
	size_t mark_tokens;
	TAILQ_ENTRY(stream) marks;

	uint64_t arrived_us;
	uint64_t first_us; /* of the first chunk; 0 before */
	uint64_t last_us;  /* of the latest chunk; 0 before the first */
	struct buf held;   /* messages before the handshake, each followed by \n */
	struct buf ending; /* the same, before the event */
	UT_hash_handle hh;
};

/* Who asked for it, or for the same again (once.h): it can be cancelled by their ids. */
struct stream_caller {
	char *id; /* its bytes */
	size_t n_id;
	struct stream *stream;
	struct stream_caller *next;
	UT_hash_handle hh;
};
#define STREAM_CALLERS 64 /* known of one stream */

TAILQ_HEAD(stream_marks, stream);

struct streams {
	struct stream *by_id;
	struct stream_caller *by_call;
	size_t n;
	uint64_t n_made;  /* for ids of our own */
	uint64_t n_stray; /* notifications for no stream, or out of order: dropped */
	void (*write)(void *arg, const char *text, size_t n);
	void (*ended)(void *arg, struct stream *s); /* about to be freed; may be NULL */
	void *arg;
};

/* NULL if the id is in use. */
struct stream *stream_reserve(struct streams *ss, const char *id);
/* It is this call's alone. Without an id (absent) it cannot be cancelled by that. */
void stream_own(struct streams *ss, struct stream *s, struct call *call, struct json_span call_id);
/* Another call wants it, too; */
void stream_join(struct streams *ss, struct stream *s, struct json_span call_id);
/* and does not any more. False, and nothing changed: nobody else does. */
bool stream_leave(struct streams *ss, struct stream *s, struct json_span call_id);
/* Of the caller that is known longest; absent if none is. */
struct json_span stream_call_id(const struct stream *s);
void stream_free(struct streams *ss, struct stream *s);

struct stream *stream_find(struct streams *ss, const char *id);
struct stream *stream_find_call(struct streams *ss, struct json_span call_id);

/* A stream_id that is not in use, for a generate that came without. */
void stream_make_id(struct streams *ss, char *out, size_t cap);

/* Pass one notification on. False (dropped, counted) when it may not follow what came
 * before. After a STREAM_EVENT on an open stream s is gone. */
bool stream_pass(
	struct streams *ss, struct stream *s, enum stream_kind kind, const char *text, size_t n);

/* It lost a worker and has delivered nothing since, though it could have: what is answered at
 * once as a whole shows no progress. */
bool stream_is_suspect(const struct stream *s);

/* The host resumes it itself, behind these arrays of token ids and of whose they are. */
void stream_resume(struct stream *s, struct json_span tokens, struct json_span choices);
/* A token was passed on: log it. */
struct stream_token {
	int64_t id, index; /* of its choice; -1 = missing */
	int64_t choice;
};
void stream_note_token(struct stream *s, const struct stream_token *t);
/* Its worker is gone: what it said of an end counts no more. */
void stream_rewind(struct stream *s);

/* The handshake was written: release what was held. s is gone if it already ended. */
void stream_open(struct streams *ss, struct stream *s);

/* End it ourselves. error: an error object with message, code and data, or absent for
 * {event:"completed", finish_reason}. */
void stream_end(
	struct streams *ss, struct stream *s, const char *finish_reason, struct json_span error);
#endif
