/* sched.h - who runs next, and with how many rows. Pure policy: data in, decision out.
 *
 * A step is one ragged forward pass. Its rows are of two kinds: exact rows (a generated
 * token, or the tokens of a draft) and prompt rows. Everyone who decodes gets an exact row
 * in every step; what prompts get is bounded per step, so that a long prompt delays its
 * neighbours by no more than one chunk (Agrawal et al., "Sarathi-Serve", 2024). */
#ifndef WORKER_ENGINE_SCHED_H
#define WORKER_ENGINE_SCHED_H
#include "worker/engine/engine.h"
#include <stdbool.h>
#include <stddef.h>

/* The age at which a request of one class goes before a fresh one of the class above. */
#define SCHED_AGEING_S 5.0

/* Its place in every line: the smaller rank goes first. A fixed number, since all requests
 * age alike: arrival, put back by its class. */
double sched_rank(enum job_priority priority, double arrived);

/* What a running sequence still has to compute before it can say something. */
struct sched_seq {
	double rank;
	size_t n_prefill; /* prompt rows */
	size_t n_exact;   /* rows after the prompt: one when decoding, more with a draft or after
			     a resumption */
};

/* How much longer than without prompts a step may take while anybody decodes: what a running
 * stream notices of a neighbour's long prompt. Steps vary, and the slowest of a hundred should
 * not take three times what they usually do. */
#define SCHED_SLOWDOWN 1.8

/* What a prompt row costs beside those who decode, learnt as steps go by. */
struct sched_pace {
	double row_s; /* 0 = not seen yet */
};

/* A step that should have taken decode_s without its n_prefill prompt rows took seconds. */
void sched_pace_note(struct sched_pace *p, size_t n_prefill, double seconds, double decode_s);
/* Prompt rows of the next step: as many as keep it within SCHED_SLOWDOWN times decode_s, at
 * least a few, at most `most`. */
size_t sched_pace_rows(const struct sched_pace *p, double decode_s, size_t most);

struct sched_budget {
	size_t prefill_rows; /* of one step */
	size_t exact_rows;   /* of one step; at least one for every sequence */
};

struct sched_share {
	size_t n_prefill, n_exact; /* rows of the next step; n_exact only with the prompt's last */
};

/* shares[i] of seqs[i], for the next step: decode rows first, then prompts and drafts in rank
 * order; a draft travels with the last chunk of its prompt where there is room, and may be
 * cut into chunks too. Never empty when any sequence has rows left. */
void sched_plan(const struct sched_seq *seqs, size_t n, const struct sched_budget *budget,
	struct sched_share *shares);

/* What a job may come to need, and what there is. */
struct sched_demand {
	size_t blocks; /* of the KV pool, at its longest */
	size_t slots;  /* sequences */
};

enum sched_verdict { SCHED_NOW, SCHED_LATER, SCHED_NEVER };

/* May the first in line start? Blocks are promised, not only used: who was promised all it
 * can need runs to its end. A job wider than all slots runs alone. */
enum sched_verdict sched_admit(const struct sched_demand *job, const struct sched_demand *promised,
	const struct sched_demand *capacity);

/* Somebody who can be made to give back its blocks. */
struct sched_holder {
	double rank;
	size_t blocks; /* 0: not this one */
};

/* The last in line of those after `rank`; n if all of these together hold less than `need`. */
size_t sched_victim(const struct sched_holder *h, size_t n, double rank, size_t need);
#endif
