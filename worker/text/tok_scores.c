/* tok_scores.c - BPE and unigram models from pieces and their scores. */
#include "worker/text/tok_scores.h"
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "worker/text/tok_model.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t type_of(const struct tok_arrays *a, size_t id)
{
	return a->types ? a->types[id] : TOK_NORMAL;
}

static float score_of(const struct tok_arrays *a, size_t id)
{
	return a->scores ? a->scores[id] : 0.0f;
}

int tok_scores_read_pieces(
	struct tok_model *m, const struct tok_arrays *a, const char *where, struct fault *f)
{
	if (a->n_pieces == 0 || a->n_pieces >= VOCAB_IDS_MAX)
		return fault_set(
			f, ERR_TOKENIZER, "%s: the vocabulary has %zu pieces", where, a->n_pieces);
	for (size_t id = 0; id < a->n_pieces; id++) {
		struct tok_text p = a->pieces[id];
		char blank[32];
		/* Padding of converted models. */
		if (p.n == 0) {
			p.s = blank;
			p.n = (size_t)snprintf(blank, sizeof blank, "[EMPTY_%zu]", id);
		}
		if (!utf8_is_valid(p.s, p.n) || !isfinite(score_of(a, id)))
			return fault_set(f, ERR_TOKENIZER,
				"%s: piece %zu of the vocabulary has bad text or score", where, id);
		enum vocab_put put = tok_vocab_put(&m->vocab, (int64_t)id, p.s, p.n);
		if (put != VOCAB_OK)
			return fault_set(f, ERR_TOKENIZER, "%s: piece %zu \"%.*s\" %s", where, id,
				(int)(p.n < 60 ? p.n : 60), p.s, tok_vocab_put_text(put));
	}
	return 0;
}

/* -- BPE ---------------------------------------------------------------------------------- */

struct ranked {
	float score;
	int32_t id;
};

static int by_score(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return (x->score < y->score) - (x->score > y->score);
}

/* Equal scores share a rank: of those the leftmost pair merges first. */
static uint32_t *rank_pieces(const struct tok_arrays *a)
{
	struct ranked *order = xreallocarray(NULL, a->n_pieces, sizeof *order);
	uint32_t *rank = xreallocarray(NULL, a->n_pieces, sizeof *rank);
	for (size_t id = 0; id < a->n_pieces; id++)
		order[id] = (struct ranked) { score_of(a, id), (int32_t)id };
	qsort(order, a->n_pieces, sizeof *order, by_score);
	uint32_t at = 0;
	for (size_t i = 0; i < a->n_pieces; i++) {
		at += i > 0 && order[i].score < order[i - 1].score;
		rank[order[i].id] = at;
	}
	free(order);
	return rank;
}

static size_t char_width(const char *s, size_t n)
{
	uint32_t cp;
	int len = utf8_decode(s, n, &cp);
	return len > 0 ? (size_t)len : 1;
}

/* Characters that are no piece but occur in pieces get ids behind the vocabulary, so that
 * rules can speak of them. */
static void find_loose_chars(struct tok_model *m)
{
	for (size_t id = 0; id < m->vocab.n_ids; id++) {
		size_t n, width;
		const char *s = tok_vocab_get(&m->vocab, (int64_t)id, &n);
		for (size_t at = 0; s && at < n; at += width) {
			width = char_width(s + at, n - at);
			if (width == n || tok_vocab_find(&m->vocab, s + at, width) >= 0)
				continue;
			tok_vocab_put(&m->loose, (int64_t)m->loose.n_ids, s + at, width);
		}
	}
}

static int32_t find_side(const struct tok_model *m, const char *s, size_t n)
{
	int32_t id = tok_vocab_find(&m->vocab, s, n);
	if (id >= 0)
		return id;
	id = n <= 4 ? tok_vocab_find(&m->loose, s, n) : -1;
	return id >= 0 ? id + (int32_t)m->vocab.n_ids : -1;
}

/* Pieces longer than this are control texts or hostile; a rule for every cut of them would
 * cost the square of their length. */
#define PIECE_MAX 1024

static void add_rules_of(struct tok_model *m, int32_t id, uint32_t rank)
{
	size_t n;
	const char *s = tok_vocab_get(&m->vocab, id, &n);
	for (size_t at = char_width(s, n); n <= PIECE_MAX && at < n;
		at += char_width(s + at, n - at)) {
		int32_t left = find_side(m, s, at), right = find_side(m, s + at, n - at);
		if (left >= 0 && right >= 0)
			tok_merges_put(&m->merges, left, right, (struct tok_merge) { rank, id });
	}
}

int tok_scores_make_bpe(
	struct tok_model *m, const struct tok_arrays *a, const char *where, struct fault *f)
{
	m->kind = &tok_bpe_kind;
	m->byte_fallback = true;
	m->fuse_unk = true;
	m->unk = a->unk >= 0 && (size_t)a->unk < a->n_pieces ? a->unk : -1;
	int err = tok_scores_read_pieces(m, a, where, f);
	if (err)
		return err;
	find_loose_chars(m);
	uint32_t *rank = rank_pieces(a);
	for (size_t id = 0; id < a->n_pieces; id++)
		add_rules_of(m, (int32_t)id, rank[id]);
	free(rank);
	tok_model_find_bytes(m);
	return 0;
}

/* -- unigram ------------------------------------------------------------------------------- */

int tok_scores_make_unigram(
	struct tok_model *m, const struct tok_arrays *a, bool as_sentencepiece, struct fault *f)
{
	float min = FLT_MAX, max = -FLT_MAX;
	m->kind = &tok_unigram_kind;
	m->fuse_unk = true;
	m->float_scores = as_sentencepiece;
	m->unk = a->unk >= 0 && (size_t)a->unk < a->n_pieces ? a->unk : -1;
	m->scores = xcalloc(a->n_pieces, sizeof *m->scores);
	for (size_t id = 0; id < a->n_pieces; id++) {
		if (type_of(a, id) == TOK_NORMAL && score_of(a, id) < min)
			min = score_of(a, id);
		if (type_of(a, id) == TOK_NORMAL && score_of(a, id) > max)
			max = score_of(a, id);
	}
	for (size_t id = 0; id < a->n_pieces; id++) {
		int32_t type = type_of(a, id);
		m->scores[id] = score_of(a, id);
		if (type == TOK_USER_DEFINED)
			m->scores[id] = as_sentencepiece
						? (double)((float)a->pieces[id].n * max) - 0.1
						: 0.0;
		bool is_usable = type == TOK_NORMAL || type == TOK_USER_DEFINED ||
				 (type == TOK_UNUSED && !as_sentencepiece);
		if (is_usable && a->pieces[id].n > 0 &&
			!tok_trie_add(&m->trie, a->pieces[id].s, a->pieces[id].n, (int32_t)id))
			return fault_set(f, ERR_TOKENIZER, "the vocabulary is too large");
	}
	m->unk_score = min - 10.0f;
	tok_model_find_bytes(m);
	return 0;
}

/* -- tokens that are cut out of the text ---------------------------------------------------- */

/* Ends of turns and marks for filling in that some converters left as other types: llama.cpp
 * takes them for control tokens by their names, and so must we to give its ids. */
static bool is_control_name(struct tok_text p)
{
	static const char *const names[] = { "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>",
		"<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>",
		"<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
		"<end_of_utterance>", "<｜end▁of▁sentence｜>", "<|fim_prefix|>", "<|fim_suffix|>",
		"<|fim_middle|>", "<|fim_pad|>", "<|fim_repo|>", "<|repo_name|>", "<|file_sep|>",
		"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<fim-prefix>",
		"<fim-suffix>", "<fim-middle>", "<fim-pad>", "<fim-repo>", "<reponame>", "<PRE>",
		"<SUF>", "<MID>", "<PAD>", "<REPO>", "▁<PRE>", "▁<SUF>", "▁<MID>",
		"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strlen(names[i]) == p.n && memcmp(names[i], p.s, p.n) == 0)
			return true;
	return false;
}

void tok_scores_add_tokens(
	struct tok_added *added, const struct tok_arrays *a, bool cut_user, bool normalized)
{
	for (size_t id = 0; id < a->n_pieces; id++) {
		int32_t type = type_of(a, id);
		struct tok_text p = a->pieces[id];
		bool is_control = type == TOK_CONTROL || type == TOK_UNKNOWN || is_control_name(p);
		if (p.n == 0 || p.n > 1024 ||
			(!is_control && (type != TOK_USER_DEFINED || !cut_user)))
			continue;
		struct added_token t = { .id = (int32_t)id, .special = is_control };
		t.normalized = !is_control && normalized;
		buf_add(&t.content, p.s, p.n);
		tok_added_put(added, t);
	}
}
