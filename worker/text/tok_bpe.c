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

#define AFFIX_MAX 256

static int read_affix(const struct tok_field *model, const char *name, struct buf *out)
{
	struct tok_field x = tok_field_get(model, name);
	int err = tok_field_is_set(&x) ? tok_field_str(&x, out) : 0;
	/* It is added to every character of a word. */
	return err || out->n_bytes <= AFFIX_MAX
		       ? err
		       : tok_field_wrong(&x, "is longer than %d bytes", AFFIX_MAX);
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

/* -- seams ----------------------------------------------------------------------------------- */

static int32_t find_char(const struct tok_model *m, const char *s, size_t n)
{
	int32_t id = tok_vocab_find(&m->vocab, s, n);
	if (id >= 0 || m->loose.n_ids == 0)
		return id;
	id = tok_vocab_find(&m->loose, s, n);
	return id >= 0 ? id + (int32_t)m->vocab.n_ids : -1;
}

static size_t char_width(const char *s, size_t n)
{
	uint32_t cp;
	int len = utf8_decode(s, n, &cp);
	return len > 0 ? (size_t)len : 1;
}

static void join_piece(struct tok_model *m, int32_t id)
{
	size_t n, width;
	const char *s = tok_vocab_get(m->is_bytes ? &m->raw : &m->vocab, id, &n);
	int32_t last = -1;
	for (size_t at = 0; s && at < n; at += width) {
		width = m->is_bytes ? 1 : char_width(s + at, n - at);
		int32_t next = m->is_bytes ? m->byte_ids[(unsigned char)s[at]]
					   : find_char(m, s + at, width);
		if (last >= 0 && next >= 0)
			tok_merges_put(&m->joins, last, next, (struct tok_merge) { 0, 0 });
		last = next;
	}
}

void tok_bpe_find_seams(struct tok_model *m)
{
	if (m->prefix.n_bytes || m->suffix.n_bytes)
		return;
	for (size_t i = 0; i < m->merges.n_slots; i++)
		if (m->merges.slots[i].pair != UINT64_MAX)
			join_piece(m, m->merges.slots[i].to.id);
	m->has_seams = true;
}

/* -- encoding --------------------------------------------------------------------------- */

#define PIECES_MAX ((size_t)1 << 24) /* of one word without a seam */
#define CUT_FROM   256               /* shorter words are merged in one go */

/* One word on its way to first pieces. Pieces nobody knows wait: neighbours fuse into one
 * unk if the file says so. */
struct start {
	const struct tok_model *m;
	struct tok_run *r;
	struct merge_work *w;
	bool is_unk_open;
};

/* Loose characters that found no partner end as their bytes, or unknown. */
static void push_loose(const struct tok_model *m, struct tok_run *r)
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

/* Merge what has come and write it out. */
static void flush(struct start *x)
{
	tok_merges_apply(&x->m->merges, x->w);
	if (x->m->loose.n_ids > 0)
		push_loose(x->m, x->r);
	else
		for (size_t i = 0; i < x->w->n; i++)
			tok_ids_push(x->r->out, x->w->ids[i]);
	x->w->n = 0;
}

static bool is_plain(const struct tok_model *m, int32_t id)
{
	return id != m->unk && (size_t)id < m->vocab.n_ids;
}

static void close_unk(struct start *x)
{
	if (x->is_unk_open)
		merge_work_push(x->w, x->m->unk);
	x->is_unk_open = false;
}

static void add_unk(struct start *x)
{
	if (x->m->unk < 0)
		return; /* the file gives no way to write it: Hugging Face drops it too */
	if (!x->m->fuse_unk)
		close_unk(x);
	x->is_unk_open = true;
}

static void add_known(struct start *x, int32_t id)
{
	struct merge_work *w = x->w;
	close_unk(x);
	if (w->n >= CUT_FROM && x->m->has_seams && is_plain(x->m, id) &&
		is_plain(x->m, w->ids[w->n - 1]) &&
		tok_merges_find(&x->m->joins, w->ids[w->n - 1], id).rank == MERGE_NO_RANK)
		flush(x);
	merge_work_push(w, id);
}

static bool add_fallback(struct start *x, const struct buf *s)
{
	const struct tok_model *m = x->m;
	for (size_t i = 0; i < s->n_bytes; i++)
		if (m->byte_ids[(unsigned char)s->data[i]] < 0)
			return false;
	for (size_t i = 0; i < s->n_bytes; i++)
		merge_work_push(x->w, m->byte_ids[(unsigned char)s->data[i]]);
	return true;
}

static void start_bytes(struct start *x, const char *s, size_t n)
{
	for (size_t i = 0; i < n && x->w->n <= PIECES_MAX; i++) {
		int32_t id = x->m->byte_ids[(unsigned char)s[i]];
		if (id >= 0)
			add_known(x, id);
		else
			add_unk(x);
	}
}

static void start_chars(struct start *x, const char *s, size_t n)
{
	const struct tok_model *m = x->m;
	struct buf *c = &x->r->work->word;
	for (size_t at = 0; at < n && x->w->n <= PIECES_MAX;) {
		size_t width = char_width(s + at, n - at);
		buf_clear(c);
		if (at > 0)
			buf_add(c, m->prefix.data, m->prefix.n_bytes);
		buf_add(c, s + at, width);
		at += width;
		if (at == n)
			buf_add(c, m->suffix.data, m->suffix.n_bytes);
		int32_t id = find_char(m, c->data, c->n_bytes);
		if (id >= 0)
			add_known(x, id);
		else if (!m->byte_fallback || !add_fallback(x, c))
			add_unk(x);
	}
}

static int encode_bpe(const struct tok_model *m, struct tok_run *r, const char *s, size_t n)
{
	struct start x = { .m = m, .r = r, .w = &r->work->merge };
	int32_t whole = -1;
	x.w->n = 0;
	if (m->ignore_merges)
		whole = tok_vocab_find(m->is_bytes ? &m->raw : &m->vocab, s, n);
	if (whole >= 0) {
		tok_ids_push(r->out, whole);
		return 0;
	}
	if (m->is_bytes)
		start_bytes(&x, s, n);
	else
		start_chars(&x, s, n);
	close_unk(&x);
	if (x.w->n > PIECES_MAX)
		return fault_set(r->fault, ERR_TOKENIZER,
			"A word of more than %zu characters is too long to merge", PIECES_MAX);
	flush(&x);
	return 0;
}

const struct model_kind tok_bpe_kind = { "BPE", "bpe", read_bpe, encode_bpe };
