/* gguf_names.c - the tensors of a GGUF (all its parts) under Hugging Face's names. */
#include "protocol/mem.h"
#include "worker/model/gguf_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define NAME_BYTES 512

static const struct gguf_rename SHARED[] = {
	{ "token_embd", "model.embed_tokens" },
	{ "output", "lm_head" },
	{ "output_norm", "model.norm" },
	{ "blk.%N.attn_norm", "model.layers.%N.input_layernorm" },
	{ "blk.%N.attn_q", "model.layers.%N.self_attn.q_proj" },
	{ "blk.%N.attn_k", "model.layers.%N.self_attn.k_proj" },
	{ "blk.%N.attn_v", "model.layers.%N.self_attn.v_proj" },
	{ "blk.%N.attn_output", "model.layers.%N.self_attn.o_proj" },
	{ "blk.%N.attn_qkv", "model.layers.%N.self_attn.qkv_proj" },
	{ "blk.%N.attn_q_norm", "model.layers.%N.self_attn.q_norm" },
	{ "blk.%N.attn_k_norm", "model.layers.%N.self_attn.k_norm" },
	{ "blk.%N.ffn_norm", "model.layers.%N.post_attention_layernorm" },
	{ "blk.%N.ffn_gate", "model.layers.%N.mlp.gate_proj" },
	{ "blk.%N.ffn_up", "model.layers.%N.mlp.up_proj" },
	{ "blk.%N.ffn_down", "model.layers.%N.mlp.down_proj" },
	{ NULL, NULL },
};

struct named {
	struct tensor t; /* t.name owned */
	UT_hash_handle hh;
};

struct gguf_source {
	struct tensor_source base;
	struct gguf **parts; /* owned */
	size_t n_parts, n_tensors;
	struct named *tensors; /* [n_tensors] */
	struct named *by_name;
};

/* Does `name` match the pattern up to its ".weight" or ".bias"? The layer goes to *layer, the
 * rest to *rest. */
static bool matches(const char *pattern, const char *name, const char **layer, size_t *n_layer,
	const char **rest)
{
	while (*pattern) {
		if (pattern[0] == '%') {
			*layer = name;
			*n_layer = strspn(name, "0123456789");
			if (*n_layer == 0)
				return false;
			name += *n_layer;
			pattern += 2;
		} else if (*pattern++ != *name++) {
			return false;
		}
	}
	*rest = name;
	return strcmp(name, ".weight") == 0 || strcmp(name, ".bias") == 0;
}

static bool rename_by(const struct gguf_rename *table, const char *name, char *out)
{
	const char *layer = "", *rest;
	size_t n_layer = 0;

	for (; table->from; table++) {
		if (!matches(table->from, name, &layer, &n_layer, &rest))
			continue;
		const char *slot = strstr(table->to, "%N");
		if (slot)
			snprintf(out, NAME_BYTES, "%.*s%.*s%s%s", (int)(slot - table->to),
				table->to, (int)n_layer, layer, slot + 2, rest);
		else
			snprintf(out, NAME_BYTES, "%s%s", table->to, rest);
		/* A vector of its own, not the weight of a module. */
		size_t n = strlen(out);
		if (n > 13 && strcmp(out + n - 13, ".sinks.weight") == 0)
			out[n - 7] = '\0';
		return true;
	}
	return false;
}

static int add(struct gguf_source *s, const struct gguf *part, const struct tensor *from,
	const struct gguf_arch *arch, struct fault *f)
{
	char name[NAME_BYTES];
	struct named *same, *x = &s->tensors[s->n_tensors];

	if (!rename_by(arch->names, from->name, name) && !rename_by(SHARED, from->name, name))
		snprintf(name, sizeof name, "%s", from->name);
	HASH_FIND_STR(s->by_name, name, same);
	if (same)
		return fault_set(f, ERR_MODEL_LOAD, "%s: tensor %s is there twice",
			gguf_where(part), from->name);
	x->t = *from;
	x->t.name = xstrdup(name);
	HASH_ADD_KEYPTR(hh, s->by_name, x->t.name, strlen(x->t.name), x);
	s->n_tensors++;
	return 0;
}

static const struct tensor *find(const struct tensor_source *base, const char *name)
{
	const struct gguf_source *s = (const struct gguf_source *)base;
	const struct named *x;

	HASH_FIND_STR(s->by_name, name, x);
	return x ? &x->t : NULL;
}

static const struct tensor *at(const struct tensor_source *base, size_t i)
{
	const struct gguf_source *s = (const struct gguf_source *)base;

	return i < s->n_tensors ? &s->tensors[i].t : NULL;
}

static const char *metadata(const struct tensor_source *base, const char *key)
{
	(void)base;
	(void)key;
	return NULL; /* gguf_config.c has read it */
}

static void close_source(struct tensor_source *base)
{
	struct gguf_source *s = (struct gguf_source *)base;

	HASH_CLEAR(hh, s->by_name);
	for (size_t i = 0; i < s->n_tensors; i++)
		free((char *)(uintptr_t)s->tensors[i].t.name);
	free(s->tensors);
	for (size_t i = 0; i < s->n_parts; i++)
		gguf_close(s->parts[i]);
	free(s->parts);
	free(s);
}

static const char *file(const struct tensor_source *base, size_t i)
{
	const struct gguf_source *s = (const struct gguf_source *)base;

	return i < s->n_parts ? gguf_where(s->parts[i]) : NULL;
}

static const struct tensor_source_ops OPS = { "gguf", find, at, metadata, file, close_source };

int gguf_tensors(struct gguf **parts, size_t n_parts, const struct gguf_arch *arch,
	struct tensor_source **out, struct fault *f)
{
	struct gguf_source *s = xcalloc(1, sizeof *s);
	const struct tensor *t;
	size_t n = 0;
	int rc = 0;

	s->base = (struct tensor_source) { &OPS, gguf_where(parts[0]) };
	s->parts = parts;
	s->n_parts = n_parts;
	for (size_t p = 0; p < n_parts; p++)
		for (size_t i = 0; gguf_tensor(parts[p], i); i++)
			n++;
	s->tensors = xcalloc(n + 1, sizeof *s->tensors);
	for (size_t p = 0; p < n_parts && rc == 0; p++)
		for (size_t i = 0; rc == 0 && (t = gguf_tensor(parts[p], i)); i++)
			rc = add(s, parts[p], t, arch, f);
	if (rc < 0)
		close_source(&s->base);
	else
		*out = &s->base;
	return rc;
}
