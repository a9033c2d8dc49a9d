/* backend_cpu.c - struct backend over kernels/: rows in, embeddings, rotation, logits out. */
#include "worker/model/backend_cpu.h"
#include "protocol/mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

float *cpu_scratch(struct step *s, size_t thread)
{
	return s->scratch + thread * s->scratch_floats;
}

static void place_row(struct step *s, const struct batch_row *in, size_t at, int32_t *wanted)
{
	s->rows[at] = (struct step_row) {
		.token = in->token,
		.pos = in->pos,
		.seq = in->seq,
		.wanted = in->want_logits ? (*wanted)++ : -1,
		.hidden = in->hidden,
	};
}

static void cut_pieces(struct step *s)
{
	s->n_pieces = 0;
	for (size_t i = 0; i < s->n_rows; i++) {
		struct piece *last = s->n_pieces ? &s->pieces[s->n_pieces - 1] : NULL;
		if (last && last->n_rows < CPU_PIECE_ROWS &&
			s->rows[last->begin].seq == s->rows[i].seq)
			last->n_rows++;
		else
			s->pieces[s->n_pieces++] = (struct piece) { i, 1 };
	}
}

static void fill_ropes(struct step *s, void *arg, size_t begin, size_t end)
{
	const struct decoder *d = s->d;

	(void)arg;
	for (size_t t = 0; t < d->n_ropes; t++) {
		for (size_t r = begin; r < end; r++) {
			const struct step_row *row = &s->rows[r];
			size_t at = (t * s->max_rows + r) * s->rope_half, pos = (size_t)row->pos;
			size_t n_text = pos + 1 > row->seq->n_prompt ? pos + 1 : row->seq->n_prompt;
			rope_fill(&d->ropes[t], pos, n_text, s->cos + at, s->sin + at);
		}
	}
}

static void begin(struct step *s, const struct batch_row *rows, size_t n_rows, float *logits)
{
	int32_t wanted = 0;
	size_t n_prefill = 0;

	assert(n_rows <= s->max_rows);
	for (size_t i = 0; i < n_rows; i++)
		n_prefill += rows[i].prefill;
	s->n_rows = n_rows;
	s->n_prefill = n_prefill;
	s->logits = logits;
	for (size_t i = 0, p = 0, g = n_prefill; i < n_rows; i++)
		place_row(s, &rows[i], rows[i].prefill ? p++ : g++, &wanted);
	s->n_wanted = (size_t)wanted;
	cut_pieces(s);
	/* A sine costs some 20 additions. */
	cpu_each_rows(s, fill_ropes, NULL, n_rows, 40 * s->rope_half * s->d->n_ropes);
}

struct embed_job {
	const struct embedding *e;
	enum act out;
};

static void embed_rows(struct step *s, void *arg, size_t begin_row, size_t end)
{
	const struct embed_job *j = arg;
	const struct embedding *e = j->e;
	size_t dim = s->widths[j->out];

	for (size_t r = begin_row; r < end; r++) {
		float *out = s->acts[j->out] + r * dim;
		weight_row(&s->k, &e->tokens.w, (size_t)s->rows[r].token, out);
		if (e->scale != 1)
			s->k.scale(out, out, e->scale, dim);
		if (!e->positions.w.data)
			continue;
		/* gathered is free until the head: a place for the position's vector. */
		float *pos = s->gathered + r * s->d->dim;
		weight_row(&s->k, &e->positions.w, (size_t)s->rows[r].pos, pos);
		s->k.add(out, out, pos, dim);
	}
}

static void embed(struct step *s, enum act out, const struct embedding *e)
{
	struct embed_job job = { e, out };

	cpu_each_rows(s, embed_rows, &job, s->n_rows, s->widths[out]);
}

struct rows cpu_rows(const struct step *s, struct input in)
{
	return (struct rows) { s->acts[in.act], s->widths[in.act], s->n_rows, s->n_prefill,
		in.norm };
}

static void project(struct step *s, struct input in, const struct projection *p, size_t n)
{
	const struct rows rows = cpu_rows(s, in);
	struct product products[CPU_PRODUCTS_MAX];

	assert(n <= CPU_PRODUCTS_MAX);
	for (size_t i = 0; i < n; i++)
		products[i] = (struct product) {
			.matrix = p[i].matrix,
			.out = s->acts[p[i].out],
			.out_stride = s->widths[p[i].out],
		};
	cpu_multiply(s, &rows, products, n);
}

struct rope_job {
	enum act io;
	size_t table;
};

static void rope_rows(struct step *s, void *arg, size_t begin_row, size_t end)
{
	const struct rope_job *j = arg;
	const struct rope_table *t = &s->d->ropes[j->table];
	size_t width = s->widths[j->io], head_dim = s->d->head_dim;

	for (size_t r = begin_row; r < end; r++) {
		size_t at = (j->table * s->max_rows + r) * s->rope_half;
		const struct rope a = {
			.x = s->acts[j->io] + r * width,
			.n_heads = width / head_dim,
			.head_stride = head_dim,
			.n_rot = t->n_rot,
			.cos = s->cos + at,
			.sin = s->sin + at,
		};
		if (t->pairs)
			s->k.rope_pairs(&a);
		else
			s->k.rope_half(&a);
	}
}

static void rope(struct step *s, enum act io, size_t table)
{
	struct rope_job job = { io, table };

	cpu_each_rows(s, rope_rows, &job, s->n_rows, s->widths[io]);
}

struct add_job {
	enum act io, in;
	float scale;
};

static void add_rows(struct step *s, void *arg, size_t begin_row, size_t end)
{
	const struct add_job *j = arg;
	size_t at = begin_row * s->widths[j->io], n = (end - begin_row) * s->widths[j->io];

	s->k.add_scaled(s->acts[j->io] + at, s->acts[j->io] + at, s->acts[j->in] + at, j->scale, n);
}

static void add(struct step *s, enum act io, enum act in, float scale)
{
	struct add_job job = { io, in, scale };

	cpu_each_rows(s, add_rows, &job, s->n_rows, s->widths[io]);
}

static void finish_logits(struct step *s, void *arg, size_t begin_row, size_t end)
{
	const struct lm_head *h = arg;
	size_t n = (end - begin_row) * h->matrix.w.n_out;
	float *out = s->logits + begin_row * h->matrix.w.n_out;

	if (h->scale != 1)
		s->k.scale(out, out, h->scale, n);
	if (h->softcap > 0)
		s->k.softcap(out, out, h->softcap, n);
}

/* Rows [begin, end) to where they are wanted. */
static void hand_out(struct step *s, void *arg, size_t begin_row, size_t end)
{
	const struct input *in = arg;
	const size_t dim = s->widths[in->act];

	for (size_t r = begin_row; r < end; r++) {
		const float *x = s->acts[in->act] + r * dim;
		float *hidden = s->rows[r].hidden, *out = hidden;
		if (s->rows[r].wanted >= 0)
			out = s->gathered + (size_t)s->rows[r].wanted * dim;
		if (!out)
			continue;
		if (in->norm && in->norm->n > 0)
			cpu_norm_rows(s, in->norm, x, out, 1, dim);
		else
			memcpy(out, x, dim * sizeof *x);
		if (hidden && hidden != out)
			memcpy(hidden, out, dim * sizeof *x);
	}
}

static void logits(struct step *s, struct input in, const struct lm_head *h)
{
	/* No row counts as a prompt row here: the first sampled token's logits come by the
	 * same path as all later ones. */
	const struct rows rows = { s->gathered, s->widths[in.act], s->n_wanted, 0, NULL };
	const struct product p = {
		.matrix = &h->matrix, .out = s->logits, .out_stride = h->matrix.w.n_out
	};
	struct lm_head head = *h;

	cpu_each_rows(s, hand_out, &in, s->n_rows, s->widths[in.act]);
	if (s->n_wanted == 0)
		return;
	cpu_multiply(s, &rows, &p, 1);
	if (h->scale != 1 || h->softcap > 0)
		cpu_each_rows(s, finish_logits, &head, s->n_wanted, h->matrix.w.n_out);
}

const struct backend BACKEND_CPU = {
	.name = "cpu",
	.step_new = cpu_step_new,
	.step_free = cpu_step_free,
	.touch = cpu_touch,
	.begin = begin,
	.embed = embed,
	.norm = cpu_norm,
	.project = project,
	.rope = rope,
	.attend = cpu_attend,
	.ffn = cpu_ffn,
	.experts = cpu_experts,
	.add = add,
	.logits = logits,
};
