#include "worker/engine/cut.h"
#include "worker/engine/sampling.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define N 300

static int by_quality(const void *a, const void *b)
{
	return cut_is_better(a, b) ? -1 : 1;
}

static void fill(struct cut_item *items, size_t n, uint64_t seed, int n_keys)
{
	for (size_t i = 0; i < n; i++) {
		double u = sampler_uniform(seed, i);
		items[i] = (struct cut_item) { (float)(int)(u * n_keys),
			(float)(int)(8 * sampler_uniform(seed + 1, i)), (int32_t)i };
	}
}

/* Weights are small whole numbers, so sums are exact in any order. */
Test(cut, finds_the_item_that_sorting_finds)
{
	struct cut_item items[N], sorted[N];
	for (uint64_t seed = 0; seed < 60; seed++) {
		size_t n = 1 + (size_t)(sampler_uniform(99, seed) * (N - 1));
		fill(items, n, seed, seed % 3 == 0 ? 4 : 100000);
		for (size_t i = 0; i < n; i++)
			sorted[i] = items[i];
		qsort(sorted, n, sizeof *sorted, by_quality);
		double total = 0;
		for (size_t i = 0; i < n; i++)
			total += sorted[i].weight;
		for (double mass = 1; mass <= total + 2; mass += 7) {
			size_t at = 0;
			for (double sum = sorted[0].weight; sum < mass && at + 1 < n;)
				sum += sorted[++at].weight;
			cr_assert_eq(cut_by_mass(items, n, mass).id, sorted[at].id,
				"seed %d n %zu mass %g", (int)seed, n, mass);
		}
	}
}

Test(cut, takes_the_worst_when_the_mass_is_out_of_reach)
{
	struct cut_item items[] = { { 1, 1, 0 }, { 5, 1, 1 }, { 3, 0, 2 } };
	cr_assert_eq(cut_by_mass(items, 3, 10).id, 0);
	cr_assert_eq(cut_by_mass(items, 1, 10).id, items[0].id);
}
