/* stream.h - one generate on its way out: from the engine's sink to the host.
 *
 * The sink (compute thread) only collects tokens under the stream's lock and sends a letter;
 * the I/O thread writes them: handshake response, chunks, one stats, one event. Tokens that
 * came together, or that wait for the host to read, leave as one chunk; a host that stays
 * behind stops its own streams only (credit.h). Nothing is written before the handshake was.
 * With stream:false everything is kept and becomes one result. */
#ifndef WORKER_STREAM_H
#define WORKER_STREAM_H
#include "worker/credit.h"
#include "worker/generate_request.h"
#include "worker/progress.h"
#include "worker/worker.h"
#include <pthread.h>

/* A token as it waits to be written. Text is in the stream's text buffer. */
struct stream_token {
	int32_t id;
	float logprob;
	size_t index;
	size_t text_at, n_text;
	size_t top_at; /* in stream.tops */
	int n_top;
	int choice;
	bool from_draft;
};

struct stream_choice {
	struct job_result result;
	struct buf text;  /* written so far, by an earlier run too: cumulative_text, or the whole */
	size_t n_written; /* tokens */
	int32_t last_id;
	size_t last_index;
};

struct stream {
	struct call call; /* first: a call * is a stream * */
	struct worker *w;
	struct chore chore; /* building the job from a very long prompt */
	struct letter letter;
	struct reply *reply;             /* until the handshake, resp. the result */
	struct json_object *params;      /* until the job is built */
	struct model_ref *model, *draft; /* draft may be NULL */
	struct job *job;                 /* until it is submitted */
	struct fault fault;              /* of building it */
	struct wire_options wire;
	struct credit credit;
	struct progress progress;
	double arrived;
	uint64_t key, seed;
	struct sampling
		sampling; /* of its job, for drafts that are checked beside it; bias owned */
	int n_choices;
	size_t most_tokens; /* that all choices together may have */
	bool opened;        /* the handshake is out: chunks may follow */
	bool submitted;
	bool cancelled, silent, error_wanted; /* enum cancel_how, once one came */
	bool is_held;                         /* in worker.held */
	bool is_parked;                       /* the engine was told to hold its job */
	bool is_given_up;                     /* its reader stayed behind for too long */
	struct stream *prev, *next;
	struct buf chunk; /* scratch */

	pthread_mutex_t lock; /* what the sink touches too: */
	bool posted, ended;
	struct stream_token *tokens;
	size_t n_tokens, cap_tokens;
	struct buf text;
	struct token_logprob *tops;
	size_t n_tops, cap_tops, n_bytes;
	double first_at; /* when the oldest waiting token came */
	size_t prompt_done, prompt_total;
	/* [n_choices]; result and what is resumed by the sink, the rest by I/O */
	struct stream_choice *choices;
	struct buf *tails; /* [n_choices] text that no token carried */
};

extern const struct job_sink stream_sink;  /* its arg is the stream */
void stream_open_letter(struct letter *l); /* what s->letter does once the job is built */
void stream_post(struct stream *s);        /* any thread, with s->lock held */
/* Nothing follows for this stream: forget and free it, and tell who waited for that. */
void stream_over(struct stream *s);
/* The host has the first n tokens. */
void stream_acked(struct stream *s, size_t n);

/* Write what may be written now: time passed, or the outbox has room again; give up whom
 * nobody reads. Returns seconds until the next of that is due, -1 = nothing is. */
double streams_tick(struct worker *w, double now);
#endif
