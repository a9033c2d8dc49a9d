/* backend_cpu_attend.c - K and V into the paged cache, and attention over it. */
#include "kernels/attention.h"
#include "worker/model/backend_cpu.h"
#include <assert.h>

static_assert(ATTEND_TILE == KV_BLOCK_TOKENS, "a tile of attention is a block of the cache");

static void store_row(const struct step *s, const struct step_row *r, size_t layer, const float *k,
	const float *v)
{
	const struct decoder *d = s->d;
	const int32_t block = r->seq->blocks[r->pos / KV_BLOCK_TOKENS];
	struct attend_entry e = {
		.kv_type = kv_element(kv_pool_shape(r->seq->pool)),
		.head_dim = d->head_dim,
		.at = (size_t)r->pos % KV_BLOCK_TOKENS,
	};
	const size_t n_bytes = attend_tile_bytes(e.kv_type, e.head_dim);

	for (size_t head = 0; head < d->n_kv_heads; head++) {
		e.k = k + head * e.head_dim;
		e.v = v + head * e.head_dim;
		e.k_tile = (char *)kv_block_k(r->seq->pool, block, layer) + head * n_bytes;
		e.v_tile = (char *)kv_block_v(r->seq->pool, block, layer) + head * n_bytes;
		attend_store(&s->k, &e);
	}
}

static void store_rows(struct step *s, void *arg, size_t begin, size_t end)
{
	const struct attention *a = arg;
	const size_t width = s->widths[ACT_K];

	for (size_t i = begin; i < end; i++)
		store_row(s, &s->rows[i], a->layer, s->acts[ACT_K] + i * width,
			s->acts[ACT_V] + i * width);
}

struct attend_job {
	struct step *s;
	const struct attention *a;
};

/* From the first block any of a's rows sees to the last; V's pointers follow K's. */
static void point_at_blocks(const struct step *s, const struct attend *a, const struct kv_seq *seq,
	size_t layer, const void **k)
{
	size_t end = (a->rows[a->n_rows - 1].end + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;

	for (size_t b = a->rows[0].begin / KV_BLOCK_TOKENS; b < end; b++) {
		k[b] = kv_block_k(seq->pool, seq->blocks[b], layer);
		k[s->max_blocks + b] = kv_block_v(seq->pool, seq->blocks[b], layer);
	}
}

static void run_task(void *arg, size_t task, size_t thread)
{
	const struct attend_job *j = arg;
	struct step *s = j->s;
	const struct decoder *d = s->d;
	const struct piece *piece = &s->pieces[task / d->n_kv_heads];
	const struct step_row *first = &s->rows[piece->begin];
	size_t head = task % d->n_kv_heads, n_group = d->n_heads / d->n_kv_heads;
	const enum dtype kv_type = kv_element(kv_pool_shape(first->seq->pool));
	const void **k = s->blocks + thread * 2 * s->max_blocks;
	struct attend_row rows[CPU_PIECE_ROWS];
	struct attend a = {
		.rows = rows,
		.n_rows = piece->n_rows,
		.n_group = n_group,
		.head_dim = d->head_dim,
		.k = k,
		.v = k + s->max_blocks,
		.kv_type = kv_type,
		.kv_offset = head * attend_tile_bytes(kv_type, d->head_dim),
		.scale = j->a->scale,
		.softcap = j->a->softcap,
		.sinks = j->a->sinks ? j->a->sinks + head * n_group : NULL,
	};

	assert(piece->n_rows > 0);
	for (size_t i = 0; i < piece->n_rows; i++) {
		size_t end = (size_t)first[i].pos + 1;
		float *q = s->acts[ACT_Q] + (piece->begin + i) * s->widths[ACT_Q] +
			   head * n_group * d->head_dim;
		bool cut = j->a->window > 0 && end > j->a->window;
		rows[i] = (struct attend_row) { q, q, cut ? end - j->a->window : 0, end };
	}
	point_at_blocks(s, &a, first->seq, j->a->layer, k);
	attend(&s->k, &a, cpu_scratch(s, thread));
}

size_t cpu_attend_scratch(const struct decoder *d)
{
	return attend_scratch(CPU_PIECE_ROWS, d->n_heads / d->n_kv_heads, d->head_dim);
}

void cpu_attend(struct step *s, const struct attention *a)
{
	struct attend_job job = { s, a };
	struct attention copy = *a;

	/* All rows' K and V first: a row may see others of this very step. */
	cpu_each_rows(s, store_rows, &copy, s->n_rows, 2 * s->widths[ACT_K]);
	pool_run(s->pool, run_task, &job, s->n_pieces * s->d->n_kv_heads);
}
