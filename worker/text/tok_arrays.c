/* tok_arrays.c - a tokenizer from the arrays of a GGUF file. */
#include "protocol/mem.h"
#include "worker/text/tok_model.h"
#include "worker/text/tok_pre.h"
#include "worker/text/tok_scores.h"
#include "worker/text/tok_spnorm.h"
#include "worker/text/tok_stages.h"
#include <stdio.h>
#include <string.h>

/* -- stages that are always the same, written as tokenizer.json would ------------------------ */

static const char BYTES[] =
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}";
static const char ESCAPE[] =
	"{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}";
static const char PREFIX[] = "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"}";
static const char UNESCAPE[] =
	"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
	"\"\xe2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}";
static const char STRIP[] = "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}";

static struct tok_field own_stage(const char *json, struct fault *f)
{
	return (struct tok_field) {
		.name = "built in", .value = { json, strlen(json) }, .fault = f
	};
}

static int add_norm(struct tokenizer *t, const char *json, struct fault *f)
{
	struct tok_field x = own_stage(json, f);
	return tok_norms_read(&t->norms, &x);
}

static int add_pretok(struct tokenizer *t, const char *json, struct fault *f)
{
	struct tok_field x = own_stage(json, f);
	return tok_pretoks_read(&t->pretoks, &x);
}

static int add_decoder(struct tokenizer *t, const char *json, struct fault *f)
{
	struct tok_field x = own_stage(json, f);
	return tok_decoders_read(&t->decoders, &x);
}

/* -- the kinds ------------------------------------------------------------------------------- */

struct source {
	const struct tok_arrays *a;
	const char *where;
	struct fault *f;
	int32_t bos, eos, unk, sep; /* with the kind's presets */
	bool add_bos, add_eos, add_sep, add_space_prefix, remove_extra_whitespaces;
};

static int32_t id_or(int32_t id, int32_t preset, size_t n_pieces)
{
	id = id == TOK_UNSET ? preset : id;
	return id >= 0 && (size_t)id < n_pieces ? id : -1;
}

static void preset_ids(struct source *s, int32_t bos, int32_t eos, int32_t unk, int32_t sep)
{
	const struct tok_arrays *a = s->a;
	s->bos = id_or(a->bos, bos, a->n_pieces);
	s->eos = id_or(a->eos, eos, a->n_pieces);
	s->unk = id_or(a->unk, unk, a->n_pieces);
	s->sep = id_or(a->sep, sep, a->n_pieces);
}

static bool flag_or(int flag, bool preset)
{
	return flag == TOK_UNSET ? preset : flag != 0;
}

static int add_rule(struct tok_model *m, const struct source *s, size_t i)
{
	struct tok_text p = s->a->merges[i];
	const char *space = p.n > 1 ? memchr(p.s + 1, ' ', p.n - 1) : NULL;
	struct buf whole = BUF_INIT;
	if (space == NULL)
		return fault_set(
			s->f, ERR_TOKENIZER, "%s: merge %zu is not two pieces", s->where, i);
	size_t n_left = (size_t)(space - p.s), n_right = p.n - n_left - 1;
	int32_t left = tok_vocab_find(&m->vocab, p.s, n_left);
	int32_t right = tok_vocab_find(&m->vocab, space + 1, n_right);
	buf_add(&whole, p.s, n_left);
	buf_add(&whole, space + 1, n_right);
	int32_t id = tok_vocab_find(&m->vocab, whole.data, whole.n_bytes);
	buf_release(&whole);
	/* Vocabularies cut down after training keep rules for pieces they lost: such a rule
	 * could only make what is no token. Of equal rules the first counts. */
	if (left >= 0 && right >= 0 && id >= 0 &&
		tok_merges_find(&m->merges, left, right).rank == MERGE_NO_RANK)
		tok_merges_put(&m->merges, left, right, (struct tok_merge) { (uint32_t)i, id });
	return 0;
}

static int build_gpt2(struct tokenizer *t, struct source *s)
{
	const struct tok_arrays *a = s->a;
	struct tok_model *m = &t->model;
	const char *name = a->pre ? a->pre : "";
	const struct tok_pre *pre = tok_pre_find(name);
	if (pre == NULL)
		return fault_set(s->f, ERR_TOKENIZER,
			"%s: tokenizer.ggml.pre is \"%.60s\", a pre-tokenizer that is not "
			"understood",
			s->where, name);
	if (a->merges == NULL || a->n_merges >= MERGES_MAX)
		return fault_set(s->f, ERR_TOKENIZER,
			"%s: tokenizer.ggml.merges is missing or too large", s->where);
	preset_ids(s, 11, 11, -1, -1);
	s->add_bos = flag_or(a->add_bos, pre->add_bos);
	s->add_eos = flag_or(a->add_eos, false);
	m->kind = &tok_bpe_kind;
	m->unk = -1;
	m->ignore_merges = pre->ignore_merges;
	int err = tok_scores_read_pieces(m, a, s->where, s->f);
	for (size_t i = 0; err == 0 && i < a->n_merges; i++)
		err = add_rule(m, s, i);
	for (size_t i = 0; err == 0 && i < 6 && pre->patterns[i]; i++)
		err = tok_pretoks_add_split(&t->pretoks, pre->patterns[i], SPLIT_ISOLATED, s->f);
	if (err == 0)
		err = add_pretok(t, BYTES, s->f);
	if (err == 0)
		err = add_decoder(t, BYTES, s->f);
	if (err)
		return err;
	t->pretoks.is_bytes = tok_model_use_bytes(m);
	tok_scores_add_tokens(&t->added, a, true, false);
	return 0;
}

static int build_llama(struct tokenizer *t, struct source *s)
{
	preset_ids(s, 1, 2, 0, -1);
	s->add_bos = flag_or(s->a->add_bos, true);
	s->add_eos = flag_or(s->a->add_eos, false);
	bool prefix = flag_or(s->a->add_space_prefix, true);
	struct tok_arrays a = *s->a;
	a.unk = s->unk;
	int err = tok_scores_make_bpe(&t->model, &a, s->where, s->f);
	if (err == 0 && prefix)
		err = add_norm(t, PREFIX, s->f);
	if (err == 0)
		err = add_norm(t, ESCAPE, s->f);
	if (err == 0)
		err = add_decoder(t, UNESCAPE, s->f);
	if (err == 0 && prefix)
		err = add_decoder(t, STRIP, s->f);
	if (err == 0)
		tok_scores_add_tokens(&t->added, &a, true, false);
	return err;
}

static int build_t5(struct tokenizer *t, struct source *s)
{
	preset_ids(s, -1, 1, 2, -1);
	s->add_bos = flag_or(s->a->add_bos, false);
	s->add_eos = flag_or(s->a->add_eos, true);
	struct tok_arrays a = *s->a;
	a.unk = s->unk;
	struct tok_spnorm *norm = xcalloc(1, sizeof *norm);
	norm->add_dummy_prefix = flag_or(a.add_space_prefix, true);
	norm->remove_extra_whitespaces = flag_or(a.remove_extra_whitespaces, true);
	norm->escape_whitespaces = true;
	int err = tok_norms_add_sentencepiece(&t->norms, norm);
	if (err == 0 && a.charsmap && a.n_charsmap > 0) {
		norm->charsmap = tok_charsmap_new(a.charsmap, a.n_charsmap);
		if (norm->charsmap == NULL)
			err = fault_set(s->f, ERR_TOKENIZER,
				"%s: precompiled_charsmap is not a SentencePiece charsmap",
				s->where);
	}
	if (err == 0)
		err = tok_scores_read_pieces(&t->model, &a, s->where, s->f);
	if (err == 0)
		err = tok_scores_make_unigram(&t->model, &a, false, s->f);
	if (err == 0)
		err = add_decoder(t, UNESCAPE, s->f);
	if (err == 0 && norm->add_dummy_prefix)
		err = add_decoder(t, STRIP, s->f);
	if (err == 0)
		tok_scores_add_tokens(&t->added, &a, true, false);
	return err;
}

static int build_bert(struct tokenizer *t, struct source *s)
{
	struct tok_model *m = &t->model;
	preset_ids(s, 101, -1, 100, 102);
	s->add_bos = true;
	s->add_sep = true;
	m->kind = &tok_wordpiece_kind;
	m->unk = s->unk;
	m->max_chars = INT32_MAX;
	if (s->unk < 0)
		return fault_set(s->f, ERR_TOKENIZER, "%s: there is no unknown token", s->where);
	int err = tok_scores_read_pieces(m, s->a, s->where, s->f);
	if (err == 0 && !tok_wordpiece_finish(m))
		err = fault_set(s->f, ERR_TOKENIZER, "%s: the vocabulary is too large", s->where);
	if (err == 0)
		tok_norms_add_base_letters(&t->norms);
	if (err == 0)
		err = add_norm(t, "{\"type\":\"BertNormalizer\",\"strip_accents\":false}", s->f);
	if (err == 0)
		err = add_pretok(t, "{\"type\":\"BertPreTokenizer\"}", s->f);
	if (err == 0)
		err = add_pretok(t,
			"{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"split\":false}",
			s->f);
	if (err == 0)
		err = add_decoder(t, UNESCAPE, s->f);
	if (err == 0)
		err = add_decoder(t, STRIP, s->f);
	if (err == 0)
		tok_scores_add_tokens(&t->added, s->a, true, false);
	return err;
}

static const struct {
	const char *model;
	int (*build)(struct tokenizer *t, struct source *s);
} kinds[] = {
	{ "gpt2", build_gpt2 },
	{ "llama", build_llama },
	{ "t5", build_t5 },
	{ "bert", build_bert },
};

static int build(struct tokenizer *t, struct source *s)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(kinds[i].model, s->a->model) == 0)
			return kinds[i].build(t, s);
	return fault_set(s->f, ERR_TOKENIZER,
		"%s: tokenizer.ggml.model is \"%.60s\", a tokenizer that is not understood",
		s->where, s->a->model);
}

int tokenizer_open_arrays(
	const struct tok_arrays *a, const char *where, struct tokenizer **out, struct fault *f)
{
	struct source s = { .a = a, .where = where, .f = f };
	struct tokenizer *t = tokenizer_new();
	int err = build(t, &s);
	if (err == 0)
		err = tok_added_finish(&t->added, &t->norms, where, f);
	*out = NULL;
	if (err) {
		tokenizer_free(t);
		return err;
	}
	tok_model_finish(&t->model);
	t->bos = s.bos;
	t->eos = s.eos;
	if (s.add_bos && s.bos >= 0)
		tok_ids_push(&t->post.before, s.bos);
	if (s.add_eos && s.eos >= 0)
		tok_ids_push(&t->post.after, s.eos);
	if (s.add_sep && s.sep >= 0)
		tok_ids_push(&t->post.after, s.sep);
	*out = t;
	return 0;
}
