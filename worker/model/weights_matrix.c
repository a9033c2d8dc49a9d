/* weights_matrix.c - matrices in their file's own format: plain, blocks, MLX, MXFP4. */
#include "kernels/quant.h"
#include "worker/model/weights.h"
#include "worker/model/weights_get.h"
#include <assert.h>
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
	m.is_mapped = true;
	w->n_parameters += t->n_values;
	weights_note(w, &m.w);
	return m;
}

enum mlx_mode { MLX_AFFINE, MLX_MXFP4 };

struct mlx_settings {
	enum mlx_mode mode;
	size_t bits, group;
};

/* What the config says of this tensor, by its own name before the common settings. */
static void mlx_settings(struct weights *w, const char *base, struct mlx_settings *out)
{
	struct config *q = w->quantization;
	const char *mode;

	if (config_is_object(q, base))
		q = config_object(q, base);
	mode = config_str_or(q, "mode", "affine");
	out->mode = strcmp(mode, "mxfp4") == 0 ? MLX_MXFP4 : MLX_AFFINE;
	out->bits = config_size_or(q, "bits", 4);
	out->group = config_size_or(q, "group_size", out->mode == MLX_MXFP4 ? 32 : 64);
	if (out->mode == MLX_AFFINE && strcmp(mode, "affine") != 0)
		weights_fail(w, "%s: quantization mode \"%s\" is not supported", base, mode);
	if (out->mode == MLX_MXFP4 && (out->bits != 4 || out->group != 32))
		weights_fail(
			w, "%s: mxfp4 of %zu bits in groups of %zu", base, out->bits, out->group);
}

static bool check_packing(
	struct weights *w, const char *base, const struct mlx_settings *set, size_t n_in)
{
	size_t bits = set->bits, group = set->group;
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

static const struct tensor *part_of(struct weights *w, const char *base, const char *what,
	enum tensor_kind kind, const struct shape *shape)
{
	char name[WEIGHTS_NAME_MAX];

	snprintf(name, sizeof name, "%.480s.%s", base, what);
	return weights_get(w, name, kind, shape);
}

static bool take_affine(
	struct weights *w, const char *base, const struct shape *scales, struct weight *m)
{
	const struct tensor *s = part_of(w, base, "scales", TENSOR_WEIGHT, scales);
	const struct tensor *b = part_of(w, base, "biases", TENSOR_WEIGHT, scales);

	if (!s || !b)
		return false;
	if (s->dtype != b->dtype || s->dtype > DTYPE_BF16) {
		weights_fail(w, "%s: scales of %s with biases of %s", base, s->dtype_name,
			b->dtype_name);
		return false;
	}
	m->type = DTYPE_AFFINE;
	m->scale_type = s->dtype;
	m->scales = s->data;
	m->biases = b->data;
	return true;
}

static bool take_mxfp4(
	struct weights *w, const char *base, const struct shape *scales, struct weight *m)
{
	const struct tensor *s = part_of(w, base, "scales", TENSOR_U8, scales);

	m->type = DTYPE_MXFP4_PAIRS;
	m->scales = s ? s->data : NULL;
	return s != NULL;
}

/* MLX: <base>.weight U32 of packed integers, with .scales and in affine mode .biases. */
static struct matrix mlx(struct weights *w, const char *base, const struct shape *shape)
{
	size_t last = shape->n_dims - 1, n_in = shape->dims[last];
	struct matrix m = { .w = { .n_out = count_rows(shape), .n_in = n_in } };
	struct shape packed = *shape, scales = *shape;
	struct mlx_settings set;
	const struct tensor *q;

	mlx_settings(w, base, &set);
	if (!check_packing(w, base, &set, n_in))
		return m;
	packed.dims[last] = n_in * set.bits / 32;
	scales.dims[last] = n_in / set.group;
	q = part_of(w, base, "weight", TENSOR_U32, &packed);
	m.w.bits = (unsigned)set.bits;
	m.w.group = (unsigned)set.group;
	m.w.row_bytes = weight_packed_bytes(n_in, m.w.bits);
	if (!q || !(set.mode == MLX_AFFINE ? take_affine : take_mxfp4)(w, base, &scales, &m.w))
		return m;
	m.w.data = q->data;
	w->n_parameters += m.w.n_out * n_in;
	weights_note(w, &m.w);
	return m;
}

static struct matrix matrix(struct weights *w, const char *base, const struct shape *shape)
{
	if (w->quantization && weights_has(w, "%s.scales", base))
		return mlx(w, base, shape);
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

	assert(begin + n <= m->w.n_out && (!m->packed || begin % PACKED_OUTS == 0));
	if (m->packed)
		part.packed = (const uint8_t *)m->packed +
			      begin / PACKED_OUTS * packed_panel_bytes(m->packed_kind, m->w.n_in);
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
