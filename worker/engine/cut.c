/* cut.c - the best items that together reach a mass, by quickselect. */
#include "worker/engine/cut.h"

bool cut_is_better(const struct cut_item *a, const struct cut_item *b)
{
	return a->key > b->key || (a->key == b->key && a->id < b->id);
}

static void swap(struct cut_item *a, struct cut_item *b)
{
	struct cut_item t = *a;
	*a = *b;
	*b = t;
}

/* Put the pivot where it belongs in items[0..n), better ones before it. Returns its index,
 * and the weight of what is before it. */
static size_t partition(struct cut_item *items, size_t n, size_t pivot, double *before)
{
	size_t store = 0;
	double sum = 0;
	swap(&items[pivot], &items[n - 1]);
	for (size_t i = 0; i + 1 < n; i++) {
		if (!cut_is_better(&items[i], &items[n - 1]))
			continue;
		sum += items[i].weight;
		swap(&items[i], &items[store++]);
	}
	swap(&items[store], &items[n - 1]);
	*before = sum;
	return store;
}

struct cut_item cut_by_mass(struct cut_item *items, size_t n, double mass)
{
	size_t low = 0, high = n;
	/* A fixed pseudo-random walk (Knuth's MMIX constants): no logits can be arranged so
	 * that every pivot is a bad one without knowing all that came before. */
	uint64_t walk = 0x9e3779b97f4a7c15u;
	while (low < high) {
		double before;
		walk = walk * 6364136223846793005u + 1442695040888963407u;
		size_t pivot = (size_t)((walk >> 33) % (high - low));
		size_t at = low + partition(items + low, high - low, pivot, &before);
		if (at > low && before >= mass) {
			high = at;
			continue;
		}
		mass -= before + items[at].weight;
		low = at + 1;
		if (mass <= 0)
			return items[at];
	}
	return items[high - 1];
}
