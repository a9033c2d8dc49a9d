/* tok_bpe.c - byte-pair encoding: byte-level (GPT-2, Llama 3) and with byte fallback (Llama 2). */
#include "protocol/utf8.h"
#include "worker/text/tok_bytelevel.h"
#include "worker/text/tok_model.h"
#include <stdio.h>
#include <string.h>

/* -- reading ---------------------------------------------------------------------------- */

/* "left right" or ["left", "right"]. */
static int read_pair(const struct tok_field *x, struct buf *left, struct buf *right)
{
	buf_clear(left);
	buf_clear(right);
	if (json_kind(x->value) == '[') {
		struct json_cursor c = json_iterate(x->value);
		struct json_span a, b, more;
		if (json_next_element(&c, &a) && json_next_element(&c, &b) &&
			!json_next_element(&c, &more) && json_get_str(a, left) &&
			json_get_str(b, right))
			return 0;
		return tok_field_wrong(x, "is not a pair of strings");
	}
	int err = tok_field_str(x, left);
	if (err)
		return err;
	char *space = left->n_bytes ? memchr(left->data, ' ', left->n_bytes) : NULL;
	size_t at = space ? (size_t)(space - left->data) : 0;
	if (space == NULL || memchr(space + 1, ' ', left->n_bytes - at - 1))
		return tok_field_wrong(x, "is not two pieces with one space between");
	buf_add(right, space + 1, left->n_bytes - at - 1);
	left->n_bytes = at;
	return 0;
}

/* Rule `rank`: left + right (less its continuing prefix) must be pieces, and what they make. */
static int add_rule(
	struct tok_model *m, const struct tok_field *x, struct buf *left, struct buf *right)
{
	int32_t a = tok_vocab_find(&m->vocab, left->data, left->n_bytes);
	int32_t b = tok_vocab_find(&m->vocab, right->data, right->n_bytes);
	if (a < 0 || b < 0)
		return tok_field_wrong(x, "merges \"%.60s\", which is not in the vocabulary",
			buf_cstr(a < 0 ? left : right));
	size_t skip = right->n_bytes >= m->prefix.n_bytes ? m->prefix.n_bytes : right->n_bytes;
	buf_add(left, right->data + skip, right->n_bytes - skip);
	int32_t id = tok_vocab_find(&m->vocab, left->data, left->n_bytes);
	if (id < 0)
		return tok_field_wrong(
			x, "makes \"%.60s\", which is not in the vocabulary", buf_cstr(left));
	tok_merges_put(&m->merges, a, b, (struct tok_merge) { (uint32_t)x->index, id });
	return 0;
}

static int read_merges(struct tok_model *m, const struct tok_field *x)
{
	struct buf left = BUF_INIT, right = BUF_INIT;
	struct json_span value;
	int err = tok_field_is_array(x);
	if (err)
		return err;
	struct json_cursor c = json_iterate(x->value);
	for (size_t i = 0; err == 0 && json_next_element(&c, &value); i++) {
		struct tok_field rule = tok_field_element(x, i, value);
		if (i == MERGES_MAX)
			err = tok_field_wrong(x, "has more than %zu rules", MERGES_MAX);
		else if ((err = read_pair(&rule, &left, &right)) == 0)
			err = add_rule(m, &rule, &left, &right);
	}
	buf_release(&left);
	buf_release(&right);
	return err;
}

static int read_affix(const struct tok_field *model, const char *name, struct buf *out)
{
	struct tok_field x = tok_field_get(model, name);
	return tok_field_is_set(&x) ? tok_field_str(&x, out) : 0;
}

static int read_flags(struct tok_model *m, const struct tok_field *x)
{
	struct tok_field fuse = tok_field_get(x, "fuse_unk"),
			 fallback = tok_field_get(x, "byte_fallback"),
			 ignore = tok_field_get(x, "ignore_merges"),
			 dropout = tok_field_get(x, "dropout");
	double chance = 0;
	int err = tok_field_bool(&fuse, false, &m->fuse_unk);
	if (err == 0)
		err = tok_field_bool(&fallback, false, &m->byte_fallback);
	if (err == 0)
		err = tok_field_bool(&ignore, false, &m->ignore_merges);
	if (err == 0 && tok_field_is_set(&dropout) &&
		(!json_get_num(dropout.value, &chance) || chance != 0))
		err = tok_field_wrong(&dropout, "would make tokenizing random; only null is taken");
	return err;
}

static int read_bpe(struct tok_model *m, const struct tok_field *x)
{
	struct tok_field vocab = tok_field_get(x, "vocab"), merges = tok_field_get(x, "merges");
	int err =
		tok_field_knows(x, "type vocab merges unk_token dropout continuing_subword_prefix "
				   "end_of_word_suffix fuse_unk byte_fallback ignore_merges");
	if (err == 0)
		err = read_flags(m, x);
	if (err == 0)
		err = read_affix(x, "continuing_subword_prefix", &m->prefix);
	if (err == 0)
		err = read_affix(x, "end_of_word_suffix", &m->suffix);
	if (err == 0)
		err = tok_model_read_vocab(m, &vocab);
	if (err == 0)
		err = tok_model_read_unk(m, x);
	if (err == 0)
		err = read_merges(m, &merges);
	return err;
}

/* -- encoding --------------------------------------------------------------------------- */

/* Pieces nobody knows wait here: neighbours fuse into one unk if the file says so. */
struct unk_run {
	bool is_open;
};

static void close_unk(const struct tok_model *m, struct merge_work *w, struct unk_run *u)
{
	if (u->is_open)
		merge_work_push(w, m->unk);
	u->is_open = false;
}

static void add_unk(const struct tok_model *m, struct merge_work *w, struct unk_run *u)
{
	if (m->unk < 0)
		return; /* the file gives no way to write it: Hugging Face drops it too */
	if (!m->fuse_unk)
		close_unk(m, w, u);
	u->is_open = true;
}

static bool add_fallback(const struct tok_model *m, struct merge_work *w, const struct buf *s)
{
	for (size_t i = 0; i < s->n_bytes; i++)
		if (m->byte_ids[(unsigned char)s->data[i]] < 0)
			return false;
	for (size_t i = 0; i < s->n_bytes; i++)
		merge_work_push(w, m->byte_ids[(unsigned char)s->data[i]]);
	return true;
}

static void start_bytes(const struct tok_model *m, struct merge_work *w, const char *s, size_t n)
{
	struct unk_run u = { false };
	for (size_t i = 0; i < n; i++) {
		int32_t id = m->byte_ids[(unsigned char)s[i]];
		if (id < 0) {
			add_unk(m, w, &u);
			continue;
		}
		close_unk(m, w, &u);
		merge_work_push(w, id);
	}
	close_unk(m, w, &u);
}

static int32_t find_char(const struct tok_model *m, const struct buf *c)
{
	int32_t id = tok_vocab_find(&m->vocab, c->data, c->n_bytes);
	if (id >= 0 || m->loose.n_ids == 0)
		return id;
	id = tok_vocab_find(&m->loose, c->data, c->n_bytes);
	return id >= 0 ? id + (int32_t)m->vocab.n_ids : -1;
}

static void start_chars(const struct tok_model *m, struct tok_work *work, const char *s, size_t n)
{
	struct merge_work *w = &work->merge;
	struct unk_run u = { false };
	struct buf *c = &work->word;
	for (size_t at = 0; at < n;) {
		uint32_t cp;
		int len = utf8_decode(s + at, n - at, &cp);
		len = len > 0 ? len : 1;
		buf_clear(c);
		if (at > 0)
			buf_add(c, m->prefix.data, m->prefix.n_bytes);
		buf_add(c, s + at, (size_t)len);
		at += (size_t)len;
		if (at == n)
			buf_add(c, m->suffix.data, m->suffix.n_bytes);
		int32_t id = find_char(m, c);
		if (id >= 0) {
			close_unk(m, w, &u);
			merge_work_push(w, id);
		} else if (!m->byte_fallback || !add_fallback(m, w, c)) {
			add_unk(m, w, &u);
		}
	}
	close_unk(m, w, &u);
}

/* Loose characters that found no partner end as their bytes, or unknown. */
static void push_merged(const struct tok_model *m, struct tok_run *r)
{
	const struct merge_work *w = &r->work->merge;
	bool spell = m->byte_fallback && m->has_all_bytes, after_unk = false;
	for (size_t i = 0; i < w->n; i++) {
		size_t n = 0;
		int64_t loose = (int64_t)w->ids[i] - (int64_t)m->vocab.n_ids;
		const char *s = tok_vocab_get(&m->loose, loose, &n);
		for (size_t k = 0; spell && k < n; k++)
			tok_ids_push(r->out, m->byte_ids[(unsigned char)s[k]]);
		if (s && spell)
			continue;
		int32_t id = s ? m->unk : w->ids[i];
		if (id >= 0 && !(id == m->unk && after_unk && m->fuse_unk))
			tok_ids_push(r->out, id);
		after_unk = id == m->unk;
	}
}

static int encode_bpe(const struct tok_model *m, struct tok_run *r, const char *s, size_t n)
{
	struct merge_work *w = &r->work->merge;
	w->n = 0;
	if (n >= INT32_MAX / 2)
		return fault_set(r->fault, ERR_TOKENIZER, "a word of %zu bytes is too long", n);
	if (m->ignore_merges) {
		int32_t id = tok_vocab_find(m->is_bytes ? &m->raw : &m->vocab, s, n);
		if (id >= 0) {
			tok_ids_push(r->out, id);
			return 0;
		}
	}
	if (m->is_bytes)
		start_bytes(m, w, s, n);
	else
		start_chars(m, r->work, s, n);
	tok_merges_apply(&m->merges, w);
	if (m->loose.n_ids > 0) {
		push_merged(m, r);
		return 0;
	}
	for (size_t i = 0; i < w->n; i++)
		tok_ids_push(r->out, w->ids[i]);
	return 0;
}

const struct model_kind tok_bpe_kind = { "BPE", "bpe", read_bpe, encode_bpe };
