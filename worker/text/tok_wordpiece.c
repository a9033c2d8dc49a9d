/* tok_wordpiece.c - whole words, or the longest pieces from the left (BERT). */
#include "worker/text/tok_model.h"
#include "worker/text/tok_unicode.h"

/* -- WordPiece ------------------------------------------------------------------------------- */

static int read_wordpiece(struct tok_model *m, const struct tok_field *x)
{
	struct tok_field vocab = tok_field_get(x, "vocab"),
			 prefix = tok_field_get(x, "continuing_subword_prefix"),
			 max = tok_field_get(x, "max_input_chars_per_word"),
			 unk = tok_field_get(x, "unk_token");
	int err = tok_field_knows(
		x, "type unk_token continuing_subword_prefix max_input_chars_per_word vocab");
	if (err == 0)
		err = tok_model_read_vocab(m, &vocab);
	if (err == 0)
		err = tok_model_read_unk(m, x);
	if (err == 0 && m->unk < 0)
		err = tok_field_wrong(&unk, "is missing");
	if (err == 0)
		err = tok_field_int(&max, 100, &m->max_chars);
	if (err == 0 && tok_field_is_set(&prefix))
		err = tok_field_str(&prefix, &m->prefix);
	else if (err == 0)
		buf_adds(&m->prefix, "##");
	if (err == 0 && !tok_wordpiece_finish(m))
		err = tok_field_wrong(&vocab, "is too large");
	return err;
}

bool tok_wordpiece_finish(struct tok_model *m)
{
	for (size_t id = 0; id < m->vocab.n_ids; id++) {
		size_t n;
		const char *s = tok_vocab_get(&m->vocab, (int64_t)id, &n);
		if (s && n > 0 && !tok_trie_add(&m->trie, s, n, (int32_t)id))
			return false;
	}
	return true;
}

/* The trie node behind the continuing prefix; 0 if no piece has it (and the prefix is not
 * empty: then *ok is false). */
static uint32_t behind_prefix(const struct tok_model *m, bool *ok)
{
	uint32_t node = 0;
	*ok = true;
	for (size_t i = 0; i < m->prefix.n_bytes && *ok; i++) {
		node = tok_trie_step(&m->trie, node, (unsigned char)m->prefix.data[i]);
		*ok = node != 0;
	}
	return node;
}

static size_t longest_from(
	const struct tok_model *m, uint32_t node, struct tok_piece in, int32_t *id)
{
	size_t longest = 0;
	for (size_t k = 0; k < in.n; k++) {
		node = tok_trie_step(&m->trie, node, (unsigned char)in.s[k]);
		if (node == 0)
			break;
		/* A piece that ends inside a character is none of this text's. */
		bool is_whole = k + 1 == in.n || ((unsigned char)in.s[k + 1] & 0xc0) != 0x80;
		if (m->trie.values[node] >= 0 && is_whole) {
			longest = k + 1;
			*id = m->trie.values[node];
		}
	}
	return longest;
}

static bool is_too_long(const struct tok_model *m, const char *s, size_t n)
{
	int64_t n_chars = 0;
	for (size_t at = 0; at < n && n_chars <= m->max_chars; n_chars++)
		uni_next(s, n, &at);
	return n_chars > m->max_chars;
}

static int encode_wordpiece(const struct tok_model *m, struct tok_run *r, const char *s, size_t n)
{
	size_t before = r->out->n;
	bool ok;
	uint32_t inner = behind_prefix(m, &ok);
	if (is_too_long(m, s, n)) {
		tok_ids_push(r->out, m->unk);
		return 0;
	}
	for (size_t at = 0; at < n;) {
		int32_t id;
		size_t length =
			at > 0 && !ok ? 0
				      : longest_from(m, at > 0 ? inner : 0,
						(struct tok_piece) { s + at, n - at, false }, &id);
		if (length == 0) {
			r->out->n = before;
			tok_ids_push(r->out, m->unk);
			return 0;
		}
		tok_ids_push(r->out, id);
		at += length;
	}
	return 0;
}

const struct model_kind tok_wordpiece_kind = { "WordPiece", "wordpiece", read_wordpiece,
	encode_wordpiece };

/* -- WordLevel ------------------------------------------------------------------------------- */

static int read_wordlevel(struct tok_model *m, const struct tok_field *x)
{
	struct tok_field vocab = tok_field_get(x, "vocab");
	int err = tok_field_knows(x, "type unk_token vocab");
	if (err == 0)
		err = tok_model_read_vocab(m, &vocab);
	return err ? err : tok_model_read_unk(m, x);
}

static int encode_wordlevel(const struct tok_model *m, struct tok_run *r, const char *s, size_t n)
{
	int32_t id = tok_vocab_find(&m->vocab, s, n);
	if (id < 0 && m->unk < 0)
		return fault_set(r->fault, ERR_TOKENIZER,
			"The text has a word that the vocabulary lacks, and there is no token for "
			"the unknown");
	tok_ids_push(r->out, id >= 0 ? id : m->unk);
	return 0;
}

const struct model_kind tok_wordlevel_kind = { "WordLevel", "wordlevel", read_wordlevel,
	encode_wordlevel };
