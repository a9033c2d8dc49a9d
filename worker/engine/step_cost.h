/* step_cost.h - what a forward pass of so many exact rows takes, measured as steps go by.
 *
 * A pass reads every weight once whatever its rows, so a row more costs much less than the
 * first one: by how much depends on the model, its format and the machine, and is measured, not
 * assumed. Only steps without prompt rows count. Pure: times are arguments. */
#ifndef WORKER_ENGINE_STEP_COST_H
#define WORKER_ENGINE_STEP_COST_H
#include <stddef.h>

#define STEP_COST_ROWS 128

struct step_cost {
	double seconds[STEP_COST_ROWS + 1]; /* by rows, a running mean; 0 = not seen yet */
};

/* A step of n_rows (>= 1; more than STEP_COST_ROWS are not kept) took so long. */
void step_cost_note(struct step_cost *c, size_t n_rows, double seconds);

/* out[k] for k = 0..n: the expected seconds of n_rows + k rows. What was not seen lies on the
 * line between its neighbours that were; beyond them each row is expected to cost as the seen
 * ones did. 0, or -1 when nothing near n_rows is known (out is untouched then). */
int step_cost_expect(const struct step_cost *c, size_t n_rows, size_t n, double *out);
#endif
