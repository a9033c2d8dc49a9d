/* batch.c - zero-hold batching as arithmetic, for dispatch.c. */
#include "controller/batch.h"

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

struct batch_caps batch_allow(const struct batch_view *v)
{
	struct batch_caps none = { 0, 0 };
	if (v->n_waiting == 0 || v->room == 0)
		return none;
	if (!v->gathers) {
		if (v->n_in_flight >= (v->is_suspect ? 1 : BATCH_SOLO))
			return none;
		return (struct batch_caps) { 1, BATCH_BYTES };
	}
	bool overdue = v->oldest_wait_us >= BATCH_AGE_US && v->n_in_flight < BATCH_FRAMES;
	bool is_full = v->n_waiting >= BATCH_CALLS && v->n_in_flight <= 1;
	if (v->n_in_flight > 0 && !overdue && !is_full)
		return none;
	return (struct batch_caps) { min(min(v->n_waiting, BATCH_CALLS), v->room), BATCH_BYTES };
}
