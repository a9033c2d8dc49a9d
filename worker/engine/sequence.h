/* sequence.h - one choice of a job: its tokens, its KV cache, its text.
 *
 * `ids` holds the prompt and then what was generated (or, for a draft check, the draft); the
 * KV cache holds the first kv.n_tokens of them. What is still missing there are the rows of
 * the coming steps: a row below n_prompt is a prompt row, any other an exact one, and every
 * row whose successor is not settled wants logits. So it does not matter how often the
 * cache was cut back or rebuilt. Compute thread only. */
#ifndef WORKER_ENGINE_SEQUENCE_H
#define WORKER_ENGINE_SEQUENCE_H
#include "protocol/buf.h"
#include "worker/engine/drafter.h"
#include "worker/engine/engine.h"
#include "worker/engine/pooled.h"
#include "worker/engine/prefix.h"
#include "worker/engine/sched.h"
#include "worker/engine/speculate.h"
#include "worker/engine/stops.h"
#include "worker/model/model.h"

struct task;
struct detok;

/* What checking a draft found (verify.c); filled once. */
struct verify {
	struct sampled *verdicts; /* [n_draft + 1] */
	float *draft_logprobs;    /* [n_draft] */
	size_t n_verdicts, n_judged, accepted;
	enum stop_detail detail;
};

struct sequence {
	struct task *task; /* borrowed */
	const struct job *job;
	int choice;
	struct kv_seq kv;
	struct prefix_place place; /* in the prefix cache */
	size_t n_cached;           /* prompt tokens found there */
	int32_t *ids;              /* [n_limit] */
	size_t n_ids, n_prompt;
	size_t n_settled;         /* ids that are beyond doubt: all but those of a draft */
	size_t n_limit;           /* ids it may hold: max_tokens and the context */
	size_t n_prefilled;       /* prompt tokens reported to the sink */
	size_t n_generated;       /* tokens delivered */
	struct sampling sampling; /* the job's, with this choice's seed and bans */
	int32_t *ends;            /* ids that end the text: [n_eos] eos, then stop ids */
	size_t n_eos, n_ends;
	struct detok *detok;
	struct stops *stops;
	struct buf fresh;              /* decoded, not yet through stops */
	struct buf text;               /* to be shown with the next token, or as the tail */
	enum stop_detail resumed_stop; /* what is resumed had come to its end already */
	struct verify verify;
	struct speculation spec;
	struct drafter drafter;
	size_t n_held;           /* tokens of the draft in flight that came true */
	size_t n_steps, n_mates; /* it took part in, and sequences beside it there in all */
	struct pooled pooled;
	double first_token, last_progress; /* clock_now(); first_token 0 = none yet */
	bool ended;
};

/* The first choice of a task, or any other (kv of its prompt may then be shared from it). */
struct sequence *sequence_new(struct task *t, int choice, struct kv_pool *pool);
void sequence_free(struct sequence *s); /* NULL is fine */

/* Begin with what the cache has of the prompt; what is computed goes there too. */
void sequence_use_cache(struct sequence *s, struct prefix_cache *c);

/* Give the KV back and keep everything else; get it computed anew in the coming steps. */
void sequence_park(struct sequence *s);
void sequence_unpark(struct sequence *s, struct prefix_cache *c);

/* KV positions a job can come to need per choice. */
size_t sequence_positions(const struct job *j);

/* Nothing may follow in any choice: max_tokens or the context is reached (after a resumption). */
bool sequence_is_full(const struct job *j);
/* The same of one choice, or what is resumed had come to its end: how is filled. */
bool sequence_is_over(const struct sequence *s, enum finish *finish, enum stop_detail *detail);

void sequence_wants(const struct sequence *s, struct sched_seq *out); /* all but rank */
/* Write the rows of a share, for which the cache has room; returns how many. *n_logits is
 * how many of them want logits. */
size_t sequence_rows(struct sequence *s, const struct sched_share *share, struct batch_row *rows,
	size_t *n_logits);

/* Choose the next token from logits [vocab] of the last of ids. */
void sequence_pick(
	struct sequence *s, struct sampler *sampler, const float *logits, struct sampled *out);
/* The same for a draft: the token after the n_ahead drafted ones behind the settled ids, from
 * another model's logits. Nothing is remembered of it. */
void sequence_guess(const struct sequence *s, struct sampler *sampler, const float *logits,
	size_t n_ahead, struct sampled *out);
bool sequence_is_end(const struct sequence *s, int32_t id, enum stop_detail *detail);

/* Append the token x: t is what the host will see (its text lies in s->text until cleared).
 * True if it ends the choice, how is then filled. */
bool sequence_accept(struct sequence *s, const struct sampled *x, struct job_token *t,
	enum finish *finish, enum stop_detail *detail);

/* Nothing more comes: text that was held back goes to s->text, the cache is given back. */
void sequence_end(struct sequence *s);
#endif
