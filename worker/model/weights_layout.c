/* weights_layout.c - matrices stored in an order that is not ours, copied once into it. */
#include "kernels/quant.h"
#include "worker/model/weights.h"
#include "worker/model/weights_get.h"
#include <string.h>

/* A file's block of n_in rows, of which some columns are wanted as rows. */
struct turning {
	const uint8_t *from;
	size_t width; /* bytes of a number */
	size_t n_in, n_columns, n_out, first, step;
};

static const void *turn(struct weights *w, const struct turning *t)
{
	const void *ready;

	if (w->headers_only)
		return t->from; /* stands for a copy that nobody will read */
	uint8_t *rows = weights_room(w, t->n_out * t->n_in, t->width, &ready,
		"turn %zu of %zu bytes, [%zu][%zu], every %zu from %zu", t->n_out, t->width,
		t->n_in, t->n_columns, t->step, t->first);

	for (size_t i = 0; rows && i < t->n_in; i++)
		for (size_t o = 0; o < t->n_out; o++)
			memcpy(rows + (o * t->n_in + i) * t->width,
				t->from + (i * t->n_columns + t->first + o * t->step) * t->width,
				t->width);
	return rows ? rows : ready;
}

/* Only plain numbers can be turned: a block belongs to one row. */
static bool can_turn(struct weights *w, const char *name, const struct weight *m)
{
	if (m->data && quant_type(m->type)->block_elements != 1)
		weights_fail(w, "tensor %s: quantized, and stored turned round", name);
	return m->data && w->rc == 0;
}

struct matrix weights_matrix_transposed(
	struct weights *w, size_t n_out, size_t n_in, enum with_bias bias, const char *name, ...)
{
	char base[WEIGHTS_NAME_MAX];
	struct matrix m;

	FORMAT_NAME(base, name);
	m = weights_stored(w, base, &(struct shape) { { n_in, n_out }, 2 });
	if (can_turn(w, base, &m.w)) {
		size_t width = m.w.row_bytes / n_out;
		const struct turning t = { m.w.data, width, n_in, n_out, n_out, 0, 1 };
		m.w.data = turn(w, &t);
		m.w.row_bytes = n_in * width;
	}
	m.w.n_out = n_out;
	m.w.n_in = n_in;
	weights_add_bias(w, &m, bias, base);
	return m;
}

const struct tensor *weights_blocks(struct weights *w, const size_t dims[3], const char *name, ...)
{
	char whole[WEIGHTS_NAME_MAX];
	const struct tensor *t;

	FORMAT_NAME(whole, name);
	t = weights_get(
		w, whole, TENSOR_WEIGHT, &(struct shape) { { dims[0], dims[1], dims[2] }, 3 });
	if (t && quant_type(t->dtype)->block_elements != 1)
		weights_fail(w, "tensor %s: quantized, and stored turned round", whole);
	if (t)
		w->n_parameters += t->n_values;
	return w->rc < 0 ? NULL : t;
}

struct matrix weights_turn(
	struct weights *w, const struct tensor *blocks, const struct columns *columns)
{
	size_t n_in = blocks->dims[1], n_columns = blocks->dims[2];
	size_t width = quant_row_bytes(blocks->dtype, 1);
	const struct turning t = {
		.from = (const uint8_t *)blocks->data + columns->block * n_in * n_columns * width,
		.width = width,
		.n_in = n_in,
		.n_columns = n_columns,
		.n_out = n_columns / columns->step,
		.first = columns->first,
		.step = columns->step,
	};
	const struct weight turned = {
		.type = blocks->dtype,
		.n_out = t.n_out,
		.n_in = n_in,
		.data = turn(w, &t),
		.row_bytes = n_in * width,
	};

	weights_note(w, &turned);
	return (struct matrix) { .w = turned };
}

const float *weights_comb(
	struct weights *w, const float *rows, size_t n_values, const struct columns *columns)
{
	size_t n = n_values / columns->step;
	float *out = weights_alloc(w, n, sizeof *out);

	for (size_t i = 0; out && i < n; i++)
		out[i] = rows[columns->block * n_values + columns->first + i * columns->step];
	return out;
}

/* n_bytes of every n_parts-th piece of `from`, the first being piece `part`. */
static const void *pick(
	struct weights *w, const void *from, size_t n_bytes, const struct columns *c)
{
	const void *ready;

	if (w->headers_only)
		return from; /* stands for a copy that nobody will read */
	uint8_t *out = weights_room(w, c->block, n_bytes, &ready,
		"pick %zu of %zu bytes, every %zu from %zu", c->block, n_bytes, c->step, c->first);

	for (size_t g = 0; out && g < c->block; g++)
		memcpy(out + g * n_bytes,
			(const uint8_t *)from + (g * c->step + c->first) * n_bytes, n_bytes);
	return out ? out : ready;
}

struct matrix weights_pick_part(
	struct weights *w, const struct matrix *m, size_t n_groups, size_t n_parts, size_t part)
{
	size_t n_rows = m->w.n_out / n_groups / n_parts;
	const struct columns c = { n_groups, part, n_parts };
	struct matrix out = *m, one = matrix_rows(m, n_rows, n_rows);

	out.w.n_out = n_groups * n_rows;
	if (!m->w.data)
		return out;
	if (n_rows == 1) {
		/* Every n-th row is a view with longer strides; only what lies beside is copied. */
		out.w.data = (const uint8_t *)m->w.data + part * m->w.row_bytes;
		out.w.row_bytes = n_parts * m->w.row_bytes;
	} else {
		out.w.data = pick(w, m->w.data, n_rows * m->w.row_bytes, &c);
	}
	/* The distance between pieces of scales is what matrix_rows moves them by. */
	if (m->w.scales)
		out.w.scales = pick(w, m->w.scales,
			(size_t)((const uint8_t *)one.w.scales - (const uint8_t *)m->w.scales), &c);
	if (m->w.biases)
		out.w.biases = pick(w, m->w.biases,
			(size_t)((const uint8_t *)one.w.biases - (const uint8_t *)m->w.biases), &c);
	if (m->bias)
		out.bias = pick(w, m->bias, n_rows * sizeof *m->bias, &c);
	return out;
}
