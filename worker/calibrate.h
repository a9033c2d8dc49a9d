/* calibrate.h - how much a pair of models gains, measured: check_draft's `measure`.
 *
 * A short text is generated without drafts, with drafts of a fixed length, and with the length
 * that generate would choose; what drafts cost and how many held says the rest. */
#ifndef WORKER_CALIBRATE_H
#define WORKER_CALIBRATE_H
#include "worker/worker.h"

struct calibration {
	double acceptance;          /* of the drafted tokens that were looked at, 0..1 */
	double plain, drafted;      /* tokens per second without drafts, and with */
	size_t best_draft;          /* tokens; 0 = none at all */
	double drafted_token_s;     /* seconds for each token that is drafted */
	double step_s, draft_row_s; /* seconds of a step, and of each drafted row beside it */
};

/* Answers rq with check_draft_answer and uses it up, like a handler. Takes both references. */
void calibrate_start(struct request *rq, struct model_ref *primary, struct model_ref *draft);
#endif
