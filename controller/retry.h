/* retry.h - may a request lost with its worker be sent again? Pure policy.
 *
 * A request that was there when two workers died, without having got any further in between, is
 * taken to be the cause and is not given a third; where the last death may well have had another
 * cause it takes more of them. All retries together draw on a bucket of tokens:
 * it is filled by time and by answers, so that a service that answers hardly anything any more is
 * not kept busy by its own retries. */
#ifndef CONTROLLER_RETRY_H
#define CONTROLLER_RETRY_H
#include <stdbool.h>
#include <stdint.h>

#define RETRY_DEATHS         2 /* of workers, before the request counts as their cause … */
#define RETRY_DEATHS_DOUBTED 4 /* … and where it may have been the line, or a kill from outside */
#define RETRY_PER_SECOND     16.0 /* filled in by time … */
#define RETRY_PER_ANSWER     0.1  /* … and by each request answered */

struct retry_budget {
	double tokens, burst;
	uint64_t at_us; /* when tokens was brought up to date */
};

enum retry_verdict {
	RETRY_AGAIN,
	RETRY_REFUSED, /* it asked for none, or nobody could go on with it */
	RETRY_POISON,  /* as many workers died with it as RETRY_DEATHS says */
	RETRY_SPENT,   /* the budget is */
	RETRY_N_VERDICTS
};

struct retry_case {
	bool is_possible; /* what it is and asked for allows it, and a worker will be there */
	bool is_doubted;  /* the last of them may not have been the request's doing */
	unsigned deaths;  /* of workers that had it since it last got further, this one included */
};

void retry_init(struct retry_budget *b, double burst, uint64_t now_us);
void retry_answered(struct retry_budget *b);
/* RETRY_AGAIN takes one token. */
enum retry_verdict retry_judge(struct retry_budget *b, const struct retry_case *r, uint64_t now_us);
/* Tokens there now. */
double retry_left(const struct retry_budget *b, uint64_t now_us);
#endif
