/* candidates.c - top_k, typical, top_p, min_p, and the draw. */
#include "worker/engine/candidates.h"
#include "protocol/mem.h"
#include <math.h>
#include <stdlib.h>

/* Candidates per block when looking for a floor of the top k. */
#define BLOCK 64

void candidates_init(struct candidates *c, const struct kernels *k, size_t vocab_size)
{
	*c = (struct candidates) { .k = k };
	c->ids = xcalloc(vocab_size, sizeof *c->ids);
	c->scores = xcalloc(vocab_size, sizeof *c->scores);
	c->weights = xcalloc(vocab_size, sizeof *c->weights);
	c->keys = xcalloc(vocab_size, sizeof *c->keys);
	c->items = xcalloc(vocab_size, sizeof *c->items);
}

void candidates_release(struct candidates *c)
{
	free(c->items);
	free(c->keys);
	free(c->weights);
	free(c->scores);
	free(c->ids);
}

void candidates_gather(
	struct candidates *c, const float *logits, size_t n, float max, float temperature)
{
	c->n = 0;
	for (size_t i = 0; i < n; i++) {
		if (logits[i] == -INFINITY)
			continue;
		c->ids[c->n] = (int32_t)i;
		/* Subtracting first: a tiny temperature then gives -inf, never inf - inf. */
		c->scores[c->n++] = (logits[i] - max) / temperature;
	}
}

void candidates_weigh(struct candidates *c)
{
	c->k->exp(c->weights, c->scores, c->n);
}

static double total_weight(const struct candidates *c)
{
	double sum = 0;
	for (size_t i = 0; i < c->n; i++)
		sum += c->weights[i];
	return sum;
}

static void keep(struct candidates *c, size_t *n, size_t i)
{
	c->ids[*n] = c->ids[i];
	c->scores[*n] = c->scores[i];
	c->weights[(*n)++] = c->weights[i];
}

/* Keep those up to the last of the best of items[0..n_items) that reach mass together. */
static void keep_best(struct candidates *c, const float *keys, size_t n_items, double mass)
{
	if (n_items == 0)
		return;
	struct cut_item last = cut_by_mass(c->items, n_items, mass);
	size_t n = 0;
	for (size_t i = 0; i < c->n; i++)
		if (!cut_is_better(&last, &(struct cut_item) { keys[i], 0, c->ids[i] }))
			keep(c, &n, i);
	c->n = n;
}

/* A score that the k-th best is not below: the k-th best of the blocks' best ones, since
 * each of those is a candidate. It spares the selection all but a few of a vocabulary. */
static float floor_of_top(struct candidates *c, size_t top_k)
{
	size_t n_blocks = c->n / BLOCK;
	if (n_blocks < top_k)
		return -INFINITY;
	for (size_t b = 0; b < n_blocks; b++)
		c->items[b] = (struct cut_item) { c->k->max(c->scores + b * BLOCK, BLOCK), 1,
			(int32_t)b };
	return cut_by_mass(c->items, n_blocks, (double)top_k).key;
}

void candidates_keep_top(struct candidates *c, size_t top_k)
{
	if (top_k >= c->n)
		return;
	float floor = floor_of_top(c, top_k);
	size_t n = 0;
	for (size_t i = 0; i < c->n; i++)
		if (c->scores[i] >= floor)
			c->items[n++] = (struct cut_item) { c->scores[i], 1, c->ids[i] };
	keep_best(c, c->scores, n, (double)top_k);
}

/* Tokens whose surprise is nearest to the expected one (Meister et al., 2022). */
void candidates_keep_typical(struct candidates *c, double typical_p)
{
	double total = total_weight(c), log_total = log(total), entropy = 0;
	for (size_t i = 0; i < c->n; i++)
		if (c->weights[i] > 0)
			entropy -= c->weights[i] / total * ((double)c->scores[i] - log_total);
	for (size_t i = 0; i < c->n; i++) {
		c->keys[i] = (float)-fabs(log_total - (double)c->scores[i] - entropy);
		c->items[i] = (struct cut_item) { c->keys[i], c->weights[i], c->ids[i] };
	}
	keep_best(c, c->keys, c->n, typical_p * total);
}

/* Holtzman et al., 2019. All candidates lighter than (1 - top_p) / n of the total weigh less
 * than 1 - top_p together, so none of them is needed to reach top_p: most of a vocabulary
 * never enters the selection. */
void candidates_keep_nucleus(struct candidates *c, double top_p)
{
	double total = total_weight(c), floor = (1 - top_p) * total / (double)c->n;
	size_t n = 0;
	for (size_t i = 0; i < c->n; i++)
		if (c->weights[i] >= floor)
			c->items[n++] =
				(struct cut_item) { c->scores[i], c->weights[i], c->ids[i] };
	keep_best(c, c->scores, n, top_p * total);
}

void candidates_keep_above(struct candidates *c, float min_p)
{
	float max = c->k->max(c->weights, c->n);
	size_t n = 0;
	for (size_t i = 0; i < c->n; i++)
		if (c->weights[i] >= min_p * max)
			keep(c, &n, i);
	c->n = n;
}

int32_t candidates_draw(const struct candidates *c, double uniform)
{
	double left = uniform * total_weight(c);
	int32_t id = c->ids[0];
	for (size_t i = 0; i < c->n; i++) {
		if (c->weights[i] <= 0)
			continue;
		id = c->ids[i];
		left -= c->weights[i];
		if (left < 0)
			break;
	}
	return id;
}
