/* retry.c - the retry budget, and who draws on it. */
#include "controller/retry.h"

static double at_most(const struct retry_budget *b, double tokens)
{
	return tokens < b->burst ? tokens : b->burst;
}

void retry_init(struct retry_budget *b, double burst, uint64_t now_us)
{
	*b = (struct retry_budget) { burst, burst, now_us };
}

void retry_answered(struct retry_budget *b)
{
	b->tokens = at_most(b, b->tokens + RETRY_PER_ANSWER);
}

double retry_left(const struct retry_budget *b, uint64_t now_us)
{
	double seconds = (double)(now_us - b->at_us) / 1e6;
	return at_most(b, b->tokens + seconds * RETRY_PER_SECOND);
}

enum retry_verdict retry_judge(struct retry_budget *b, const struct retry_case *r, uint64_t now_us)
{
	if (r->deaths >= (r->is_doubted ? RETRY_DEATHS_DOUBTED : RETRY_DEATHS))
		return RETRY_POISON;
	if (!r->is_possible)
		return RETRY_REFUSED;
	b->tokens = retry_left(b, now_us);
	b->at_us = now_us;
	if (b->tokens < 1)
		return RETRY_SPENT;
	b->tokens -= 1;
	return RETRY_AGAIN;
}
