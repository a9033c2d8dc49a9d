/* backend_cpu_attend.c - K and V into the paged cache, and attention over it. */
#include "kernels/attention.h"
#include "worker/model/backend_cpu.h"
#include <assert.h>

/* Chunks a thread: with fewer, one that loses its core for a while keeps the others waiting. */
#define CHUNKS_EACH 4

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
	size_t n_spans; /* of a lone row */
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

/* A piece's rows against one KV head, but for the blocks. */
static struct attend attend_of(const struct attend_job *j, const struct piece *piece, size_t head,
	struct attend_row rows[CPU_PIECE_ROWS])
{
	struct step *s = j->s;
	const struct decoder *d = s->d;
	const struct step_row *first = &s->rows[piece->begin];
	size_t n_group = d->n_heads / d->n_kv_heads;
	const enum dtype kv_type = kv_element(kv_pool_shape(first->seq->pool));

	assert(piece->n_rows > 0);
	for (size_t i = 0; i < piece->n_rows; i++) {
		size_t end = (size_t)first[i].pos + 1;
		float *q = s->acts[ACT_Q] + (piece->begin + i) * s->widths[ACT_Q] +
			   head * n_group * d->head_dim;
		bool cut = j->a->window > 0 && end > j->a->window;
		rows[i] = (struct attend_row) { q, q, cut ? end - j->a->window : 0, end };
	}
	return (struct attend) {
		.rows = rows,
		.n_rows = piece->n_rows,
		.n_group = n_group,
		.head_dim = d->head_dim,
		.kv_type = kv_type,
		.kv_offset = head * attend_tile_bytes(kv_type, d->head_dim),
		.scale = j->a->scale,
		.softcap = j->a->softcap,
		.sinks = j->a->sinks ? j->a->sinks + head * n_group : NULL,
	};
}

static void take_blocks(
	const struct attend_job *j, struct attend *a, const struct piece *piece, size_t thread)
{
	const void **k = j->s->blocks + thread * 2 * j->s->max_blocks;

	a->k = k;
	a->v = k + j->s->max_blocks;
	point_at_blocks(j->s, a, j->s->rows[piece->begin].seq, j->a->layer, k);
}

static void run_task(void *arg, size_t task, size_t thread)
{
	const struct attend_job *j = arg;
	const size_t n_heads = j->s->d->n_kv_heads;
	const struct piece *piece = &j->s->pieces[task / n_heads];
	struct attend_row rows[CPU_PIECE_ROWS];
	struct attend a = attend_of(j, piece, task % n_heads, rows);

	take_blocks(j, &a, piece, thread);
	attend(&j->s->k, &a, cpu_scratch(j->s, thread));
}

/* -- one row over a long past: its spans are shared out, too ---------------------------------- */

static float *states_of(const struct step *s, size_t head)
{
	const struct decoder *d = s->d;

	return s->states +
	       head * s->max_spans * attend_state_floats(d->n_heads / d->n_kv_heads, d->head_dim);
}

static void run_span(void *arg, size_t task, size_t thread)
{
	const struct attend_job *j = arg;
	const struct piece *piece = &j->s->pieces[0];
	const size_t head = task / j->n_spans, i = task % j->n_spans;
	struct attend_row rows[CPU_PIECE_ROWS];
	struct attend a = attend_of(j, piece, head, rows);
	float *state = states_of(j->s, head) + i * attend_state_floats(a.n_group, a.head_dim);

	take_blocks(j, &a, piece, thread);
	attend_span(&j->s->k, &a, attend_first_span(&a) + i, state, cpu_scratch(j->s, thread));
}

static void attend_spans(struct attend_job *j)
{
	struct step *s = j->s;
	struct attend_row rows[CPU_PIECE_ROWS];

	pool_run(s->pool, run_span, j, j->n_spans * s->d->n_kv_heads);
	for (size_t head = 0; head < s->d->n_kv_heads; head++) {
		struct attend a = attend_of(j, &s->pieces[0], head, rows);
		attend_join(&s->k, &a, states_of(s, head));
	}
}

/* How many spans a lone row sees, where its heads alone are too few for all threads; else 1. */
static size_t count_spans(const struct attend_job *j)
{
	const struct step *s = j->s;
	struct attend_row rows[CPU_PIECE_ROWS];

	if (!s->states || s->n_pieces != 1 || s->pieces[0].n_rows != 1)
		return 1;
	const struct attend a = attend_of(j, &s->pieces[0], 0, rows);
	return attend_last_span(&a) - attend_first_span(&a) + 1;
}

size_t cpu_attend_spans(const struct decoder *d, const struct pool *pool)
{
	const size_t n = pool_threads(pool);

	return n == 1 || d->n_kv_heads >= CHUNKS_EACH * n ? 0 : d->context_length / ATTEND_SPAN + 1;
}

size_t cpu_attend_scratch(const struct decoder *d)
{
	return attend_scratch(CPU_PIECE_ROWS, d->n_heads / d->n_kv_heads, d->head_dim);
}

void cpu_attend(struct step *s, const struct attention *a)
{
	struct attend_job job = { s, a, 1 };
	struct attention copy = *a;

	/* All rows' K and V first: a row may see others of this very step. */
	cpu_each_rows(s, store_rows, &copy, s->n_rows, 2 * s->widths[ACT_K]);
	job.n_spans = count_spans(&job);
	if (job.n_spans > 1)
		attend_spans(&job);
	else
		pool_run(s->pool, run_task, &job, s->n_pieces * s->d->n_kv_heads);
}
