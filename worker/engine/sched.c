/* sched.c - the rows of the next step. Stop 16; next: step.c */
#include "worker/engine/sched.h"

double sched_rank(enum job_priority priority, double arrived)
{
	return arrived + SCHED_AGEING_S * (double)priority;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool is_decoding(const struct sched_seq *s)
{
	return s->n_prefill == 0 && s->n_exact == 1;
}

/* The next after `after` (n: the first) in rank order, ties by index, of those that are not
 * merely decoding; n if there is none. */
static size_t next_in_line(const struct sched_seq *seqs, size_t n, size_t after)
{
	size_t best = n;
	for (size_t i = 0; i < n; i++) {
		if (is_decoding(&seqs[i]))
			continue;
		if (after < n && (seqs[i].rank < seqs[after].rank ||
					 (seqs[i].rank == seqs[after].rank && i <= after)))
			continue;
		if (best == n || seqs[i].rank < seqs[best].rank)
			best = i;
	}
	return best;
}

static void give(const struct sched_seq *seq, struct sched_budget *left, struct sched_share *share)
{
	share->n_prefill = smaller(seq->n_prefill, left->prefill_rows);
	left->prefill_rows -= share->n_prefill;
	if (share->n_prefill < seq->n_prefill)
		return;
	share->n_exact = smaller(seq->n_exact, left->exact_rows);
	left->exact_rows -= share->n_exact;
}

void sched_plan(const struct sched_seq *seqs, size_t n, const struct sched_budget *budget,
	struct sched_share *shares)
{
	struct sched_budget left = *budget;
	for (size_t i = 0; i < n; i++) {
		shares[i] = (struct sched_share) { 0, 0 };
		if (is_decoding(&seqs[i]))
			give(&seqs[i], &left, &shares[i]);
	}
	for (size_t i = next_in_line(seqs, n, n); i < n; i = next_in_line(seqs, n, i))
		give(&seqs[i], &left, &shares[i]);
}

/* So many prompt rows are read whatever they cost, or a prompt would never end; and with so
 * many a price is found out. */
#define FEWEST_ROWS 4
#define FIRST_ROWS  16
#define PACE_WEIGHT 0.25
/* How much dearer than the mean a step may claim that its rows were. */
#define PACE_OUTLIER 3.0

void sched_pace_note(struct sched_pace *p, size_t n_prefill, double seconds, double decode_s)
{
	if (n_prefill == 0 || !(seconds > 0))
		return;
	double row_s = seconds > decode_s ? (seconds - decode_s) / (double)n_prefill : 0;
	if (p->row_s == 0) {
		p->row_s = row_s;
		return;
	}
	if (row_s > PACE_OUTLIER * p->row_s)
		row_s = PACE_OUTLIER * p->row_s;
	p->row_s += PACE_WEIGHT * (row_s - p->row_s);
}

size_t sched_pace_rows(const struct sched_pace *p, double decode_s, size_t most)
{
	if (p->row_s == 0)
		return smaller(FIRST_ROWS, most);
	double rows = (SCHED_SLOWDOWN - 1) * decode_s / p->row_s;
	size_t n = rows < (double)most ? (size_t)rows : most;
	return smaller(n > FEWEST_ROWS ? n : FEWEST_ROWS, most);
}

enum sched_verdict sched_admit(const struct sched_demand *job, const struct sched_demand *promised,
	const struct sched_demand *capacity)
{
	if (job->blocks > capacity->blocks)
		return SCHED_NEVER;
	/* No slot taken does not mean no block: a held job keeps its own. */
	bool has_slots =
		promised->slots == 0 ||
		(job->slots <= capacity->slots && promised->slots <= capacity->slots - job->slots);
	bool has_blocks = promised->blocks <= capacity->blocks - job->blocks;
	return has_slots && has_blocks ? SCHED_NOW : SCHED_LATER;
}

size_t sched_victim(const struct sched_holder *h, size_t n, double rank, size_t need)
{
	size_t last = n, held = 0;
	for (size_t i = 0; i < n; i++) {
		if (h[i].blocks == 0 || h[i].rank <= rank)
			continue;
		held += h[i].blocks;
		if (last == n || h[i].rank >= h[last].rank)
			last = i;
	}
	return held >= need ? last : n;
}
