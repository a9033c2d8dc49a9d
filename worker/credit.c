/* credit.c - the credit of one stream as arithmetic, for stream.c. */
#include "worker/credit.h"
#include <stdint.h>

size_t credit_left(const struct credit *c, bool is_pipe_full)
{
	const size_t ahead = c->n_sent - c->n_acked;
	if (is_pipe_full)
		return 0;
	if (c->window == 0)
		return SIZE_MAX;
	return ahead < c->window ? c->window - ahead : 0;
}

void credit_sent(struct credit *c, size_t n_tokens)
{
	c->n_sent += n_tokens;
	/* Something moved: a stall begins anew. */
	if (n_tokens)
		c->stalled_at = 0;
}

void credit_acked(struct credit *c, size_t n)
{
	/* An acknowledgement of what was never sent is worth what was. */
	const size_t known = n < c->n_sent ? n : c->n_sent;
	if (c->window == 0)
		c->window = CREDIT_WINDOW;
	if (known > c->n_acked)
		c->n_acked = known;
}

enum credit_verdict credit_judge(struct credit *c, const struct credit_view *v, double *due)
{
	const bool is_much = v->n_tokens >= CREDIT_TOKENS || v->n_bytes >= CREDIT_BYTES;
	const bool is_little = v->n_tokens < CREDIT_TOKENS / 2 && v->n_bytes < CREDIT_BYTES / 2;
	*due = -1;
	if (v->n_tokens == 0 || credit_left(c, v->is_pipe_full) > 0) {
		c->stalled_at = 0;
		c->is_parked = false;
		return CREDIT_FINE;
	}
	if (c->stalled_at == 0)
		c->stalled_at = v->now;
	if (is_much)
		c->is_parked = true;
	else if (is_little)
		c->is_parked = false;
	if (v->patience > 0) {
		*due = c->stalled_at + v->patience - v->now;
		if (*due <= 0)
			return CREDIT_GIVEN_UP;
	}
	return c->is_parked ? CREDIT_PARK : CREDIT_FINE;
}
