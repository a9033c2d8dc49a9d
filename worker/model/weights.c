/* weights.c - from tensor names to matrices and vectors of the shape that is expected. */
#include "worker/model/weights.h"
#include "kernels/kernels.h"
#include "protocol/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 512

void weights_init(struct weights *w, const struct tensor_source *source, struct fault *f)
{
	*w = (struct weights) { .source = source, .prefix = "model.", .fault = f };
}

void weights_release(struct weights *w)
{
	for (size_t i = 0; i < w->n_owned; i++)
		free(w->owned[i]);
	free(w->owned);
	*w = (struct weights) { 0 };
}

void weights_fail(struct weights *w, const char *fmt, ...)
{
	char text[FAULT_TEXT_MAX];
	va_list ap;

	if (w->rc < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	w->rc = fault_set(w->fault, ERR_MODEL_LOAD, "%s: %s", w->source->where, text);
}

void *weights_alloc(struct weights *w, size_t n, size_t n_bytes)
{
	size_t total;
	void *p = NULL;

	if (!mem_mul(n, n_bytes, &total) || !mem_add(total, 63, &total) ||
		!(p = aligned_alloc(64, total & ~(size_t)63))) {
		if (w->rc == 0)
			w->rc = fault_set(w->fault, ERR_NOMEM, "%s: no memory for the weights",
				w->source->where);
		return NULL;
	}
	if (w->n_owned == w->cap_owned) {
		w->cap_owned = w->cap_owned ? 2 * w->cap_owned : 64;
		w->owned = xreallocarray(w->owned, w->cap_owned, sizeof *w->owned);
	}
	w->owned[w->n_owned++] = p;
	w->n_owned_bytes += total;
	return p;
}

/* Checkpoints differ in what stands before a name: the bare model's leave the prefix out,
 * those of a multimodal model put "language_model." before it. */
static const struct tensor *look_up(const struct weights *w, const char *name)
{
	static const char outer[] = "language_model.";
	char longer[NAME_MAX_BYTES + sizeof outer];
	size_t n_prefix = strlen(w->prefix);
	const struct tensor *t = tensor_find(w->source, name);

	if (!t && strncmp(name, w->prefix, n_prefix) == 0)
		t = tensor_find(w->source, name + n_prefix);
	if (!t) {
		snprintf(longer, sizeof longer, "%s%s", outer, name);
		t = tensor_find(w->source, longer);
	}
	return t;
}

static void print_shape(char *out, size_t cap, const size_t *dims, size_t n_dims)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n_dims && at < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s%zu", i ? "," : "", dims[i]);
}

/* The tensor if it is there, a weight, and of this shape. */
static const struct tensor *get(
	struct weights *w, const char *name, const size_t *dims, size_t n_dims)
{
	const struct tensor *t;
	char have[128], need[64];

	if (w->rc < 0)
		return NULL;
	t = look_up(w, name);
	if (!t) {
		weights_fail(w, "tensor %s is missing", name);
		return NULL;
	}
	if (t->kind != TENSOR_WEIGHT) {
		weights_fail(w, "tensor %s has dtype %s, which is no weight", name, t->dtype_name);
		return NULL;
	}
	if (t->n_dims != n_dims || memcmp(t->dims, dims, n_dims * sizeof *dims) != 0) {
		print_shape(have, sizeof have, t->dims, t->n_dims);
		print_shape(need, sizeof need, dims, n_dims);
		weights_fail(w, "tensor %s has shape [%s] where the config asks for [%s]", name,
			have, need);
		return NULL;
	}
	w->n_parameters += t->n_values;
	w->n_bytes += t->n_bytes;
	return t;
}

static void widen(const struct tensor *t, float *out)
{
	struct kernels k;

	kernels_select(&k, KERNELS_SCALAR);
	if (t->dtype == DTYPE_F32)
		memcpy(out, t->data, t->n_bytes);
	else if (t->dtype == DTYPE_F16)
		k.f32_from_f16(out, t->data, t->n_values);
	else
		k.f32_from_bf16(out, t->data, t->n_values);
}

static bool is_plain(enum dtype t)
{
	return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16;
}

static const float *vector(struct weights *w, const char *name, const size_t *dims, size_t n_dims)
{
	const struct tensor *t = get(w, name, dims, n_dims);
	float *out;

	if (!t)
		return NULL;
	if (!is_plain(t->dtype)) {
		weights_fail(w, "tensor %s is a vector of dtype %s", name, t->dtype_name);
		return NULL;
	}
	out = weights_alloc(w, t->n_values, sizeof *out);
	if (out)
		widen(t, out);
	return out;
}

static const char *dtype_word(enum dtype t)
{
	if (t == DTYPE_F32)
		return "float32";
	if (t == DTYPE_F16)
		return "float16";
	return t == DTYPE_BF16 ? "bfloat16" : "quantized";
}

static void note_dtype(struct weights *w, enum dtype t)
{
	const char *word = dtype_word(t);

	if (w->dtype && strcmp(w->dtype, word) != 0)
		word = "mixed";
	w->dtype = word;
}

static size_t plain_row_bytes(enum dtype t, size_t n_in)
{
	return n_in * (t == DTYPE_F32 ? 4 : 2);
}

/* dims [n_dims]: the last is n_in, the others together are the rows. */
static struct matrix matrix(struct weights *w, const char *base, const size_t *dims, size_t n_dims)
{
	char name[NAME_MAX_BYTES];
	const struct tensor *t;
	size_t n_in = dims[n_dims - 1];
	struct matrix m = { .n_out = dims[0] * (n_dims > 2 ? dims[1] : 1), .n_in = n_in };

	snprintf(name, sizeof name, "%s.weight", base);
	t = get(w, name, dims, n_dims);
	if (!t)
		return m;
	if (!is_plain(t->dtype)) {
		weights_fail(
			w, "tensor %s: weights of dtype %s are not supported", name, t->dtype_name);
		return m;
	}
	note_dtype(w, t->dtype);
	m.dtype = t->dtype;
	m.data = t->data;
	m.row_bytes = plain_row_bytes(t->dtype, n_in);
	return m;
}

#define FORMAT_NAME(buffer, fmt)                           \
	do {                                               \
		va_list ap;                                \
		va_start(ap, fmt);                         \
		vsnprintf(buffer, sizeof buffer, fmt, ap); \
		va_end(ap);                                \
	} while (0)

static void add_bias(struct weights *w, struct matrix *m, enum with_bias bias, const char *base)
{
	char name[NAME_MAX_BYTES];

	if (bias == NO_BIAS)
		return;
	snprintf(name, sizeof name, "%.500s.bias", base);
	m->bias = vector(w, name, &m->n_out, 1);
}

struct matrix weights_matrix(
	struct weights *w, size_t n_out, size_t n_in, enum with_bias bias, const char *name, ...)
{
	char base[NAME_MAX_BYTES - 16];
	struct matrix m;

	FORMAT_NAME(base, name);
	m = matrix(w, base, (size_t[]) { n_out, n_in }, 2);
	add_bias(w, &m, bias, base);
	return m;
}

/* A file's block of n_in rows, of which some columns are wanted as rows. */
struct turning {
	const uint8_t *from;
	size_t width; /* bytes of a number */
	size_t n_in, n_columns, n_out, first, step;
};

static void *turn(struct weights *w, const struct turning *t)
{
	uint8_t *rows = weights_alloc(w, t->n_out * t->n_in, t->width);

	for (size_t i = 0; rows && i < t->n_in; i++)
		for (size_t o = 0; o < t->n_out; o++)
			memcpy(rows + (o * t->n_in + i) * t->width,
				t->from + (i * t->n_columns + t->first + o * t->step) * t->width,
				t->width);
	return rows;
}

struct matrix weights_matrix_transposed(
	struct weights *w, size_t n_out, size_t n_in, enum with_bias bias, const char *name, ...)
{
	char base[NAME_MAX_BYTES - 16];
	struct matrix m;

	FORMAT_NAME(base, name);
	m = matrix(w, base, (size_t[]) { n_in, n_out }, 2);
	if (m.data) {
		const struct turning t = { m.data, m.row_bytes / n_out, n_in, n_out, n_out, 0, 1 };
		m.data = turn(w, &t);
	}
	m.n_out = n_out;
	m.n_in = n_in;
	m.row_bytes = plain_row_bytes(m.dtype, n_in);
	add_bias(w, &m, bias, base);
	return m;
}

const struct tensor *weights_blocks(struct weights *w, const size_t dims[3], const char *name, ...)
{
	char whole[NAME_MAX_BYTES];
	const struct tensor *t;

	FORMAT_NAME(whole, name);
	t = get(w, whole, dims, 3);
	if (t && !is_plain(t->dtype)) {
		weights_fail(w, "tensor %s has dtype %s", whole, t->dtype_name);
		return NULL;
	}
	return t;
}

struct matrix weights_turn(
	struct weights *w, const struct tensor *blocks, const struct columns *columns)
{
	size_t n_in = blocks->dims[1], n_columns = blocks->dims[2];
	size_t width = plain_row_bytes(blocks->dtype, 1);
	const struct turning t = {
		.from = (const uint8_t *)blocks->data + columns->block * n_in * n_columns * width,
		.width = width,
		.n_in = n_in,
		.n_columns = n_columns,
		.n_out = n_columns / columns->step,
		.first = columns->first,
		.step = columns->step,
	};

	note_dtype(w, blocks->dtype);
	return (struct matrix) {
		.dtype = blocks->dtype,
		.n_out = t.n_out,
		.n_in = n_in,
		.data = turn(w, &t),
		.row_bytes = plain_row_bytes(blocks->dtype, n_in),
	};
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

struct matrix weights_stack(
	struct weights *w, size_t n, size_t n_out, size_t n_in, const char *name, ...)
{
	char base[NAME_MAX_BYTES - 16];

	FORMAT_NAME(base, name);
	return matrix(w, base, (size_t[]) { n, n_out, n_in }, 3);
}

struct matrix weights_pick_part(
	struct weights *w, const struct matrix *m, size_t n_groups, size_t n_parts, size_t part)
{
	size_t n_rows = m->n_out / n_groups / n_parts, n_bytes = n_rows * m->row_bytes;
	struct matrix out = *m;
	uint8_t *rows = weights_alloc(w, n_groups, n_bytes);
	float *bias = m->bias ? weights_alloc(w, n_groups * n_rows, sizeof *bias) : NULL;

	for (size_t g = 0; g < n_groups && w->rc == 0; g++) {
		size_t from = (g * n_parts + part) * n_rows;
		memcpy(rows + g * n_bytes, (const uint8_t *)m->data + from * m->row_bytes, n_bytes);
		if (bias)
			memcpy(bias + g * n_rows, m->bias + from, n_rows * sizeof *bias);
	}
	out.n_out = n_groups * n_rows;
	out.data = rows;
	out.bias = bias;
	return out;
}

const float *weights_table(struct weights *w, size_t n_rows, size_t n, const char *name, ...)
{
	char whole[NAME_MAX_BYTES];

	FORMAT_NAME(whole, name);
	return vector(w, whole, (size_t[]) { n_rows, n }, 2);
}

const float *weights_vector(struct weights *w, size_t n, const char *name, ...)
{
	char whole[NAME_MAX_BYTES];

	FORMAT_NAME(whole, name);
	return vector(w, whole, &n, 1);
}

struct norm_weight weights_rms_norm(struct weights *w, size_t n, float eps, const char *name, ...)
{
	char base[NAME_MAX_BYTES - 16], whole[NAME_MAX_BYTES];

	FORMAT_NAME(base, name);
	snprintf(whole, sizeof whole, "%s.weight", base);
	return (struct norm_weight) { NORM_RMS, n, vector(w, whole, &n, 1), NULL, eps, 0 };
}

struct norm_weight weights_layer_norm(struct weights *w, size_t n, float eps, const char *name, ...)
{
	char base[NAME_MAX_BYTES - 16], whole[NAME_MAX_BYTES];
	struct norm_weight norm = { .kind = NORM_LAYER, .n = n, .eps = eps };

	FORMAT_NAME(base, name);
	snprintf(whole, sizeof whole, "%s.weight", base);
	norm.weight = vector(w, whole, &n, 1);
	snprintf(whole, sizeof whole, "%s.bias", base);
	norm.bias = vector(w, whole, &n, 1);
	return norm;
}

bool weights_has(const struct weights *w, const char *name, ...)
{
	char whole[NAME_MAX_BYTES];

	FORMAT_NAME(whole, name);
	return look_up(w, whole) != NULL;
}

struct matrix matrix_rows(const struct matrix *m, size_t begin, size_t n)
{
	struct matrix part = *m;

	part.n_out = n;
	if (m->data)
		part.data = (const uint8_t *)m->data + begin * m->row_bytes;
	if (m->bias)
		part.bias = m->bias + begin;
	return part;
}
