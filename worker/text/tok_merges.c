/* tok_merges.c - byte-pair merging: a scan for short words, a queue for long ones. */
#include "worker/text/tok_merges.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>

#define FREE UINT64_MAX

void tok_merges_release(struct tok_merges *m)
{
	free(m->slots);
	*m = (struct tok_merges) { 0 };
}

static uint64_t pair_of(int32_t left, int32_t right)
{
	return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static size_t home_slot(const struct tok_merges *m, uint64_t pair)
{
	uint64_t h = pair * 0x9e3779b97f4a7c15u;
	return (h ^ h >> 32) & (m->n_slots - 1);
}

static size_t find_slot(const struct tok_merges *m, uint64_t pair)
{
	size_t i = home_slot(m, pair);
	while (m->slots[i].pair != pair && m->slots[i].pair != FREE)
		i = (i + 1) & (m->n_slots - 1);
	return i;
}

struct tok_merge tok_merges_find(const struct tok_merges *m, int32_t left, int32_t right)
{
	const struct tok_merge none = { MERGE_NO_RANK, -1 };
	if (m->n_slots == 0)
		return none;
	uint64_t pair = pair_of(left, right);
	size_t i = find_slot(m, pair);
	return m->slots[i].pair == pair ? m->slots[i].to : none;
}

static void grow(struct tok_merges *m)
{
	struct tok_merges old = *m;
	m->n_slots = old.n_slots ? 2 * old.n_slots : 1024;
	m->slots = xcalloc(m->n_slots, sizeof *m->slots);
	for (size_t i = 0; i < m->n_slots; i++)
		m->slots[i].pair = FREE;
	for (size_t i = 0; i < old.n_slots; i++)
		if (old.slots[i].pair != FREE)
			m->slots[find_slot(m, old.slots[i].pair)] = old.slots[i];
	free(old.slots);
}

void tok_merges_put(struct tok_merges *m, int32_t left, int32_t right, struct tok_merge to)
{
	if (m->n_slots < 2 * (m->n + 1))
		grow(m);
	uint64_t pair = pair_of(left, right);
	size_t i = find_slot(m, pair);
	if (m->slots[i].pair == FREE)
		m->n++;
	m->slots[i].pair = pair;
	m->slots[i].to = to;
}

void merge_work_release(struct merge_work *w)
{
	free(w->ids);
	free(w->prev);
	free(w->next);
	free(w->first);
	free(w->spare);
	free(w->heap);
	*w = (struct merge_work) { 0 };
}

void merge_work_push(struct merge_work *w, int32_t id)
{
	if (w->n == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 256;
		w->ids = xreallocarray(w->ids, w->cap, sizeof *w->ids);
	}
	w->ids[w->n++] = id;
}

/* -- short words: look for the best pair again after each merge ------------------------- */

#define SHORT_MAX 40 /* pieces; above, the queue is cheaper than the scans */

static void apply_short(const struct tok_merges *m, struct merge_work *w)
{
	struct tok_merge to[SHORT_MAX];
	int32_t *ids = w->ids;
	size_t n = w->n;
	for (size_t i = 0; i + 1 < n; i++)
		to[i] = tok_merges_find(m, ids[i], ids[i + 1]);
	while (n > 1) {
		size_t best = 0;
		for (size_t i = 1; i + 1 < n; i++)
			if (to[i].rank < to[best].rank)
				best = i;
		if (to[best].rank == MERGE_NO_RANK)
			break;
		ids[best] = to[best].id;
		n--;
		memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
		memmove(to + best, to + best + 1, (n - best) * sizeof *to);
		if (best + 1 < n)
			to[best] = tok_merges_find(m, ids[best], ids[best + 1]);
		if (best > 0)
			to[best - 1] = tok_merges_find(m, ids[best - 1], ids[best]);
	}
	w->n = n;
}

/* -- long words -------------------------------------------------------------------------
 *
 * The pairs of the untouched word are sorted once, by counting, and read in order; pairs
 * that merges create go to a heap. An entry whose pair has changed since is stale: its rank
 * is not that of the pair now at its place, and it is dropped when met. */

static void heap_push(struct merge_work *w, uint64_t entry)
{
	if (w->n_heap == w->cap_heap) {
		w->cap_heap = w->cap_heap ? 2 * w->cap_heap : 256;
		w->heap = xreallocarray(w->heap, w->cap_heap, sizeof *w->heap);
	}
	size_t i = w->n_heap++;
	for (; i > 0 && w->heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = entry;
}

static uint64_t heap_pop(struct merge_work *w)
{
	uint64_t top = w->heap[0], last = w->heap[--w->n_heap];
	size_t i = 0;
	for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
		if (child + 1 < w->n_heap && w->heap[child + 1] < w->heap[child])
			child++;
		if (last <= w->heap[child])
			break;
		w->heap[i] = w->heap[child];
	}
	w->heap[i] = last;
	return top;
}

/* Positions come in ascending, so a stable sort by rank alone orders the entries: two
 * passes over 12 bits each (ranks are below MERGES_MAX). */
static void sort_pass(const uint64_t *from, uint64_t *to, size_t n, int shift)
{
	size_t count[4096] = { 0 }, at = 0;
	for (size_t i = 0; i < n; i++)
		count[from[i] >> shift & 4095]++;
	for (size_t d = 0; d < 4096; d++) {
		size_t n_digit = count[d];
		count[d] = at;
		at += n_digit;
	}
	for (size_t i = 0; i < n; i++)
		to[count[from[i] >> shift & 4095]++] = from[i];
}

static void reserve_links(struct merge_work *w)
{
	if (w->n <= w->cap_links)
		return;
	w->cap_links = w->cap;
	w->prev = xreallocarray(w->prev, w->cap_links, sizeof *w->prev);
	w->next = xreallocarray(w->next, w->cap_links, sizeof *w->next);
	w->first = xreallocarray(w->first, w->cap_links, sizeof *w->first);
	w->spare = xreallocarray(w->spare, w->cap_links, sizeof *w->spare);
}

static uint64_t entry_of(struct tok_merge to, int32_t at)
{
	return (uint64_t)to.rank << 32 | (uint32_t)at;
}

/* Link the word up and list its pairs; returns how many there are. */
static size_t start_long(const struct tok_merges *m, struct merge_work *w)
{
	size_t n_first = 0;
	reserve_links(w);
	w->n_heap = 0;
	for (size_t i = 0; i < w->n; i++) {
		w->prev[i] = (int32_t)i - 1;
		w->next[i] = i + 1 < w->n ? (int32_t)i + 1 : -1;
		if (i + 1 == w->n)
			break;
		struct tok_merge to = tok_merges_find(m, w->ids[i], w->ids[i + 1]);
		if (to.rank != MERGE_NO_RANK)
			w->first[n_first++] = entry_of(to, (int32_t)i);
	}
	sort_pass(w->first, w->spare, n_first, 32);
	sort_pass(w->spare, w->first, n_first, 44);
	return n_first;
}

static void push_pair(const struct tok_merges *m, struct merge_work *w, int32_t at)
{
	struct tok_merge to = tok_merges_find(m, w->ids[at], w->ids[w->next[at]]);
	if (to.rank != MERGE_NO_RANK)
		heap_push(w, entry_of(to, at));
}

/* The pair at `entry`'s place becomes one piece, if it still is the pair meant. */
static void merge_at(const struct tok_merges *m, struct merge_work *w, uint64_t entry)
{
	int32_t at = (int32_t)(uint32_t)entry;
	if (w->ids[at] < 0 || w->next[at] < 0)
		return;
	int32_t right = w->next[at];
	struct tok_merge to = tok_merges_find(m, w->ids[at], w->ids[right]);
	if (to.rank != entry >> 32)
		return;
	w->ids[at] = to.id;
	w->ids[right] = -1;
	w->next[at] = w->next[right];
	if (w->next[at] >= 0) {
		w->prev[w->next[at]] = at;
		push_pair(m, w, at);
	}
	if (w->prev[at] >= 0)
		push_pair(m, w, w->prev[at]);
}

static void apply_long(const struct tok_merges *m, struct merge_work *w)
{
	size_t n_first = start_long(m, w), i = 0;
	while (i < n_first || w->n_heap > 0) {
		if (w->n_heap == 0 || (i < n_first && w->first[i] < w->heap[0]))
			merge_at(m, w, w->first[i++]);
		else
			merge_at(m, w, heap_pop(w));
	}
	size_t n = 0;
	for (size_t k = 0; k < w->n; k++)
		if (w->ids[k] >= 0)
			w->ids[n++] = w->ids[k];
	w->n = n;
}

void tok_merges_apply(const struct tok_merges *m, struct merge_work *w)
{
	if (w->n < 2 || m->n == 0)
		return;
	if (w->n <= SHORT_MAX)
		apply_short(m, w);
	else
		apply_long(m, w);
}
