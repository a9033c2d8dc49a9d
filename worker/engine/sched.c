/* sched.c - the rows of the next step. Stop 14; next: worker/model/model.c */
#include "worker/engine/sched.h"

double sched_rank(enum job_priority priority, double arrived)
{
	return arrived + SCHED_AGEING_S * (double)priority;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The sequence of lowest rank that has prompt rows (or, if `drafts`, only draft rows) left
 * and no share yet; n if there is none. A sequence passed over once (its draft did not fit)
 * is `after`'s business: ranks are visited in order, ties by index. */
static size_t next_in_line(const struct sched_seq *seqs, size_t n, bool drafts, size_t after)
{
	size_t best = n;
	for (size_t i = 0; i < n; i++) {
		bool wanted = drafts ? seqs[i].n_prefill == 0 && seqs[i].n_exact > 1
				     : seqs[i].n_prefill > 0;
		if (!wanted)
			continue;
		if (after < n && (seqs[i].rank < seqs[after].rank ||
					 (seqs[i].rank == seqs[after].rank && i <= after)))
			continue;
		if (best == n || seqs[i].rank < seqs[best].rank)
			best = i;
	}
	return best;
}

static void give_exact(const struct sched_seq *seq, struct sched_share *share, size_t *left)
{
	if (seq->n_exact > *left)
		return;
	share->n_exact = seq->n_exact;
	*left -= seq->n_exact;
}

void sched_plan(const struct sched_seq *seqs, size_t n, const struct sched_budget *budget,
	struct sched_share *shares)
{
	size_t exact = budget->exact_rows, prefill = budget->prefill_rows;
	for (size_t i = 0; i < n; i++) {
		shares[i] = (struct sched_share) { 0, 0 };
		if (seqs[i].n_prefill == 0 && seqs[i].n_exact == 1)
			give_exact(&seqs[i], &shares[i], &exact);
	}
	for (size_t i = next_in_line(seqs, n, true, n); i < n; i = next_in_line(seqs, n, true, i))
		give_exact(&seqs[i], &shares[i], &exact);
	for (size_t i = next_in_line(seqs, n, false, n); i < n && prefill > 0;
		i = next_in_line(seqs, n, false, i)) {
		shares[i].n_prefill = smaller(seqs[i].n_prefill, prefill);
		prefill -= shares[i].n_prefill;
		if (shares[i].n_prefill == seqs[i].n_prefill)
			give_exact(&seqs[i], &shares[i], &exact);
	}
}

enum sched_verdict sched_admit(const struct sched_demand *job, const struct sched_demand *promised,
	const struct sched_demand *capacity)
{
	if (job->blocks > capacity->blocks)
		return SCHED_NEVER;
	if (promised->slots == 0)
		return SCHED_NOW;
	if (job->slots > capacity->slots || promised->slots > capacity->slots - job->slots)
		return SCHED_LATER;
	return promised->blocks <= capacity->blocks - job->blocks ? SCHED_NOW : SCHED_LATER;
}
