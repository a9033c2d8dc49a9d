/* tok_sentencepiece.c - a tokenizer from SentencePiece's tokenizer.model (protocol buffer).
 *
 * Field numbers: sentencepiece_model.proto of google/sentencepiece. */
#include "worker/text/tok_sentencepiece.h"
#include "protocol/mem.h"
#include "worker/text/tok_decode.h"
#include "worker/text/tok_proto.h"
#include "worker/text/tok_scores.h"
#include "worker/text/tok_spnorm.h"
#include <stdlib.h>
#include <string.h>

enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2, MODEL_WORD = 3, MODEL_CHAR = 4 };

struct sp_file {
	struct tok_text *pieces;
	float *scores;
	int32_t *types;
	size_t n, cap;
	uint64_t model_type;
	bool byte_fallback, is_suffix;
	bool dummy_prefix, remove_extra, escape;
	struct tok_text charsmap, denorm_map;
};

static void grow(struct sp_file *s)
{
	if (s->n < s->cap)
		return;
	s->cap = s->cap ? 2 * s->cap : 4096;
	s->pieces = xreallocarray(s->pieces, s->cap, sizeof *s->pieces);
	s->scores = xreallocarray(s->scores, s->cap, sizeof *s->scores);
	s->types = xreallocarray(s->types, s->cap, sizeof *s->types);
}

static bool read_piece(struct sp_file *s, const struct proto_field *message)
{
	struct proto_reader r = proto_read(message->bytes, message->n_bytes);
	struct proto_field x;
	grow(s);
	s->pieces[s->n] = (struct tok_text) { "", 0 };
	s->scores[s->n] = 0;
	s->types[s->n] = TOK_NORMAL;
	while (proto_next(&r, &x)) {
		if (x.number == 1 && x.bytes)
			s->pieces[s->n] = (struct tok_text) { x.bytes, x.n_bytes };
		else if (x.number == 2)
			s->scores[s->n] = proto_float(&x);
		else if (x.number == 3)
			s->types[s->n] = x.value <= TOK_BYTE ? (int32_t)x.value : TOK_NORMAL;
	}
	s->n++;
	return !r.is_bad;
}

static bool read_trainer(struct sp_file *s, const struct proto_field *message)
{
	struct proto_reader r = proto_read(message->bytes, message->n_bytes);
	struct proto_field x;
	while (proto_next(&r, &x)) {
		if (x.number == 3)
			s->model_type = x.value;
		else if (x.number == 24)
			s->is_suffix = x.value != 0;
		else if (x.number == 35)
			s->byte_fallback = x.value != 0;
	}
	return !r.is_bad;
}

static bool read_normalizer(struct sp_file *s, const struct proto_field *message)
{
	struct proto_reader r = proto_read(message->bytes, message->n_bytes);
	struct proto_field x;
	while (proto_next(&r, &x)) {
		if (x.number == 2 && x.bytes)
			s->charsmap = (struct tok_text) { x.bytes, x.n_bytes };
		else if (x.number == 3)
			s->dummy_prefix = x.value != 0;
		else if (x.number == 4)
			s->remove_extra = x.value != 0;
		else if (x.number == 5)
			s->escape = x.value != 0;
	}
	return !r.is_bad;
}

static bool read_denormalizer(struct sp_file *s, const struct proto_field *message)
{
	struct proto_reader r = proto_read(message->bytes, message->n_bytes);
	struct proto_field x;
	while (proto_next(&r, &x))
		if (x.number == 2 && x.bytes)
			s->denorm_map = (struct tok_text) { x.bytes, x.n_bytes };
	return !r.is_bad;
}

static int read_model(
	struct sp_file *s, const char *bytes, size_t n, const char *where, struct fault *f)
{
	struct proto_reader r = proto_read(bytes, n);
	struct proto_field x;
	bool ok = true;
	while (ok && proto_next(&r, &x)) {
		if (x.number <= 5 && x.number != 4 && x.bytes == NULL)
			ok = false;
		else if (x.number == 1)
			ok = s->n < VOCAB_IDS_MAX && read_piece(s, &x);
		else if (x.number == 2)
			ok = read_trainer(s, &x);
		else if (x.number == 3)
			ok = read_normalizer(s, &x);
		else if (x.number == 5)
			ok = read_denormalizer(s, &x);
	}
	if (!ok || r.is_bad || s->n == 0)
		return fault_set(f, ERR_TOKENIZER, "%s: is not a SentencePiece model", where);
	if (s->model_type != MODEL_UNIGRAM && s->model_type != MODEL_BPE)
		return fault_set(f, ERR_TOKENIZER,
			"%s: trainer_spec.model_type is %s, which is not understood", where,
			s->model_type == MODEL_WORD ? "WORD" : "CHAR");
	if (s->denorm_map.n > 0)
		return fault_set(f, ERR_TOKENIZER,
			"%s: denormalizer_spec has a charsmap, which is not understood", where);
	return 0;
}

static int add_normalizer(
	struct tokenizer *t, const struct sp_file *s, const char *where, struct fault *f)
{
	struct tok_spnorm *norm = xcalloc(1, sizeof *norm);
	norm->add_dummy_prefix = s->dummy_prefix;
	norm->remove_extra_whitespaces = s->remove_extra;
	norm->escape_whitespaces = s->escape;
	norm->is_suffix = s->is_suffix;
	int err = tok_norms_add_sentencepiece(&t->norms, norm);
	if (err == 0 && s->charsmap.n > 0) {
		norm->charsmap = tok_charsmap_new(s->charsmap.s, s->charsmap.n);
		if (norm->charsmap == NULL)
			err = fault_set(f, ERR_TOKENIZER,
				"%s: normalizer_spec.precompiled_charsmap is damaged", where);
	}
	for (size_t id = 0; err == 0 && id < s->n; id++)
		if (s->types[id] == TOK_USER_DEFINED && s->pieces[id].n > 0)
			tok_trie_add(&norm->kept, s->pieces[id].s, s->pieces[id].n, (int32_t)id);
	return err;
}

static int32_t find_type(const struct sp_file *s, int32_t type)
{
	for (size_t id = 0; id < s->n; id++)
		if (s->types[id] == type)
			return (int32_t)id;
	return -1;
}

static int build(struct tokenizer *t, const struct sp_file *s, const char *where, struct fault *f)
{
	struct tok_arrays a = { .pieces = s->pieces,
		.n_pieces = s->n,
		.scores = s->scores,
		.types = s->types,
		.unk = find_type(s, TOK_UNKNOWN) };
	bool is_bpe = s->model_type == MODEL_BPE;
	int err = add_normalizer(t, s, where, f);
	if (err == 0 && is_bpe)
		err = tok_scores_make_bpe(&t->model, &a, where, f);
	else if (err == 0 && (err = tok_scores_read_pieces(&t->model, &a, where, f)) == 0)
		err = tok_scores_make_unigram(&t->model, &a, true, f);
	if (err)
		return err;
	t->model.byte_fallback = s->byte_fallback;
	tok_model_finish(&t->model);
	t->sp_unk = a.unk;
	tok_decoders_add_sentencepiece(&t->decoders, s->dummy_prefix, s->remove_extra);
	tok_scores_add_tokens(&t->added, &a, is_bpe, true);
	t->bos = tok_vocab_find(&t->model.vocab, "<s>", 3);
	t->eos = tok_vocab_find(&t->model.vocab, "</s>", 4);
	return tok_added_finish(&t->added, NULL, where, f);
}

int tok_sentencepiece_open(
	const char *bytes, size_t n, const char *where, struct tokenizer **out, struct fault *f)
{
	struct sp_file s = { .model_type = MODEL_UNIGRAM,
		.dummy_prefix = true,
		.remove_extra = true,
		.escape = true };
	struct tokenizer *t = tokenizer_new();
	int err = read_model(&s, bytes, n, where, f);
	if (err == 0)
		err = build(t, &s, where, f);
	free(s.pieces);
	free(s.scores);
	free(s.types);
	if (err) {
		tokenizer_free(t);
		t = NULL;
	}
	*out = t;
	return err;
}
