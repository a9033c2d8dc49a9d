/* step_cost.c - what a step of so many rows takes, learnt from the steps themselves. */
#include "worker/engine/step_cost.h"

/* A new sample's weight, and how much longer than the mean it may claim to be: other processes
 * take the processor away now and then. */
#define WEIGHT  0.125
#define OUTLIER 2.0
/* Of the first row's time, for each row more, until two numbers of rows have been seen: cheap
 * enough that a draft is tried. */
#define FIRST_GUESS 0.1

void step_cost_note(struct step_cost *c, size_t n_rows, double seconds)
{
	if (n_rows == 0 || n_rows > STEP_COST_ROWS || !(seconds > 0))
		return;
	double *mean = &c->seconds[n_rows];
	if (*mean == 0) {
		*mean = seconds;
		return;
	}
	if (seconds > OUTLIER * *mean)
		seconds = OUTLIER * *mean;
	*mean += WEIGHT * (seconds - *mean);
}

static size_t seen_from(const struct step_cost *c, size_t n_rows)
{
	while (n_rows <= STEP_COST_ROWS && c->seconds[n_rows] == 0)
		n_rows++;
	return n_rows;
}

static size_t seen_until(const struct step_cost *c, size_t n_rows)
{
	if (n_rows > STEP_COST_ROWS)
		n_rows = STEP_COST_ROWS;
	while (n_rows > 0 && c->seconds[n_rows] == 0)
		n_rows--;
	return n_rows;
}

/* Seconds a row more costs, seen between two numbers of rows. */
static double slope(const struct step_cost *c, size_t low, size_t high)
{
	if (high <= low)
		return 0;
	const double rise = c->seconds[high] - c->seconds[low];
	return rise > 0 ? rise / (double)(high - low) : 0;
}

/* The slope behind the last number of rows that was seen. */
static double last_slope(const struct step_cost *c, size_t low)
{
	const size_t before = seen_until(c, low - 1);
	if (before == 0)
		return FIRST_GUESS * c->seconds[low] / (1 + FIRST_GUESS * (double)(low - 1));
	return slope(c, before, low);
}

int step_cost_expect(const struct step_cost *c, size_t n_rows, size_t n, double *out)
{
	size_t low = seen_until(c, n_rows), high = seen_from(c, n_rows);
	if (low == 0)
		return -1;
	double rise = last_slope(c, low);
	for (size_t k = 0; k <= n; k++) {
		const size_t rows = n_rows + k;
		if (rows > high && high <= STEP_COST_ROWS) {
			low = high;
			high = seen_from(c, rows);
			rise = last_slope(c, low);
		}
		const double per_row = high <= STEP_COST_ROWS ? slope(c, low, high) : rise;
		out[k] = rows == high && high <= STEP_COST_ROWS
				 ? c->seconds[high]
				 : c->seconds[low] + per_row * (double)(rows - low);
	}
	return 0;
}
