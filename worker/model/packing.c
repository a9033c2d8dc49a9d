/* packing.c - packs the matrices of a decoder once, when it is loaded. */
#include "worker/model/packing.h"
#include "kernels/pool.h"
#include "worker/model/huge.h"
#include <stdlib.h>

struct packing {
	const struct packing_options *opt;
	struct fault *f;
	struct weights *w;
	const void *embedding;
	const uint8_t *panels;
	uint8_t *room;          /* the same, to be filled; NULL: an earlier load did */
	size_t n_bytes, n_done; /* of panels, of all matrices and so far */
	struct pool *pool;      /* NULL: there is nothing to fill */
	int rc;
};

/* Below, threads take longer to start than to help. */
#define PARALLEL_LEAST ((size_t)1 << 20)

struct pool *packing_pool(size_t n_threads, size_t n_bytes)
{
	struct pool *p = NULL;

	if (n_threads > 1 && n_bytes >= PARALLEL_LEAST)
		p = pool_new(n_threads);
	return p ? p : pool_new(1);
}

static enum packed_kind kind_of(const struct packing *p, const struct weight *w)
{
	if (p->opt->activations == ACTIVATIONS_AUTO && w->type == DTYPE_AFFINE)
		return PACKED_NONE;
	return packed_kind_of(w);
}

static void measure(void *arg, struct matrix *m)
{
	struct packing *p = arg;
	enum packed_kind kind = kind_of(p, &m->w);

	/* Little more than what is mapped already: no sum of these overflows. */
	if (kind != PACKED_NONE)
		p->n_bytes += packed_bytes(kind, m->w.n_out, m->w.n_in);
}

/* In a chunk: some 0.1 ms, after which others may have the processor. */
#define PANELS_MOST 4

/* A matrix's panels, filled by all threads. */
struct fill {
	const struct weight *w;
	uint8_t *out;
	size_t panel_bytes, n_panels, n_chunks;
};

static void fill_chunk(void *arg, size_t chunk, size_t thread)
{
	const struct fill *j = arg;
	size_t begin, end;

	(void)thread;
	pool_range(j->n_panels, j->n_chunks, chunk, &begin, &end);
	for (size_t i = begin; i < end; i++)
		packed_fill(j->w, i, j->out + i * j->panel_bytes);
}

static void fill(const struct packing *p, const struct weight *w, size_t n_bytes)
{
	struct fill j = { .w = w,
		.out = p->room + p->n_done,
		.panel_bytes = packed_panel_bytes(packed_kind_of(w), w->n_in) };

	j.n_panels = n_bytes / j.panel_bytes;
	j.n_chunks = pool_chunks(p->pool, j.n_panels, 1, PANELS_MOST);
	pool_run(p->pool, fill_chunk, &j, j.n_chunks);
}

static void pack(void *arg, struct matrix *m)
{
	struct packing *p = arg;
	enum packed_kind kind = kind_of(p, &m->w);
	size_t n_bytes;

	if (kind == PACKED_NONE || p->rc < 0)
		return;
	n_bytes = packed_bytes(kind, m->w.n_out, m->w.n_in);
	if (p->room)
		fill(p, &m->w, n_bytes);
	if (m->w.data != p->embedding)
		weights_pass(p->w, m);
	m->packed = p->panels + p->n_done;
	m->packed_kind = kind;
	p->n_done += n_bytes;
	p->rc = p->opt->progress(p->opt->arg, (double)p->n_done / (double)p->n_bytes, p->f);
}

static void mark_pairs(void *arg, struct matrix *m)
{
	(void)arg;
	m->pairs = m->w.data && m->w.type == DTYPE_BF16;
	if (m->pairs)
		huge_advise(m->w.data, m->w.n_out * m->w.row_bytes);
}

int packing_run(
	struct decoder *d, struct weights *w, const struct packing_options *opt, struct fault *f)
{
	struct packing p = { .opt = opt, .f = f, .w = w, .embedding = d->embedding.tokens.w.data };
	const void *ready;
	struct kernels k;
	unsigned mask;

	if (opt->activations == ACTIVATIONS_FLOAT ||
		!kernels_parse_mask(getenv("KERNELS_MASK"), &mask))
		return 0;
	mask = kernels_select(&k, mask);
	if (opt->pairs && (mask & KERNELS_BF16))
		decoder_each_matrix(d, mark_pairs, &p);
	if (!packed_pays(mask))
		return 0;
	decoder_each_matrix(d, measure, &p);
	if (p.n_bytes == 0)
		return 0;
	w->fault = f;
	p.room = weights_room(w, p.n_bytes, 1, &ready, "panels, layout %d", PACKED_LAYOUT);
	w->fault = NULL;
	if (!p.room && !ready)
		return w->rc;
	p.panels = p.room ? p.room : ready;
	if (p.room && !(p.pool = packing_pool(opt->n_threads, p.n_bytes)))
		return fault_set(f, ERR_NOMEM, "no memory to pack the weights");
	decoder_each_matrix(d, pack, &p);
	pool_free(p.pool);
	return p.rc;
}
