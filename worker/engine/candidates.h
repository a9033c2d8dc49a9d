/* candidates.h - the tokens still in the race, and the filters that thin them out.
 *
 * Kept in id order, so that what is drawn never depends on how a filter found its border.
 * Every filter keeps at least one. Pure scratch of one thread. */
#ifndef WORKER_ENGINE_CANDIDATES_H
#define WORKER_ENGINE_CANDIDATES_H
#include "kernels/kernels.h"
#include "worker/engine/cut.h"
#include <stdint.h>

struct candidates {
	const struct kernels *k;
	size_t n;
	int32_t *ids;   /* [n] */
	float *scores;  /* [n] (logit - largest logit) / temperature, <= 0 */
	float *weights; /* [n] exp(score), not normalised; valid after candidates_weigh */
	float *keys;    /* [n] scratch */
	struct cut_item *items;
};

void candidates_init(struct candidates *c, const struct kernels *k, size_t vocab_size);
void candidates_release(struct candidates *c);

/* All tokens that are possible at all: logits [n] without NaN and +inf, max their largest. */
void candidates_gather(
	struct candidates *c, const float *logits, size_t n, float max, float temperature);
void candidates_keep_top(struct candidates *c, size_t top_k);
void candidates_weigh(struct candidates *c); /* before the filters below */
void candidates_keep_typical(struct candidates *c, double typical_p);
void candidates_keep_nucleus(struct candidates *c, double top_p);
void candidates_keep_above(struct candidates *c, float min_p);
/* Inverse transform sampling in id order; uniform in [0,1). */
int32_t candidates_draw(const struct candidates *c, double uniform);
#endif
