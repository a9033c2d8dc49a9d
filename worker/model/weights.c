/* weights.c - tensors found by name, checked by shape; vectors widened. */
#include "worker/model/weights.h"
#include "kernels/quant.h"
#include "protocol/mem.h"
#include "worker/model/huge.h"
#include "worker/model/weights_get.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

	if (w->rc < 0)
		return;
	FORMAT_NAME(text, fmt);
	w->rc = fault_set(w->fault, ERR_MODEL_LOAD, "%s: %s", w->source->where, text);
}

static void *alloc_aligned(struct weights *w, size_t n, size_t n_bytes, size_t alignment)
{
	size_t total;
	void *p = NULL;

	if (!mem_mul(n, n_bytes, &total) || !mem_add(total, alignment, &total) ||
		!(p = aligned_alloc(alignment, total & ~(alignment - 1)))) {
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

void *weights_alloc(struct weights *w, size_t n, size_t n_bytes)
{
	return alloc_aligned(w, n, n_bytes, 64);
}

void *weights_alloc_huge(struct weights *w, size_t n_bytes)
{
	void *p = alloc_aligned(w, 1, n_bytes, n_bytes < HUGE_PAGE ? 64 : HUGE_PAGE);

	if (p)
		huge_advise(p, n_bytes);
	return p;
}

void weights_pass(struct weights *w, const struct matrix *m)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const size_t n = m->w.n_out * m->w.row_bytes;
	const uintptr_t begin = ((uintptr_t)m->w.data + page - 1) & ~(page - 1);
	const uintptr_t end = ((uintptr_t)m->w.data + n) & ~(page - 1);

	if (!m->is_mapped)
		return;
	w->n_unread += n;
	if (begin < end) /* the file has them, whoever should want them after all */
		madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void *weights_room(
	struct weights *w, size_t n, size_t n_bytes, const void **ready, const char *name, ...)
{
	struct prepared_part part = { 0 };
	char whole[WEIGHTS_NAME_MAX];
	size_t total = SIZE_MAX; /* which nothing has room for */
	int rc = 0;

	FORMAT_NAME(whole, name);
	*ready = NULL;
	if (mem_mul(n, n_bytes, &total) && w->rc == 0 && w->prepared)
		rc = prepared_next(w->prepared, whole, total, &part, w->fault);
	if (rc < 0) {
		w->rc = rc;
		return NULL;
	}
	*ready = part.ready;
	return part.ready || part.room ? part.room : weights_alloc_huge(w, total);
}

/* Checkpoints differ in what stands before a name: the bare model's leave the prefix out,
 * those of a multimodal model put "language_model." before or behind it. */
const struct tensor *weights_find(const struct weights *w, const char *name)
{
	static const char inner[] = "language_model.";
	char longer[WEIGHTS_NAME_MAX + sizeof inner];
	size_t n_prefix = strlen(w->prefix);
	bool prefixed = strncmp(name, w->prefix, n_prefix) == 0;
	const struct tensor *t = tensor_find(w->source, name);

	if (!t && prefixed)
		t = tensor_find(w->source, name + n_prefix);
	if (!t) {
		snprintf(longer, sizeof longer, "%s%s", inner, name);
		t = tensor_find(w->source, longer);
	}
	if (!t && prefixed) {
		snprintf(longer, sizeof longer, "%s%s%s", w->prefix, inner, name + n_prefix);
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

const struct tensor *weights_get(
	struct weights *w, const char *name, enum tensor_kind kind, const struct shape *shape)
{
	const struct tensor *t;
	char have[192], need[96];

	if (w->rc < 0)
		return NULL;
	t = weights_find(w, name);
	if (!t) {
		weights_fail(w, "tensor %s is missing", name);
		return NULL;
	}
	if (t->kind != kind) {
		weights_fail(
			w, "tensor %s has dtype %s, which is of no use here", name, t->dtype_name);
		return NULL;
	}
	if (t->n_dims != shape->n_dims ||
		memcmp(t->dims, shape->dims, t->n_dims * sizeof *t->dims) != 0) {
		print_shape(have, sizeof have, t->dims, t->n_dims);
		print_shape(need, sizeof need, shape->dims, shape->n_dims);
		weights_fail(w, "tensor %s has shape [%s] where the config asks for [%s]", name,
			have, need);
		return NULL;
	}
	w->n_bytes += t->n_bytes;
	return t;
}

const float *weights_widen(struct weights *w, const char *name, const struct shape *shape)
{
	const struct tensor *t = weights_get(w, name, TENSOR_WEIGHT, shape);
	size_t n_in = shape->dims[shape->n_dims - 1];
	struct kernels k;
	float *out;

	if (!t)
		return NULL;
	w->n_parameters += t->n_values;
	const struct weight rows = {
		.type = t->dtype,
		.n_out = n_in ? t->n_values / n_in : 0,
		.n_in = n_in,
		.data = t->data,
		.row_bytes = quant_row_bytes(t->dtype, n_in),
	};
	out = weights_alloc(w, t->n_values, sizeof *out);
	kernels_select(&k, KERNELS_SCALAR);
	for (size_t i = 0; out && i < rows.n_out; i++)
		weight_row(&k, &rows, i, out + i * n_in);
	return out;
}

const float *weights_table(struct weights *w, size_t n_rows, size_t n, const char *name, ...)
{
	char whole[WEIGHTS_NAME_MAX];

	FORMAT_NAME(whole, name);
	return weights_widen(w, whole, &(struct shape) { { n_rows, n }, 2 });
}

const float *weights_vector(struct weights *w, size_t n, const char *name, ...)
{
	char whole[WEIGHTS_NAME_MAX];

	FORMAT_NAME(whole, name);
	return weights_widen(w, whole, &(struct shape) { { n }, 1 });
}

struct norm_weight weights_rms_norm(struct weights *w, size_t n, float eps, const char *name, ...)
{
	char base[WEIGHTS_NAME_MAX];

	FORMAT_NAME(base, name);
	const float *weight = weights_vector(w, n, "%s.weight", base);
	return (struct norm_weight) { NORM_RMS, n, weight, NULL, eps, 0 };
}

struct norm_weight weights_layer_norm(struct weights *w, size_t n, float eps, const char *name, ...)
{
	char base[WEIGHTS_NAME_MAX];
	struct norm_weight norm = { .kind = NORM_LAYER, .n = n, .eps = eps };

	FORMAT_NAME(base, name);
	norm.weight = weights_vector(w, n, "%s.weight", base);
	norm.bias = weights_vector(w, n, "%s.bias", base);
	return norm;
}

bool weights_has(const struct weights *w, const char *name, ...)
{
	char whole[WEIGHTS_NAME_MAX];

	FORMAT_NAME(whole, name);
	return weights_find(w, whole) != NULL;
}
