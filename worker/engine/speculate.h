/* speculate.h - guessing the next tokens of a text: what to draft, and how much of it.
 *
 * Two sources: the caller's prediction, followed as long as it holds and found again by the
 * last tokens where it did not; and the text itself, what came after the last tokens when
 * they last occurred (prompt look-up, Saxena, 2023). A draft costs its rows whether they
 * are accepted or not, so its length follows what was accepted, and after failures nothing
 * is drafted for a while, each time twice as long. Pure policy: what the text becomes does
 * not depend on it (step.c samples every position as without). */
#ifndef WORKER_ENGINE_SPECULATE_H
#define WORKER_ENGINE_SPECULATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct speculation {
	const int32_t *prediction; /* borrowed */
	size_t n_prediction;
	size_t at;          /* where the prediction is expected to go on */
	size_t n_seen;      /* tokens of the text compared with it */
	bool look_up;       /* draft from the text itself too */
	size_t max;         /* longest draft; 0 = never any */
	size_t length;      /* of the next draft */
	size_t pause, rest; /* turns that are skipped after a failure; of these, still to come */
	size_t n_in_flight; /* tokens of the draft being judged */
	size_t n_drafted, n_accepted; /* of all drafts judged */
};

/* n_prompt: tokens of the text that the prediction does not cover. */
void speculate_init(struct speculation *s, size_t n_prompt);
/* Draft at most n_max tokens to follow ids[n] into out; returns how many. */
size_t speculate_draft(
	struct speculation *s, const int32_t *ids, size_t n, int32_t *out, size_t n_max);
/* What became of the draft in flight. */
void speculate_judged(struct speculation *s, size_t n_accepted);
#endif
