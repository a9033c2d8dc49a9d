/* attention.h - softmax(q·Kᵀ·scale)·V over the paged KV cache, in O(n) memory.
 *
 * Online softmax in tiles (Milakov & Gimelshein, arXiv:1805.02867; FlashAttention,
 * arXiv:2205.14135). A tile is ATTEND_TILE consecutive positions starting at a multiple of
 * ATTEND_TILE, which is one KV block. A span is ATTEND_SPAN positions starting at a multiple
 * of ATTEND_SPAN. For one query, a span's state (m, l, acc) is, tile by tile in rising order:
 *
 *   s[j]  = cap(scale · q·k[j]) for the positions the query sees; q·k is one fused
 *           multiply-add after the other, in rising element
 *   m'    = max(m, max s)            a = exp(m - m')
 *   p[j]  = exp(s[j] - m')           l = l·a + Σp   (lane rule; unseen positions give 0)
 *   acc   = acc·a, then acc = fma(p[j], v[j], acc) for seen j in rising order
 *
 * and spans are merged in rising order by the same rescaling, a sink last. Tiles and spans
 * are fixed by absolute position, so a query's bits depend on its position and on what it
 * sees, never on the rows computed beside it or on who computed which span.
 *
 * K of one KV head's tile lies as [head_dim][ATTEND_TILE], so that a product meets one element
 * of all positions at once and no sum crosses lanes; V as [ATTEND_TILE][head_dim]. In int8 each
 * of the two is followed by bf16 scales [ATTEND_TILE], and a position's elements are its codes
 * times its scale, which multiplies q·k, and p once Σp is taken. */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

#define ATTEND_TILE 32
#define ATTEND_SPAN 1024

/* One query row: a token's heads that share the KV head, and the positions it sees. */
struct attend_row {
	const float *q; /* [n_group][head_dim], heads head_dim floats apart */
	float *out;     /* same shape; may be q */
	size_t begin;   /* first position seen: 0, or the sliding window's start */
	size_t end;     /* one past the last: the row's own position + 1 */
};

/* Rows of one sequence against one KV head. Blocks that no row sees are not read. */
struct attend {
	const struct attend_row *rows; /* one for decode; a chunk of a prompt for prefill */
	size_t n_rows;
	size_t n_group;  /* query heads per KV head */
	size_t head_dim; /* of K and of V */
	/* [block]: this sequence's blocks in order of position, each the tiles of all KV heads. */
	const void *const *k, *const *v;
	enum dtype kv_type; /* F32, F16, BF16 or INT8 */
	size_t kv_offset;   /* bytes to skip in every block to reach this KV head:
			       head * attend_tile_bytes */
	float scale;
	float softcap;      /* s = cap·tanh(s / cap) before the mask; 0 = none */
	const float *sinks; /* [n_group]: a logit that takes weight but has no value; or NULL */
};

/* Bytes of K, or of V, of one KV head's tile. SIZE_MAX if that does not fit. */
size_t attend_tile_bytes(enum dtype kv_type, size_t head_dim);

/* One position's K and V, f32 [head_dim], into the tiles of their KV head. int8 codes are
 * x / d to nearest even with d = max|x| / 127, rounded up to bf16; a position below 1e-30 is
 * zeros, and one that holds something not finite has a scale of NaN. */
struct attend_entry {
	enum dtype kv_type;
	size_t head_dim, at; /* at: of the tile's positions */
	const float *k, *v;
	void *k_tile, *v_tile;
};
void attend_store(const struct kernels *k, const struct attend_entry *e);

/* Floats of scratch that attend() needs for at most n_rows rows. */
size_t attend_scratch(size_t n_rows, size_t n_group, size_t head_dim);

/* All rows, whole. A row that sees nothing gives zeros. */
void attend(const struct kernels *k, const struct attend *a, float *scratch);

/* The same in parts, for one long sequence on several threads: the spans of a single row
 * (n_rows == 1) are computed in any order by anyone, each into its own state, and joined.
 * Bit-identical to attend(). Span i covers positions [i, i+1) * ATTEND_SPAN; call
 * attend_span for every i from attend_first_span to attend_last_span, both of them. */
size_t attend_first_span(const struct attend *a);
size_t attend_last_span(const struct attend *a);
size_t attend_state_floats(size_t n_group, size_t head_dim); /* of one state */
void attend_span(
	const struct kernels *k, const struct attend *a, size_t span, float *state, float *scratch);
/* states[0] belongs to attend_first_span; they are used up. */
void attend_join(const struct kernels *k, const struct attend *a, float *states);

/* What the slots work on: n_q queries and one tile. attend_scores: p = scale·q·k.
 * attend_weights: caps p, turns it into weights and moves m, l and acc on to the new maximum.
 * attend_values: adds p·v to acc. Where a query does not see, p ends 0, whatever K and V hold
 * there; a query with first >= last keeps its state. */
struct attend_tile {
	const float *q; /* [n_q][head_dim] */
	size_t n_q, head_dim;
	const void *k, *v; /* [head_dim][ATTEND_TILE], [ATTEND_TILE][head_dim] of kv_type */
	/* Of the same size, and wanted next: a kernel may ask memory for it as it goes. */
	const void *next_k, *next_v;
	enum dtype kv_type;
	const float *k_scale, *v_scale; /* [ATTEND_TILE] of what was stored in int8, or NULL */
	const uint8_t *first, *last; /* [n_q]: query i sees positions [first[i], last[i]) of it */
	float scale, softcap;
	float *p;     /* [n_q][ATTEND_TILE] */
	float *m, *l; /* [n_q] */
	float *acc;   /* [n_q][head_dim] */
};
#endif
