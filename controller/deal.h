/* deal.h - one round of dealing a bucket's waiting calls out to workers.
 *
 * route.h and batch.h decide; this gathers what they need to know and takes the calls out of the
 * queue, in the order it says. */
#ifndef CONTROLLER_DEAL_H
#define CONTROLLER_DEAL_H
#include "controller/controller.h"

/* What one worker gets in a frame of its own. */
struct hand {
	struct worker *worker;
	struct queue_item *items[BATCH_CALLS];
	size_t n;
};

/* Fills hands[OPTIONS_WORKERS_MAX]; returns how many there are, some of them empty. When all
 * are, nothing can leave now. */
size_t deal_round(struct controller *c, struct queue_bucket *b, struct hand *hands);
#endif
