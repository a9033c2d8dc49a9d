/* pooled.c - rows into one vector. */
#include "worker/engine/pooled.h"
#include "protocol/mem.h"
#include <stdlib.h>

void pooled_init(struct pooled *p, enum pooling pooling, size_t n_rows, size_t dim)
{
	*p = (struct pooled) { .pooling = pooling, .n_rows = n_rows, .dim = dim };
	p->sum = xcalloc(dim, sizeof *p->sum);
}

void pooled_release(struct pooled *p)
{
	free(p->sum);
	*p = (struct pooled) { 0 };
}

static bool counts(const struct pooled *p, size_t pos)
{
	switch (p->pooling) {
	case POOLING_MEAN: return true;
	case POOLING_CLS: return pos == 0;
	case POOLING_LAST: return pos + 1 == p->n_rows;
	}
	return false;
}

float *pooled_ask(const struct pooled *p, struct batch_row *rows, size_t n, float *hidden)
{
	for (size_t i = 0; i < n; i++) {
		if (!counts(p, (size_t)rows[i].pos))
			continue;
		rows[i].hidden = hidden;
		hidden += p->dim;
	}
	return hidden;
}

void pooled_take(struct pooled *p, const struct batch_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const float *x = rows[i].hidden;
		for (size_t k = 0; x && k < p->dim; k++)
			p->sum[k] += x[k];
		p->n_added += x != NULL;
	}
}

void pooled_finish(struct pooled *p)
{
	for (size_t k = 0; k < p->dim; k++)
		p->sum[k] /= (double)p->n_added;
}
