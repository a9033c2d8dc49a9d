/* speculate.h - guessing the next tokens of a text: what to draft, and how much of it.
 *
 * Three sources, asked in this order: the caller's prediction, followed as long as it holds and
 * found again by the last tokens where it did not; the text itself, what came after the last
 * tokens when they last occurred (prompt look-up, Saxena, 2023); a second model (drafter.h).
 *
 * A draft costs its rows, and its model's time, whether it is accepted or not. Its length is
 * the one with the most tokens per second: a draft of k tokens, each accepted with the rate r
 * seen so far, yields (1 - r^(k+1)) / (1 - r) tokens (Leviathan et al., 2023) in the measured
 * time of k + 1 rows. Where no length pays, none is drafted, and it is tried again after a
 * pause, each time twice as long. All trying is paid from an account in tokens, which earns a
 * small share of every token and what drafts gain, and nothing is drafted that it could not
 * pay if none of it held: so whatever holds and fails, no text takes longer than without by
 * more than that share. What a draft costs is counted for all whose step it lengthens. Showing
 * a model a long text may cost more than one text's account has; what earlier texts gained
 * beyond need lies in a purse that all texts of the model share. Pure policy: what the text becomes
 * does not depend on it (step.c samples every position as without). */
#ifndef WORKER_ENGINE_SPECULATE_H
#define WORKER_ENGINE_SPECULATE_H
#include "protocol/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum draft_source { DRAFT_PREDICTION, DRAFT_TEXT, DRAFT_MODEL, DRAFT_SOURCES };

/* Drafts by position: how many had a token there, and how many of these held. */
struct draft_counts {
	uint32_t drafted[LIMIT_DRAFT], accepted[LIMIT_DRAFT];
};

/* How often a source's tokens held, of late. */
struct draft_rate {
	double held, judged;
};

/* What the next step would take. */
struct draft_prices {
	bool known;                   /* false: no step like it was measured yet */
	double rows[LIMIT_DRAFT + 1]; /* seconds with 1 + k rows of this text, the others' too */
	double others;                /* tokens that others get from the same step */
	double model_token;           /* seconds per token that the model drafts */
	double model_late;            /* seconds to show it what it has not read */
	double model_next;            /* of these, those of the next step */
};

struct speculation {
	const int32_t *prediction; /* borrowed */
	size_t n_prediction;
	size_t at;     /* where the prediction is expected to go on */
	size_t n_seen; /* tokens of the text compared with it */
	bool look_up;  /* draft from the text itself too */
	bool by_model; /* and from another model */
	bool always;   /* as much as there is of it, whether it pays or not */
	size_t max;    /* longest draft; 0 = never any */
	size_t n_left; /* tokens the text may still grow by */
	struct draft_rate rate[DRAFT_SOURCES];
	/* While a source does not pay: turns from one trial to the next, and still to come. */
	size_t pause[DRAFT_SOURCES], rest[DRAFT_SOURCES];
	double credit;                /* tokens that may be lost, never negative */
	double *purse;                /* tokens that others put by; borrowed, NULL: none */
	size_t n_turns;               /* since the last step without a draft */
	size_t n_in_flight;           /* tokens of the draft being judged */
	double stake;                 /* what it costs, in tokens */
	enum draft_source source;     /* of that draft */
	size_t n_drafted, n_accepted; /* of all drafts judged */
	struct draft_counts counts;
};

/* The account, in tokens: at the start, and what each turn adds. */
#define SPECULATE_START 1.0
#define SPECULATE_SHARE 0.015

/* n_prompt: tokens of the text that the prediction does not cover. */
void speculate_init(struct speculation *s, size_t n_prompt);

/* Draft at most n_max tokens from the prediction or the text, to follow ids[n], into out;
 * returns how many. */
size_t speculate_draft(struct speculation *s, const struct draft_prices *p, const int32_t *ids,
	size_t n, size_t n_max, int32_t *out);
/* When that gave nothing: how many tokens the model should draft, at most n_max. What it did
 * is told with speculate_took. */
size_t speculate_ask(struct speculation *s, const struct draft_prices *p, size_t n_max);
void speculate_took(struct speculation *s, size_t n);

/* How many of the draft in flight are expected to hold. */
double speculate_expected(const struct speculation *s);
/* What became of the draft in flight. */
void speculate_judged(struct speculation *s, size_t n_accepted);
/* A token came without a draft in flight. */
void speculate_plain(struct speculation *s);

/* Add what one text saw to what all texts of a pair have seen. */
void draft_rate_note(struct draft_rate *r, size_t n_held, size_t n_judged);
/* Begin with it: as a prior, that what comes can soon outweigh. */
struct draft_rate draft_rate_prior(const struct draft_rate *seen);
#endif
