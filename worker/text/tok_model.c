/* tok_model.c - the model stage: which kind, its vocabulary, and the cache of words. */
#include "worker/text/tok_model.h"
#include "worker/text/tok_bytelevel.h"
#include "worker/text/tok_cache.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct model_kind *const kinds[] = { &tok_bpe_kind, &tok_unigram_kind,
	&tok_wordpiece_kind, &tok_wordlevel_kind };

int tok_model_read_vocab(struct tok_model *m, const struct tok_field *x)
{
	struct buf piece = BUF_INIT;
	struct json_span key, value;
	int err = tok_field_is_object(x);
	if (err)
		return err;
	struct json_cursor c = json_iterate(x->value);
	while (err == 0 && json_next_member(&c, &key, &value)) {
		int64_t id;
		buf_clear(&piece);
		json_get_str(key, &piece);
		if (!json_get_int(value, &id)) {
			err = tok_field_wrong(
				x, "gives \"%.60s\" something that is not an id", buf_cstr(&piece));
			break;
		}
		enum vocab_put put = tok_vocab_put(&m->vocab, id, piece.data, piece.n_bytes);
		if (put != VOCAB_OK)
			err = tok_field_wrong(x, ": the piece \"%.60s\" %s", buf_cstr(&piece),
				tok_vocab_put_text(put));
	}
	buf_release(&piece);
	return err;
}

int tok_model_read_unk(struct tok_model *m, const struct tok_field *model)
{
	struct tok_field x = tok_field_get(model, "unk_token");
	struct buf piece = BUF_INIT;
	m->unk = -1;
	if (!tok_field_is_set(&x))
		return 0;
	int err = tok_field_str(&x, &piece);
	if (err == 0) {
		m->unk = tok_vocab_find(&m->vocab, piece.data, piece.n_bytes);
		if (m->unk < 0)
			err = tok_field_wrong(&x, "is not in the vocabulary");
	}
	buf_release(&piece);
	return err;
}

void tok_model_find_bytes(struct tok_model *m)
{
	m->has_all_bytes = true;
	for (int b = 0; b < 256; b++) {
		char piece[8];
		int n = snprintf(piece, sizeof piece, "<0x%02X>", (unsigned)b);
		m->byte_ids[b] = tok_vocab_find(&m->vocab, piece, (size_t)n);
		m->has_all_bytes &= m->byte_ids[b] >= 0;
	}
}

/* Files of earlier years leave the type out: what they hold tells it. */
static const char *guess_type(const struct tok_field *x)
{
	if (json_find(x->value, "merges").at)
		return "BPE";
	if (json_kind(json_find(x->value, "vocab")) == '[')
		return "Unigram";
	return json_find(x->value, "max_input_chars_per_word").at ? "WordPiece" : "WordLevel";
}

int tok_model_read(struct tok_model *m, const struct tok_field *x)
{
	struct tok_field type = tok_field_get(x, "type");
	char name[32];
	int err = tok_field_is_object(x);
	if (err)
		return err;
	if (!tok_field_is_set(&type))
		snprintf(name, sizeof name, "%s", guess_type(x));
	else if (!json_copy_str(type.value, name, sizeof name))
		return tok_field_wrong(&type, "is not the name of a model");
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(kinds[i]->type, name) == 0) {
			m->kind = kinds[i];
			m->unk = -1;
			err = kinds[i]->read(m, x);
			tok_model_find_bytes(m);
			return err;
		}
	return tok_field_wrong(&type, "is \"%s\", a model that is not understood", name);
}

bool tok_model_use_bytes(struct tok_model *m)
{
	struct buf bytes = BUF_INIT;
	if (m->kind != &tok_bpe_kind || m->prefix.n_bytes || m->suffix.n_bytes)
		return false;
	m->is_bytes = true;
	memset(m->byte_ids, 0xff, sizeof m->byte_ids);
	for (size_t id = 0; id < m->vocab.n_ids; id++) {
		size_t n;
		const char *s = tok_vocab_get(&m->vocab, (int64_t)id, &n);
		buf_clear(&bytes);
		if (s == NULL || !bytelevel_read(s, n, &bytes))
			continue;
		tok_vocab_put_twin(&m->raw, (int64_t)id, bytes.data, bytes.n_bytes);
		if (bytes.n_bytes == 1)
			m->byte_ids[(unsigned char)bytes.data[0]] = (int32_t)id;
	}
	buf_release(&bytes);
	return true;
}

/* -- encoding --------------------------------------------------------------------------------- */

static int encode_word(struct tok_run *r, const char *s, size_t n)
{
	const struct tok_model *m = &r->t->model;
	struct tok_ids *out = r->out;
	size_t before = out->n;
	if (r->work->cache == NULL || n > WORD_BYTES_MAX)
		return m->kind->encode(m, r, s, n);
	struct word_entry *e = word_cache_at(r->work->cache, s, n);
	if (word_entry_is(e, s, n)) {
		for (size_t i = 0; i < e->n_ids; i++)
			tok_ids_push(out, e->ids[i]);
		return 0;
	}
	int err = m->kind->encode(m, r, s, n);
	if (err == 0 && out->n - before <= WORD_IDS_MAX)
		word_entry_set(e, s, n, out->ids + before, out->n - before);
	return err;
}

static const char MARK[] = "\xe2\x96\x81"; /* U+2581, a space in SentencePiece's pieces */
#define N_MARK 3

static bool is_mark(const char *s, const char *end)
{
	return end - s >= N_MARK && memcmp(s, MARK, N_MARK) == 0;
}

/* Whether a rule may join the character before s[at] to the mark there. */
static bool is_joined(const struct tok_model *m, const char *s, size_t at)
{
	size_t width = 1;
	while (width < 4 && width < at && ((unsigned char)s[at - width] & 0xc0) == 0x80)
		width++;
	int32_t left = tok_vocab_find(&m->vocab, s + at - width, width);
	return left < 0 || tok_merges_find(&m->joins, left, m->mark).rank != MERGE_NO_RANK;
}

/* A whole text as one word, as Llama 2 has it: cut in front of each run of marks, unless a
 * rule reaches across. */
static int encode_cut(struct tok_run *r, const char *s, size_t n)
{
	const struct tok_model *m = &r->t->model;
	const char *end = s + n, *start = s, *at = s;
	int err = 0;
	while (err == 0 && start < end) {
		while (is_mark(at, end))
			at += N_MARK;
		do
			at = memchr(at, MARK[0], (size_t)(end - at));
		while (at && !is_mark(at, end) && at++);
		at = at ? at : end;
		if (at < end && m->has_inner_marks && is_joined(m, s, (size_t)(at - s)))
			continue;
		err = encode_word(r, start, (size_t)(at - start));
		start = at;
	}
	return err;
}

int tok_model_encode(struct tok_run *r, const char *s, size_t n)
{
	return r->t->model.cuts_at_spaces ? encode_cut(r, s, n) : encode_word(r, s, n);
}

/* Whether a mark follows something else within the piece. */
static bool has_inner_mark(const char *s, size_t n)
{
	const char *at = s, *end = s + n;
	while (is_mark(at, end))
		at += N_MARK;
	return memmem(at, (size_t)(end - at), MARK, N_MARK) != NULL;
}

void tok_model_finish(struct tok_model *m)
{
	if (m->kind != &tok_bpe_kind)
		return;
	tok_bpe_find_seams(m);
	m->mark = tok_vocab_find(&m->vocab, MARK, N_MARK);
	m->cuts_at_spaces = !m->is_bytes && !m->ignore_merges && m->has_seams && m->mark >= 0;
	for (size_t i = 0; m->cuts_at_spaces && i < m->merges.n_slots; i++) {
		size_t n;
		const char *s = tok_vocab_get(&m->vocab, m->merges.slots[i].to.id, &n);
		if (m->merges.slots[i].pair != UINT64_MAX && s && has_inner_mark(s, n))
			m->has_inner_marks = true;
	}
}

void tok_model_release(struct tok_model *m)
{
	tok_vocab_release(&m->vocab);
	tok_vocab_release(&m->raw);
	tok_vocab_release(&m->loose);
	tok_merges_release(&m->merges);
	tok_merges_release(&m->joins);
	tok_trie_release(&m->trie);
	buf_release(&m->prefix);
	buf_release(&m->suffix);
	free(m->scores);
	*m = (struct tok_model) { 0 };
}
