/* cut.h - the best items that together reach a mass, without sorting them all.
 *
 * top_k, top_p and typical sampling are one question: order candidates by a key, take the
 * shortest run of best ones whose weights add up to at least so much. Quickselect answers
 * it in linear time (Hoare, 1961, with sums instead of counts). Pure and deterministic:
 * the same items in the same order give the same answer. */
#ifndef WORKER_ENGINE_CUT_H
#define WORKER_ENGINE_CUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cut_item {
	float key;    /* larger is better; not NaN */
	float weight; /* >= 0 */
	int32_t id;   /* unique; the lower one wins a tie of keys */
};

bool cut_is_better(const struct cut_item *a, const struct cut_item *b);

/* The last item of that run, or the worst of all when their whole weight is less than mass.
 * items[n] are reordered. n >= 1, mass > 0. */
struct cut_item cut_by_mass(struct cut_item *items, size_t n, double mass);
#endif
