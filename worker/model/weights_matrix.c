/* weights_matrix.c - matrices in their file's own format: plain, blocks, MLX, MXFP4. */
#include "kernels/quant.h"
#include "worker/model/weights.h"
#include "worker/model/weights_get.h"
#include <string.h>

static const char *dtype_word(enum dtype t)
{
	if (t == DTYPE_F32)
		return "float32";
	if (t == DTYPE_F16)
		return "float16";
	return t == DTYPE_BF16 ? "bfloat16" : "quantized";
}

void weights_note(struct weights *w, const struct weight *m)
{
	enum dtype shown = m->type == DTYPE_AFFINE ? m->scale_type : m->type;
	const char *word = dtype_word(shown);
	char name[sizeof w->quantized] = "";

	if (m->type == DTYPE_AFFINE)
		snprintf(name, sizeof name, "%u-bit", m->bits);
	else if (m->type > DTYPE_BF16)
		snprintf(name, sizeof name, "%s", quant_type(m->type)->name);
	if (m->type <= DTYPE_BF16 && w->quantized[0])
		return; /* a few unquantized matrices beside quantized ones go without saying */
	if (w->dtype && strcmp(w->dtype, word) != 0 && name[0] == w->quantized[0])
		word = "mixed";
	w->dtype = word;
	if (w->quantized[0] && strcmp(w->quantized, name) != 0)
		snprintf(name, sizeof name, "mixed");
	memcpy(w->quantized, name, sizeof name);
}

static size_t count_rows(const struct shape *s)
{
	size_t n = 1;

	for (size_t i = 0; i + 1 < s->n_dims; i++)
		n *= s->dims[i];
	return n;
}

struct matrix weights_stored(struct weights *w, const char *base, const struct shape *shape)
{
	char name[WEIGHTS_NAME_MAX];
	size_t n_in = shape->dims[shape->n_dims - 1];
	struct matrix m = { .w = { .n_out = count_rows(shape), .n_in = n_in } };
	const struct tensor *t;

	snprintf(name, sizeof name, "%.500s.weight", base);
	t = weights_get(w, name, TENSOR_WEIGHT, shape);
	if (!t)
		return m;
	m.w.type = t->dtype;
	m.w.row_bytes = quant_row_bytes(t->dtype, n_in);
	if (m.w.row_bytes == 0) {
		weights_fail(w, "tensor %s: rows of %zu are no whole blocks of %s", name, n_in,
			t->dtype_name);
		return m;
	}
	m.w.data = t->data;
	w->n_parameters += t->n_values;
	weights_note(w, &m.w);
	return m;
}

/* Bits and group size the config gives this tensor, its own before the common ones. */
static void mlx_settings(struct weights *w, const char *base, size_t *bits, size_t *group)
{
	struct config *q = w->quantization, *own = NULL;

	if (config_is_object(q, base))
		own = config_object(q, base);
	*bits = config_size_or(own ? own : q, "bits", 4);
	*group = config_size_or(own ? own : q, "group_size", 64);
	if (own && strcmp(config_str_or(own, "mode", "affine"), "affine") != 0)
		weights_fail(w, "quantization mode \"%s\" of %s is not supported",
			config_str_or(own, "mode", ""), base);
}

static bool check_affine(
	struct weights *w, const char *base, size_t bits, size_t group, size_t n_in)
{
	bool known = (bits >= 2 && bits <= 6) || bits == 8;

	if (!known)
		weights_fail(w, "%s: %zu-bit quantization is not supported", base, bits);
	else if (group != 32 && group != 64 && group != 128)
		weights_fail(w, "%s: quantization groups of %zu are not supported", base, group);
	else if (n_in % group != 0 || weight_packed_bytes(n_in, (unsigned)bits) == 0)
		weights_fail(
			w, "%s: rows of %zu do not divide into groups of %zu", base, n_in, group);
	return w->rc == 0;
}

static const struct tensor *beside(
	struct weights *w, const char *base, const char *what, const struct shape *shape)
{
	char name[WEIGHTS_NAME_MAX];

	snprintf(name, sizeof name, "%.480s.%s", base, what);
	return weights_get(w, name, TENSOR_WEIGHT, shape);
}

/* MLX affine quantization: <base>.weight U32 of packed integers, .scales and .biases. */
static struct matrix affine(struct weights *w, const char *base, const struct shape *shape)
{
	size_t n_in = shape->dims[shape->n_dims - 1], bits, group;
	struct matrix m = { .w = { .n_out = count_rows(shape), .n_in = n_in } };
	struct shape packed = *shape, scales = *shape;
	const struct tensor *q, *s, *b;
	char name[WEIGHTS_NAME_MAX];

	mlx_settings(w, base, &bits, &group);
	if (!check_affine(w, base, bits, group, n_in))
		return m;
	packed.dims[shape->n_dims - 1] = n_in * bits / 32;
	scales.dims[shape->n_dims - 1] = n_in / group;
	snprintf(name, sizeof name, "%.500s.weight", base);
	q = weights_get(w, name, TENSOR_U32, &packed);
	s = beside(w, base, "scales", &scales);
	b = beside(w, base, "biases", &scales);
	if (!q || !s || !b)
		return m;
	if (s->dtype != b->dtype || s->dtype > DTYPE_BF16) {
		weights_fail(w, "%s: scales of %s with biases of %s", base, s->dtype_name,
			b->dtype_name);
		return m;
	}
	m.w.type = DTYPE_AFFINE;
	m.w.bits = (unsigned)bits;
	m.w.group = (unsigned)group;
	m.w.scale_type = s->dtype;
	m.w.scales = s->data;
	m.w.biases = b->data;
	m.w.row_bytes = weight_packed_bytes(n_in, (unsigned)bits);
	m.w.data = q->data;
	w->n_parameters += m.w.n_out * n_in;
	weights_note(w, &m.w);
	return m;
}

static struct matrix matrix(struct weights *w, const char *base, const struct shape *shape)
{
	if (w->quantization && weights_has(w, "%s.scales", base))
		return affine(w, base, shape);
	return weights_stored(w, base, shape);
}

void weights_add_bias(struct weights *w, struct matrix *m, enum with_bias bias, const char *base)
{
	if (bias == WITH_BIAS)
		m->bias = weights_vector(w, m->w.n_out, "%s.bias", base);
}

struct matrix weights_matrix(
	struct weights *w, size_t n_out, size_t n_in, enum with_bias bias, const char *name, ...)
{
	char base[WEIGHTS_NAME_MAX];
	struct matrix m;

	FORMAT_NAME(base, name);
	m = matrix(w, base, &(struct shape) { { n_out, n_in }, 2 });
	weights_add_bias(w, &m, bias, base);
	return m;
}

struct matrix weights_stack(
	struct weights *w, size_t n, size_t n_out, size_t n_in, const char *name, ...)
{
	char base[WEIGHTS_NAME_MAX];
	struct matrix m;

	FORMAT_NAME(base, name);
	m = matrix(w, base, &(struct shape) { { n, n_out, n_in }, 3 });
	if (weights_has(w, "%s.bias", base))
		m.bias = weights_table(w, n, n_out, "%s.bias", base);
	return m;
}

struct matrix weights_mxfp4(
	struct weights *w, size_t n_out, size_t n_in, const size_t dims[2], const char *name, ...)
{
	char base[WEIGHTS_NAME_MAX], whole[WEIGHTS_NAME_MAX];
	const struct shape blocks = { { dims[0], dims[1], n_in / 32, 16 }, 4 };
	const struct shape scales = { { dims[0], dims[1], n_in / 32 }, 3 };
	struct matrix m = { .w = { .n_out = n_out, .n_in = n_in } };
	const struct tensor *q, *s;

	FORMAT_NAME(base, name);
	if (n_in % 32 != 0) {
		weights_fail(w, "%s: rows of %zu are no whole blocks of 32", base, n_in);
		return m;
	}
	snprintf(whole, sizeof whole, "%.500s_blocks", base);
	q = weights_get(w, whole, TENSOR_U8, &blocks);
	snprintf(whole, sizeof whole, "%.500s_scales", base);
	s = weights_get(w, whole, TENSOR_U8, &scales);
	if (!q || !s)
		return m;
	m.w.type = DTYPE_MXFP4_PAIRS;
	m.w.group = 32;
	m.w.bits = 4;
	m.w.row_bytes = n_in / 2;
	m.w.scales = s->data;
	m.w.data = q->data;
	w->n_parameters += n_out * n_in;
	weights_note(w, &m.w);
	return m;
}

struct matrix matrix_rows(const struct matrix *m, size_t begin, size_t n)
{
	struct matrix part = *m;
	size_t scale_bytes = m->w.type == DTYPE_MXFP4_PAIRS ? 1
			     : m->w.scale_type == DTYPE_F32 ? 4
							    : 2;

	part.w.n_out = n;
	if (m->w.data)
		part.w.data = (const uint8_t *)m->w.data + begin * m->w.row_bytes;
	if (m->w.scales)
		part.w.scales = (const uint8_t *)m->w.scales +
				begin * (m->w.n_in / m->w.group) * scale_bytes;
	if (m->w.biases)
		part.w.biases = (const uint8_t *)m->w.biases +
				begin * (m->w.n_in / m->w.group) * scale_bytes;
	if (m->bias)
		part.bias = m->bias + begin;
	return part;
}
