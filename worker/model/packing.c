/* packing.c - packs the matrices of a decoder once, when it is loaded. */
#include "worker/model/packing.h"
#include <stdlib.h>

struct packing {
	const struct packing_options *opt;
	struct fault *f;
	const uint8_t *panels;
	uint8_t *room;          /* the same, to be filled; NULL: an earlier load did */
	size_t n_bytes, n_done; /* of panels, of all matrices and so far */
	int rc;
};

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

static void pack(void *arg, struct matrix *m)
{
	struct packing *p = arg;
	enum packed_kind kind = kind_of(p, &m->w);
	size_t n_bytes, panel_bytes;

	if (kind == PACKED_NONE || p->rc < 0)
		return;
	panel_bytes = packed_panel_bytes(kind, m->w.n_in);
	n_bytes = packed_bytes(kind, m->w.n_out, m->w.n_in);
	for (size_t i = 0; p->room && i * panel_bytes < n_bytes; i++)
		packed_fill(&m->w, i, p->room + p->n_done + i * panel_bytes);
	m->packed = p->panels + p->n_done;
	m->packed_kind = kind;
	p->n_done += n_bytes;
	p->rc = p->opt->progress(p->opt->arg, (double)p->n_done / (double)p->n_bytes, p->f);
}

static void mark_pairs(void *arg, struct matrix *m)
{
	(void)arg;
	m->pairs = m->w.data && m->w.type == DTYPE_BF16;
}

int packing_run(
	struct decoder *d, struct weights *w, const struct packing_options *opt, struct fault *f)
{
	struct packing p = { .opt = opt, .f = f };
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
	decoder_each_matrix(d, pack, &p);
	return p.rc;
}
