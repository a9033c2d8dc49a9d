/* tok_unigram.c - the unigram language model: the most probable cut of a word (Kudo 2018). */
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "worker/text/tok_model.h"
#include <stdlib.h>
#include <string.h>

#define UNK_PENALTY 10.0 /* below the least probable piece, as SentencePiece has it */

/* -- reading --------------------------------------------------------------------------------- */

static int add_piece(struct tok_model *m, const struct tok_field *x, size_t *cap)
{
	struct json_cursor c = json_iterate(x->value);
	struct json_span text, score, more;
	struct buf piece = BUF_INIT;
	double value = 0;
	int err = tok_field_is_array(x);
	if (err)
		return err;
	if (!json_next_element(&c, &text) || !json_get_str(text, &piece) ||
		!json_next_element(&c, &score) || !json_get_num(score, &value) ||
		json_next_element(&c, &more))
		err = tok_field_wrong(x, "is not a piece and its score");
	if (err == 0)
		err = tok_unigram_add(m, piece.data, piece.n_bytes, value, cap)
			      ? 0
			      : tok_field_wrong(x, "is one piece too many");
	buf_release(&piece);
	return err;
}

bool tok_unigram_add(struct tok_model *m, const char *s, size_t n, double score, size_t *cap)
{
	size_t id = m->vocab.n_ids;
	/* Of twins the later counts, as in Hugging Face's table. */
	if (tok_vocab_put_newest(&m->vocab, (int64_t)id, s, n) != VOCAB_OK)
		return false;
	if (id >= *cap) {
		*cap = *cap ? 2 * *cap : 1024;
		m->scores = xreallocarray(m->scores, *cap, sizeof *m->scores);
	}
	m->scores[id] = score;
	if (id == 0 || score < m->unk_score + UNK_PENALTY)
		m->unk_score = score - UNK_PENALTY;
	return true;
}

bool tok_unigram_finish(struct tok_model *m)
{
	for (size_t id = 0; id < m->vocab.n_ids; id++) {
		size_t n;
		const char *s = tok_vocab_get(&m->vocab, (int64_t)id, &n);
		if (n > 0 && tok_vocab_find(&m->vocab, s, n) == (int32_t)id &&
			!tok_trie_add(&m->trie, s, n, (int32_t)id))
			return false;
	}
	return true;
}

static int read_unigram(struct tok_model *m, const struct tok_field *x)
{
	struct tok_field vocab = tok_field_get(x, "vocab"), unk = tok_field_get(x, "unk_id"),
			 fallback = tok_field_get(x, "byte_fallback");
	struct json_span value;
	int64_t unk_id;
	size_t cap = 0;
	int err = tok_field_knows(x, "type unk_id vocab byte_fallback");
	if (err == 0)
		err = tok_field_is_array(&vocab);
	if (err == 0)
		err = tok_field_int(&unk, -1, &unk_id);
	if (err == 0)
		err = tok_field_bool(&fallback, false, &m->byte_fallback);
	if (err)
		return err;
	struct json_cursor c = json_iterate(vocab.value);
	for (size_t i = 0; err == 0 && json_next_element(&c, &value); i++) {
		struct tok_field piece = tok_field_element(&vocab, i, value);
		err = add_piece(m, &piece, &cap);
	}
	if (err == 0 && tok_field_is_set(&unk) &&
		(unk_id < 0 || (uint64_t)unk_id >= m->vocab.n_ids))
		err = tok_field_wrong(&unk, "is not in the vocabulary");
	if (err == 0 && !tok_unigram_finish(m))
		err = tok_field_wrong(&vocab, "is too large");
	m->unk = (int32_t)unk_id;
	m->fuse_unk = true;
	return err;
}

/* -- encoding -------------------------------------------------------------------------------- */

struct cell { /* the best way to a byte of the word */
	double score;
	int32_t id;
	int32_t length; /* bytes of the piece that ends here; 0: no way yet */
};

/* The cells of a stretch of the word, from byte `base` on; cell 0 carries the score so far,
 * so that sums are the same as over the whole word. */
struct lattice {
	struct cell *cells;
	size_t furthest; /* no piece seen so far ends behind it */
};

static void reserve(struct tok_work *w, struct lattice *l, size_t n)
{
	if (n + 1 > w->cap_cells) {
		w->cap_cells = 2 * (n + 1);
		w->cells = xreallocarray(w->cells, w->cap_cells, sizeof(struct cell));
	}
	l->cells = w->cells;
	for (size_t i = l->furthest + 1; i <= n; i++)
		l->cells[i].length = 0;
	if (n > l->furthest)
		l->furthest = n;
}

static void reach(const struct tok_model *m, struct lattice *l, size_t from, struct cell by)
{
	struct cell *to = &l->cells[from + (size_t)by.length];
	by.score += l->cells[from].score;
	if (m->float_scores)
		by.score = (float)by.score;
	if (to->length != 0 && by.score <= to->score)
		return;
	*to = by;
}

/* All pieces that begin at byte `at` of the lattice, where s is. Returns the character's
 * width. */
static size_t search_from(const struct tok_model *m, struct tok_work *w, struct lattice *l,
	size_t at, struct tok_piece in)
{
	uint32_t cp, node = 0;
	int len = utf8_decode(in.s, in.n, &cp);
	size_t width = len > 0 ? (size_t)len : 1;
	bool has_single = false;
	for (size_t k = 0; k < in.n; k++) {
		node = tok_trie_step(&m->trie, node, (unsigned char)in.s[k]);
		if (node == 0)
			break;
		int32_t id = m->trie.values[node];
		if (id < 0)
			continue;
		reserve(w, l, at + k + 1);
		reach(m, l, at, (struct cell) { m->scores[id], id, (int32_t)(k + 1) });
		has_single |= k + 1 == width;
	}
	if (!has_single) {
		reserve(w, l, at + width);
		reach(m, l, at, (struct cell) { m->unk_score, m->unk, (int32_t)width });
	}
	return width;
}

/* A run of unknown characters is one piece: its own id if it has one, else its bytes, else
 * the unknown token. Pushed backwards, as the path is walked. */
static int push_unknown(const struct tok_model *m, struct tok_run *r, const char *s, size_t n)
{
	int32_t id = tok_vocab_find(&m->vocab, s, n);
	if (id < 0 && m->byte_fallback && m->has_all_bytes) {
		for (size_t i = n; i-- > 0;)
			merge_work_push(&r->work->merge, m->byte_ids[(unsigned char)s[i]]);
		return 0;
	}
	if (id < 0 && m->unk < 0)
		return fault_set(r->fault, ERR_TOKENIZER,
			"The text has a character that the vocabulary lacks, and there is no "
			"token for the unknown");
	merge_work_push(&r->work->merge, id >= 0 ? id : m->unk);
	return 0;
}

/* The best path over s[0..n), which is the whole lattice. */
static int write_path(
	const struct tok_model *m, struct tok_run *r, const struct cell *cells, struct tok_piece in)
{
	struct merge_work *path = &r->work->merge;
	path->n = 0;
	for (size_t end = in.n; end > 0;) {
		size_t start = end - (size_t)cells[end].length;
		if (cells[end].id != m->unk) {
			merge_work_push(path, cells[end].id);
		} else {
			while (start > 0 && cells[start].id == m->unk)
				start -= (size_t)cells[start].length;
			int err = push_unknown(m, r, in.s + start, end - start);
			if (err)
				return err;
		}
		end = start;
	}
	for (size_t i = path->n; i-- > 0;)
		tok_ids_push(r->out, path->ids[i]);
	return 0;
}

#define CUT_FROM   4096                /* bytes; a shorter lattice is not worth a cut */
#define SEARCH_MAX ((size_t)128 << 20) /* bytes without a place where all paths meet */

/* Where no piece reaches across a byte, every path goes through it: the best one up to there
 * is final and its memory free for what follows. */
static int encode_unigram(const struct tok_model *m, struct tok_run *r, const char *s, size_t n)
{
	struct lattice l = { 0 };
	size_t base = 0, at = 0;
	reserve(r->work, &l, 0);
	l.cells[0] = (struct cell) { 0, -1, 0 };
	while (base + at < n) {
		at += search_from(m, r->work, &l, at,
			(struct tok_piece) { s + base + at, n - base - at, false });
		if (at > SEARCH_MAX)
			return fault_set(r->fault, ERR_TOKENIZER,
				"A word of more than %zu bytes is too long to cut", SEARCH_MAX);
		if (at < CUT_FROM || l.furthest > at || l.cells[at].id == m->unk || base + at == n)
			continue;
		double score = l.cells[at].score;
		int err = write_path(m, r, l.cells, (struct tok_piece) { s + base, at, false });
		if (err)
			return err;
		base += at;
		at = l.furthest = 0;
		l.cells[0] = (struct cell) { score, -1, 0 };
	}
	return write_path(m, r, l.cells, (struct tok_piece) { s + base, at, false });
}

const struct model_kind tok_unigram_kind = { "Unigram", "unigram", read_unigram, encode_unigram };
