/* tok_merges.h - which two neighbours may become one piece, and the merging itself.
 *
 * A rule has a rank; the lowest rank goes first, the leftmost of equals. Rules of one rank
 * are possible (SentencePiece scores). Byte-pair encoding: Sennrich et al. 2016. */
#ifndef WORKER_TEXT_TOK_MERGES_H
#define WORKER_TEXT_TOK_MERGES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MERGES_MAX    ((size_t)1 << 24)
#define MERGE_NO_RANK UINT32_MAX

struct tok_merge {
	uint32_t rank; /* < MERGES_MAX; MERGE_NO_RANK: the two do not merge */
	int32_t id;    /* of the piece they become */
};

struct tok_merges {
	struct {
		uint64_t pair; /* left id << 32 | right id; UINT64_MAX: free */
		struct tok_merge to;
	} * slots;
	size_t n_slots; /* power of two, or 0 */
	size_t n;
};

void tok_merges_release(struct tok_merges *m);
/* A rule that exists is replaced, as Hugging Face's table does. */
void tok_merges_put(struct tok_merges *m, int32_t left, int32_t right, struct tok_merge to);
struct tok_merge tok_merges_find(const struct tok_merges *m, int32_t left, int32_t right);

/* Working memory of one thread, grown as words need it and kept. */
struct merge_work {
	int32_t *ids; /* in: the first pieces; out: the merged ones */
	size_t n, cap;
	int32_t *prev, *next;
	uint64_t *first, *spare, *heap; /* rank << 32 | position */
	size_t cap_links, n_heap, cap_heap;
};
void merge_work_release(struct merge_work *w);
void merge_work_push(struct merge_work *w, int32_t id);

/* Merge w->ids[0..n) in place until no rule applies. n log n in the worst case, near linear
 * in practice. n must be below INT32_MAX. */
void tok_merges_apply(const struct tok_merges *m, struct merge_work *w);
#endif
