/* census.c - tensors by purpose and type. */
#include "worker/model/census.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 512

static const char *const NAMES[] = { "embedding", "attention", "feed-forward", "experts", "norms",
	"head", "other" };

const char *tensor_group_name(enum tensor_group g)
{
	return NAMES[g];
}

enum tensor_group tensor_group_of(const char *name)
{
	/* The first word that is in the name decides: attention has norms of its own, experts
	 * lie inside an mlp, and GPT-NeoX has a head called embed_out. */
	static const struct {
		const char *word;
		enum tensor_group group;
	} WORDS[] = {
		{ "embed_out", GROUP_HEAD },
		{ "lm_head", GROUP_HEAD },
		{ "norm", GROUP_NORMS },
		{ "ln_", GROUP_NORMS },
		{ "embed", GROUP_EMBEDDING },
		{ "wte.", GROUP_EMBEDDING },
		{ "wpe.", GROUP_EMBEDDING },
		{ "expert", GROUP_EXPERTS },
		{ "router", GROUP_EXPERTS },
		{ "block_sparse_moe", GROUP_EXPERTS },
		{ "switch_mlp", GROUP_EXPERTS },
		{ "mlp.gate.", GROUP_EXPERTS },
		{ "attn", GROUP_ATTENTION },
		{ "attention", GROUP_ATTENTION },
		{ "mlp", GROUP_FFN },
		{ "feed_forward", GROUP_FFN },
		{ "ffn", GROUP_FFN },
	};

	for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
		if (strstr(name, WORDS[i].word))
			return WORDS[i].group;
	return GROUP_OTHER;
}

/* "<base><end>" → "<base><other>" if there is such a tensor. */
static const struct tensor *beside(const struct tensor_source *s, const struct tensor *t,
	const char *end, const char *other, char base[NAME_MAX_BYTES])
{
	size_t n = strlen(t->name), n_end = strlen(end);
	char name[NAME_MAX_BYTES];

	if (n <= n_end || n >= NAME_MAX_BYTES - 16 || strcmp(t->name + n - n_end, end) != 0)
		return NULL;
	memcpy(base, t->name, n - n_end);
	base[n - n_end] = '\0';
	snprintf(name, sizeof name, "%s%s", base, other);
	return tensor_find(s, name);
}

/* A row's number of values and type, as one of a quantized family or by itself. */
struct kept {
	char type[32];
	uint64_t n_parameters;
};

static void say_packed(
	struct kept *k, const struct tensor *t, const char *base, struct config *quantization)
{
	struct config *own = quantization && config_is_object(quantization, base)
				     ? config_object(quantization, base)
				     : quantization;
	size_t bits = own ? config_size_or(own, "bits", 4) : 4;
	size_t group = own ? config_size_or(own, "group_size", 64) : 64;

	if (own && strcmp(config_str_or(own, "mode", "affine"), "mxfp4") == 0)
		snprintf(k->type, sizeof k->type, "MXFP4");
	else
		snprintf(k->type, sizeof k->type, "%zu-bit, groups of %zu", bits, group);
	k->n_parameters = bits ? t->n_values * 32 / bits : 0;
}

static const struct tensor *scaled_by(
	const struct tensor_source *s, const struct tensor *t, char base[NAME_MAX_BYTES])
{
	static const char *const ENDS[][2] = { { ".scales", ".weight" }, { ".biases", ".weight" },
		{ "_scales", "_blocks" }, { "_scale_inv", "" } };

	for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
		const struct tensor *of = beside(s, t, ENDS[i][0], ENDS[i][1], base);
		if (of)
			return of;
	}
	return NULL;
}

static struct kept keeping(
	const struct tensor_source *s, const struct tensor *t, struct config *quantization)
{
	char base[NAME_MAX_BYTES];
	struct kept k = { .n_parameters = t->n_values };
	const struct tensor *of = scaled_by(s, t, base);

	if (of) {
		k = keeping(s, of, quantization);
		k.n_parameters = 0;
	} else if (t->kind == TENSOR_U32 && beside(s, t, ".weight", ".scales", base)) {
		say_packed(&k, t, base, quantization);
	} else if (t->kind == TENSOR_U8 && beside(s, t, "_blocks", "_scales", base)) {
		snprintf(k.type, sizeof k.type, "MXFP4");
		k.n_parameters = 2 * t->n_values;
	} else {
		snprintf(k.type, sizeof k.type, "%s", t->dtype_name);
	}
	return k;
}

static struct census_row *row_of(struct census *c, enum tensor_group group, const char *type)
{
	for (size_t i = 0; i < c->n_rows; i++)
		if (c->rows[i].group == group && strcmp(c->rows[i].type, type) == 0)
			return &c->rows[i];
	if (c->n_rows == CENSUS_ROWS_MAX)
		return NULL;
	struct census_row *r = &c->rows[c->n_rows++];
	r->group = group;
	snprintf(r->type, sizeof r->type, "%s", type);
	return r;
}

static int compare(const void *a, const void *b)
{
	const struct census_row *x = a, *y = b;

	if (x->group != y->group)
		return (int)x->group - (int)y->group;
	return x->n_bytes == y->n_bytes ? strcmp(x->type, y->type)
					: (x->n_bytes < y->n_bytes) - (x->n_bytes > y->n_bytes);
}

void census_take(struct census *out, const struct tensor_source *s, struct config *quantization)
{
	const struct tensor *t;

	*out = (struct census) { 0 };
	for (size_t i = 0; s && (t = tensor_at(s, i)); i++) {
		struct kept k = keeping(s, t, quantization);
		struct census_row *r = row_of(out, tensor_group_of(t->name), k.type);
		out->n_tensors++;
		out->n_parameters += k.n_parameters;
		out->n_bytes += t->n_bytes;
		if (!r)
			continue;
		r->n_tensors++;
		r->n_parameters += k.n_parameters;
		r->n_bytes += t->n_bytes;
	}
	qsort(out->rows, out->n_rows, sizeof *out->rows, compare);
}
