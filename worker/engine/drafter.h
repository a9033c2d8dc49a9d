/* drafter.h - drafts for the sequences of one step: from what they hold, or from a second model.
 *
 * The second model is an ordinary loaded one. A sequence that drafts from it holds KV blocks of
 * that model's pool beside its own, promised to it when it begins; where there is no room it
 * goes without drafts. The model reads what it has not seen of the text, then drafts token by
 * token with the sequence's own sampler and random numbers: a draft is the likelier to hold the
 * likelier both models put their tokens in one order. All sequences that draft from one model
 * do so in shared passes. Compute thread only. */
#ifndef WORKER_ENGINE_DRAFTER_H
#define WORKER_ENGINE_DRAFTER_H
#include "worker/engine/prefix.h"
#include <stdbool.h>
#include <stddef.h>

struct lane;
struct sequence;

/* What a sequence holds of the model that drafts for it. */
struct drafter {
	struct lane *lane; /* of that model; NULL = no drafts */
	struct kv_seq kv;
	struct prefix_place place;
	size_t n_blocks;         /* promised */
	size_t n_wanted, n_made; /* tokens, in the round that is being made */
	size_t n_rows;           /* in the pass that is being made */
	double seconds;          /* spent in that model, shared passes divided */
};

/* Let s draft from the job's draft_model, whose lane is open; it has its tokens already. */
void drafter_begin(struct sequence *s);
void drafter_end(struct sequence *s);
/* Only the first n_tokens of the text are what was drafted. */
void drafter_cut(struct sequence *s, size_t n_tokens);

/* The text ends: what became of the draft in flight. */
void drafter_judge_last(struct sequence *s);

/* Before a step of l is planned: drafts for all running sequences that are ready for them. */
void drafter_run(struct lane *l);
#endif
