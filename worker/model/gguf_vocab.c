/* gguf_vocab.c - tokenizer and chat template out of a GGUF's metadata (tokenizer.ggml.*). */
#include "protocol/mem.h"
#include "worker/model/gguf_model.h"
#include <stdlib.h>
#include <string.h>

#define KEY "tokenizer.ggml."

struct vocab {
	const struct gguf *g;
	struct tok_arrays a;
	struct tok_text *pieces, *merges; /* owned */
	float *scores;                    /* owned */
	int32_t *types;                   /* owned */
	char *model, *pre;                /* owned */
};

static int bad(const struct vocab *v, const char *key, const char *why, struct fault *f)
{
	return fault_set(f, ERR_TOKENIZER, "%s: " KEY "%s %s", gguf_where(v->g), key, why);
}

/* NULL if the key is absent; *rc is set when it is no array of that kind. */
static const struct gguf_value *array(struct vocab *v, const char *key, const char *whole_key,
	bool of_strings, int *rc, struct fault *f)
{
	const struct gguf_value *x = gguf_find(v->g, whole_key);

	if (!x)
		return NULL;
	if (x->type != GGUF_ARRAY || (x->element == GGUF_STRING) != of_strings) {
		*rc = bad(v, key, of_strings ? "is no array of strings" : "is no array of numbers",
			f);
		return NULL;
	}
	return x;
}

static int read_strings(struct vocab *v, const char *key, const char *whole_key,
	struct tok_text **out, size_t *n, struct fault *f)
{
	int rc = 0;
	const struct gguf_value *x = array(v, key, whole_key, true, &rc, f);
	const uint8_t *cursor = x ? x->at : NULL;

	if (!x)
		return rc;
	*out = mem_try_array(x->n + 1, sizeof **out);
	if (!*out)
		return fault_set(
			f, ERR_NOMEM, "%s: no memory for %zu strings", gguf_where(v->g), x->n);
	*n = x->n;
	for (size_t i = 0; i < x->n; i++) {
		struct gguf_string s = gguf_next_string(&cursor);
		(*out)[i] = (struct tok_text) { s.at, s.n };
	}
	return 0;
}

/* One number per piece, as double first: scores are floats, types small integers. */
static int read_numbers(struct vocab *v, const char *key, const char *whole_key, float **floats,
	int32_t **ints, struct fault *f)
{
	int rc = 0;
	const struct gguf_value *x = array(v, key, whole_key, false, &rc, f);
	double number = 0;

	if (!x)
		return rc;
	if (x->n != v->a.n_pieces)
		return bad(v, key, "has not one number per piece", f);
	if (floats)
		*floats = xcalloc(x->n + 1, sizeof **floats);
	else
		*ints = xcalloc(x->n + 1, sizeof **ints);
	for (size_t i = 0; i < x->n; i++) {
		if (!gguf_element_num(x, i, &number))
			return bad(v, key, "holds something that is no number", f);
		if (floats)
			(*floats)[i] = (float)number;
		else if (number < 0 || number > 100)
			return bad(v, key, "holds something that is no kind of token", f);
		else
			(*ints)[i] = (int32_t)number;
	}
	return 0;
}

static char *string_of(const struct vocab *v, const char *whole_key)
{
	struct gguf_string s;

	return gguf_get_str(v->g, whole_key, &s) ? xstrndup(s.at, s.n) : NULL;
}

static int32_t id_of(const struct vocab *v, const char *whole_key)
{
	int64_t id;

	if (!gguf_get_int(v->g, whole_key, &id) || id >= (int64_t)v->a.n_pieces)
		return TOK_UNSET;
	return id < 0 ? -1 : (int32_t)id;
}

static int flag_of(const struct vocab *v, const char *whole_key)
{
	bool on;

	return gguf_get_bool(v->g, whole_key, &on) ? on : TOK_UNSET;
}

static void read_scalars(struct vocab *v)
{
	struct tok_arrays *a = &v->a;
	const struct gguf_value *charsmap = gguf_find(v->g, KEY "precompiled_charsmap");

	a->bos = id_of(v, KEY "bos_token_id");
	a->eos = id_of(v, KEY "eos_token_id");
	a->unk = id_of(v, KEY "unknown_token_id");
	a->sep = id_of(v, KEY "seperator_token_id"); /* spelled so in the format */
	a->add_bos = flag_of(v, KEY "add_bos_token");
	a->add_eos = flag_of(v, KEY "add_eos_token");
	a->add_space_prefix = flag_of(v, KEY "add_space_prefix");
	a->remove_extra_whitespaces = flag_of(v, KEY "remove_extra_whitespaces");
	if (charsmap && charsmap->type == GGUF_ARRAY &&
		(charsmap->element == GGUF_U8 || charsmap->element == GGUF_I8)) {
		a->charsmap = (const char *)charsmap->at;
		a->n_charsmap = charsmap->n;
	}
}

static int read_vocab(struct vocab *v, struct fault *f)
{
	struct tok_arrays *a = &v->a;
	int rc;

	v->model = string_of(v, KEY "model");
	v->pre = string_of(v, KEY "pre");
	if (!v->model)
		return bad(v, "model", "is missing", f);
	if ((rc = read_strings(v, "tokens", KEY "tokens", &v->pieces, &a->n_pieces, f)) < 0 ||
		(rc = read_strings(v, "merges", KEY "merges", &v->merges, &a->n_merges, f)) < 0 ||
		(rc = read_numbers(v, "scores", KEY "scores", &v->scores, NULL, f)) < 0 ||
		(rc = read_numbers(v, "token_type", KEY "token_type", NULL, &v->types, f)) < 0)
		return rc;
	if (!v->pieces)
		return bad(v, "tokens", "is missing", f);
	a->model = v->model;
	a->pre = v->pre;
	a->pieces = v->pieces;
	a->merges = v->merges;
	a->scores = v->scores;
	a->types = v->types;
	read_scalars(v);
	return 0;
}

int gguf_tokenizer(const struct gguf *g, struct tokenizer **out, struct fault *f)
{
	struct vocab v = { .g = g };
	int rc = read_vocab(&v, f);

	if (rc == 0)
		rc = tokenizer_open_arrays(&v.a, gguf_where(g), out, f);
	free(v.pieces);
	free(v.merges);
	free(v.scores);
	free(v.types);
	free(v.model);
	free(v.pre);
	return rc;
}

/* The text of the piece whose id `whole_key` holds; NULL if there is none. */
static char *piece_of(const struct gguf *g, const char *whole_key)
{
	const struct gguf_value *pieces = gguf_find(g, KEY "tokens");
	const uint8_t *cursor = pieces ? pieces->at : NULL;
	struct gguf_string s = { "", 0 };
	int64_t id;

	if (!pieces || pieces->type != GGUF_ARRAY || pieces->element != GGUF_STRING ||
		!gguf_get_int(g, whole_key, &id) || id < 0 || (uint64_t)id >= pieces->n)
		return NULL;
	for (int64_t i = 0; i <= id; i++)
		s = gguf_next_string(&cursor);
	return xstrndup(s.at, s.n);
}

struct chat *gguf_chat(const struct gguf *g)
{
	struct gguf_string source;
	char *template = gguf_get_str(g, "tokenizer.chat_template", &source)
				 ? xstrndup(source.at, source.n)
				 : NULL;
	char *bos = piece_of(g, KEY "bos_token_id"), *eos = piece_of(g, KEY "eos_token_id");
	char *unk = piece_of(g, KEY "unknown_token_id"), *pad = piece_of(g, KEY "padding_token_id");
	struct chat *c = chat_from_parts(&(struct chat_parts) {
		.template_text = template, .bos = bos, .eos = eos, .unk = unk, .pad = pad });

	free(template);
	free(bos);
	free(eos);
	free(unk);
	free(pad);
	return c;
}
