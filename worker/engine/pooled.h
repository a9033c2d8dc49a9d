/* pooled.h - the rows of one text on their way into one vector (JOB_EMBED).
 *
 * Rows are added in the order of their positions, in double, so a vector's bits do not depend
 * on how the text was cut into steps or who shared them. */
#ifndef WORKER_ENGINE_POOLED_H
#define WORKER_ENGINE_POOLED_H
#include "worker/model/model.h"
#include "worker/model/pooling.h"

struct pooled {
	enum pooling pooling;
	size_t n_rows;       /* of the whole text */
	size_t dim, n_added; /* dim 0: not in use */
	double *sum;         /* [dim]; owned */
};

void pooled_init(struct pooled *p, enum pooling pooling, size_t n_rows, size_t dim);
void pooled_release(struct pooled *p);
/* Make those of the next n rows that count leave their hidden state in `hidden` [][dim];
 * returns where the next one's may go. */
float *pooled_ask(const struct pooled *p, struct batch_row *rows, size_t n, float *hidden);
/* The step is done: add what the rows left. */
void pooled_take(struct pooled *p, const struct batch_row *rows, size_t n);
void pooled_finish(struct pooled *p); /* sum is the vector from here on */
#endif
