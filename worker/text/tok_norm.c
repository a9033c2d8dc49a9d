/* tok_norm.c - the kinds of normalizers: rewriting text before it is cut. */
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "worker/text/tok_base64.h"
#include "worker/text/tok_bytelevel.h"
#include "worker/text/tok_chain.h"
#include "worker/text/tok_charsmap.h"
#include "worker/text/tok_spnorm.h"
#include "worker/text/tok_stages.h"
#include "worker/text/tok_unicode.h"
#include "worker/text/tok_unorm.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static void add_char(struct buf *out, uint32_t cp)
{
	char c[4];
	buf_add(out, c, (size_t)utf8_encode(cp, c));
}

/* -- Unicode forms, case, accents --------------------------------------------------------- */

static int apply_form(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	(void)w;
	tok_unorm((enum unorm_form)n->form, in.s, in.n, out);
	return 0;
}

static int read_nfc(struct tok_norm *n, const struct tok_field *x)
{
	(void)x;
	n->form = UNORM_NFC;
	return 0;
}

static int read_nfd(struct tok_norm *n, const struct tok_field *x)
{
	(void)x;
	n->form = UNORM_NFD;
	return 0;
}

static int read_nfkc(struct tok_norm *n, const struct tok_field *x)
{
	(void)x;
	n->form = UNORM_NFKC;
	return 0;
}

static int read_nfkd(struct tok_norm *n, const struct tok_field *x)
{
	(void)x;
	n->form = UNORM_NFKD;
	return 0;
}

static void lowercase(const char *s, size_t n, struct buf *out)
{
	for (size_t at = 0; at < n;) {
		uint32_t cp = uni_next(s, n, &at);
		if (cp < 0x80) {
			buf_addc(out, (char)(cp >= 'A' && cp <= 'Z' ? cp | 0x20 : cp));
		} else if (cp == 0x130) { /* the one letter whose lower case is two characters */
			buf_adds(out, "i\xcc\x87");
		} else {
			add_char(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
		}
	}
}

static int apply_lowercase(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	(void)n;
	(void)w;
	lowercase(in.s, in.n, out);
	return 0;
}

/* Characters that `drop` names do not come through. */
static void filter(const char *s, size_t n, bool (*drop)(uint32_t), struct buf *out)
{
	for (size_t at = 0; at < n;) {
		size_t start = at;
		if (!drop(uni_next(s, n, &at)))
			buf_add(out, s + start, at - start);
	}
}

static int apply_strip_accents(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	(void)n;
	(void)w;
	filter(in.s, in.n, uni_is_mark, out);
	return 0;
}

/* -- Replace, Prepend, Strip -------------------------------------------------------------- */

#define CONTENT_MAX 256 /* bytes that Replace and Prepend may put in */

static int read_content(struct tok_norm *n, const struct tok_field *x)
{
	int err = tok_field_str(x, &n->content);
	if (err == 0 && n->content.n_bytes > CONTENT_MAX)
		err = tok_field_wrong(x, "is longer than %d bytes", CONTENT_MAX);
	return err;
}

static int read_replace(struct tok_norm *n, const struct tok_field *x)
{
	struct tok_field pattern = tok_field_get(x, "pattern"),
			 content = tok_field_get(x, "content");
	struct tok_field literal = tok_field_get(&pattern, "String"),
			 regex = tok_field_get(&pattern, "Regex");
	struct fault why = { 0 };
	int err = tok_field_knows(&pattern, "String Regex");
	if (err == 0)
		err = read_content(n, &content);
	if (err)
		return err;
	if (tok_field_is_set(&literal)) {
		err = tok_field_str(&literal, &n->text);
		return err || n->text.n_bytes ? err : tok_field_wrong(&literal, "is empty");
	}
	err = tok_field_str(&regex, &n->text);
	if (err == 0 && tok_regex_new(n->text.data, n->text.n_bytes, &n->regex, &why) != 0)
		err = tok_field_wrong(&regex, "%s", why.text);
	return err;
}

static int find_in(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct tok_span *m)
{
	if (n->regex)
		return tok_regex_find(
			n->regex, &w->regex, (struct tok_span) { m->end, in.n }, in.s, m);
	const char *hit = memmem(in.s + m->end, in.n - m->end, n->text.data, n->text.n_bytes);
	if (hit == NULL)
		return 0;
	m->start = (size_t)(hit - in.s);
	m->end = m->start + n->text.n_bytes;
	return 1;
}

static int apply_replace(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	struct tok_span m = { 0, 0 };
	size_t done = 0;
	int rc = 0;
	while (out->n_bytes <= w->n_text_max && (rc = find_in(n, w, in, &m)) > 0) {
		buf_add(out, in.s + done, m.start - done);
		buf_add(out, n->content.data, n->content.n_bytes);
		done = m.end;
		if (m.end > m.start)
			continue;
		if (m.end == in.n)
			break;
		uni_next(in.s, in.n, &m.end); /* past an empty match */
	}
	buf_add(out, in.s + done, in.n - done);
	return rc < 0 ? rc : 0;
}

static int read_prepend(struct tok_norm *n, const struct tok_field *x)
{
	struct tok_field prepend = tok_field_get(x, "prepend");
	return read_content(n, &prepend);
}

static int apply_prepend(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	(void)w;
	if (in.n > 0)
		buf_add(out, n->content.data, n->content.n_bytes);
	buf_add(out, in.s, in.n);
	return 0;
}

static int read_strip(struct tok_norm *n, const struct tok_field *x)
{
	struct tok_field left = tok_field_get(x, "strip_left"),
			 right = tok_field_get(x, "strip_right");
	int err = tok_field_bool(&left, true, &n->flags[0]);
	return err ? err : tok_field_bool(&right, true, &n->flags[1]);
}

static int apply_strip(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	(void)w;
	size_t start = 0, end = in.n;
	for (size_t at = 0; n->flags[0] && at < in.n && uni_is_space(uni_next(in.s, in.n, &at));)
		start = at;
	while (n->flags[1] && end > start) {
		uint32_t cp = uni_last(in.s, end);
		if (!uni_is_space(cp))
			break;
		end -= cp < 0x80 ? 1 : cp < 0x800 ? 2 : 3;
	}
	buf_add(out, in.s + start, end - start);
	return 0;
}

/* -- BertNormalizer, Nmt, ByteLevel -------------------------------------------------------- */

enum { BERT_CLEAN, BERT_CHINESE, BERT_ACCENTS, BERT_LOWERCASE };

static int read_bert(struct tok_norm *n, const struct tok_field *x)
{
	struct tok_field clean = tok_field_get(x, "clean_text"),
			 chinese = tok_field_get(x, "handle_chinese_chars"),
			 accents = tok_field_get(x, "strip_accents"),
			 lower = tok_field_get(x, "lowercase");
	int err = tok_field_bool(&clean, true, &n->flags[BERT_CLEAN]);
	if (err == 0)
		err = tok_field_bool(&chinese, true, &n->flags[BERT_CHINESE]);
	if (err == 0)
		err = tok_field_bool(&lower, true, &n->flags[BERT_LOWERCASE]);
	if (err == 0)
		err = tok_field_bool(&accents, n->flags[BERT_LOWERCASE], &n->flags[BERT_ACCENTS]);
	return err;
}

static bool is_chinese(uint32_t c)
{
	return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
	       (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
	       (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
	       (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

static void clean_char(const struct tok_norm *n, uint32_t cp, struct buf *out)
{
	if (n->flags[BERT_CLEAN]) {
		bool is_line = cp == '\t' || cp == '\n' || cp == '\r';
		if (cp == 0 || cp == 0xfffd || (!is_line && uni_is_other(cp)))
			return;
		if (uni_is_space(cp))
			cp = ' ';
	}
	bool apart = n->flags[BERT_CHINESE] && is_chinese(cp);
	if (apart)
		buf_addc(out, ' ');
	add_char(out, cp);
	if (apart)
		buf_addc(out, ' ');
}

static int apply_bert(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	(void)w;
	for (size_t at = 0; at < in.n;)
		clean_char(n, uni_next(in.s, in.n, &at), &a);
	if (n->flags[BERT_ACCENTS]) {
		tok_unorm(UNORM_NFD, a.data, a.n_bytes, &b);
		buf_clear(&a);
		filter(b.data, b.n_bytes, uni_is_nonspacing, &a);
	}
	if (n->flags[BERT_LOWERCASE])
		lowercase(a.data, a.n_bytes, out);
	else
		buf_add(out, a.data, a.n_bytes);
	buf_release(&a);
	buf_release(&b);
	return 0;
}

static bool nmt_drops(uint32_t c)
{
	return (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f ||
	       c == 0x8f || c == 0x9f;
}

static bool nmt_blanks(uint32_t c)
{
	return c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 ||
	       (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
	       c == 0xfeff || c == 0xfffd;
}

static int apply_nmt(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	(void)n;
	(void)w;
	for (size_t at = 0; at < in.n;) {
		uint32_t cp = uni_next(in.s, in.n, &at);
		if (!nmt_drops(cp))
			add_char(out, nmt_blanks(cp) ? ' ' : cp);
	}
	return 0;
}

static int apply_bytelevel(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	(void)n;
	(void)w;
	bytelevel_write(in.s, in.n, out);
	return 0;
}

static int read_precompiled(struct tok_norm *n, const struct tok_field *x)
{
	struct tok_field map = tok_field_get(x, "precompiled_charsmap");
	struct buf text = BUF_INIT, bytes = BUF_INIT;
	int err = tok_field_str(&map, &text);
	if (err == 0 && !tok_base64_read(text.data, text.n_bytes, &bytes))
		err = tok_field_wrong(&map, "is not base64");
	if (err == 0) {
		n->charsmap = tok_charsmap_new(bytes.data, bytes.n_bytes);
		if (n->charsmap == NULL)
			err = tok_field_wrong(&map, "is not a SentencePiece charsmap");
	}
	buf_release(&text);
	buf_release(&bytes);
	return err;
}

static int apply_precompiled(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	tok_charsmap_apply(n->charsmap, in.s, in.n, w->n_text_max, out);
	return 0;
}

/* -- the table ----------------------------------------------------------------------------- */

static const struct norm_kind kinds[] = {
	{ "NFC", "type", read_nfc, apply_form },
	{ "NFD", "type", read_nfd, apply_form },
	{ "NFKC", "type", read_nfkc, apply_form },
	{ "NFKD", "type", read_nfkd, apply_form },
	{ "Lowercase", "type", NULL, apply_lowercase },
	{ "StripAccents", "type", NULL, apply_strip_accents },
	{ "Replace", "type pattern content", read_replace, apply_replace },
	{ "Prepend", "type prepend", read_prepend, apply_prepend },
	{ "Strip", "type strip_left strip_right", read_strip, apply_strip },
	{ "BertNormalizer", "type clean_text handle_chinese_chars strip_accents lowercase",
		read_bert, apply_bert },
	{ "Nmt", "type", NULL, apply_nmt },
	{ "ByteLevel", "type", NULL, apply_bytelevel },
	{ "Precompiled", "type precompiled_charsmap", read_precompiled, apply_precompiled },
};

static int read_one(void *into, size_t row, const struct tok_field *x)
{
	struct tok_norms *c = into;
	const struct norm_kind *kind = &kinds[row];
	int err = tok_field_knows(x, kind->members);
	if (err)
		return err;
	if (c->n == STAGES_MAX)
		return tok_field_wrong(x, "is one stage too many (%d at most)", STAGES_MAX);
	c->stages = xreallocarray(c->stages, c->n + 1, sizeof *c->stages);
	struct tok_norm *n = &c->stages[c->n++];
	*n = (struct tok_norm) { .kind = kind };
	return kind->read ? kind->read(n, x) : 0;
}

static const char *type_at(size_t row)
{
	return row < sizeof kinds / sizeof kinds[0] ? kinds[row].type : NULL;
}

static const struct tok_chain chain = { "normalizer", "normalizers", type_at, read_one };

int tok_norms_read(struct tok_norms *c, const struct tok_field *x)
{
	return tok_chain_read(&chain, c, x);
}

static int apply_sentencepiece(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	tok_spnorm_apply(n->sentencepiece, in, w->n_text_max, out);
	return 0;
}

/* llama.cpp's way with accents: each character becomes the first of its decomposition, and
 * marks go. */
static int apply_base_letters(
	const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out)
{
	struct buf parts = BUF_INIT;
	(void)n;
	(void)w;
	for (size_t at = 0; at < in.n;) {
		size_t start = at, first = 0;
		uni_next(in.s, in.n, &at);
		buf_clear(&parts);
		tok_unorm(UNORM_NFD, in.s + start, at - start, &parts);
		uint32_t cp = parts.n_bytes ? uni_next(parts.data, parts.n_bytes, &first) : 0;
		if (first > 0 && !uni_is_mark(cp))
			add_char(out, cp);
	}
	buf_release(&parts);
	return 0;
}

void tok_norms_add_base_letters(struct tok_norms *c)
{
	static const struct norm_kind kind = { "BaseLetters", "", NULL, apply_base_letters };
	c->stages = xreallocarray(c->stages, c->n + 1, sizeof *c->stages);
	c->stages[c->n++] = (struct tok_norm) { .kind = &kind };
}

int tok_norms_add_sentencepiece(struct tok_norms *c, struct tok_spnorm *norm_taken)
{
	static const struct norm_kind kind = { "SentencePiece", "", NULL, apply_sentencepiece };
	c->stages = xreallocarray(c->stages, c->n + 1, sizeof *c->stages);
	c->stages[c->n++] = (struct tok_norm) { .kind = &kind, .sentencepiece = norm_taken };
	return 0;
}

void tok_norms_release(struct tok_norms *c)
{
	for (size_t i = 0; i < c->n; i++) {
		tok_regex_free(c->stages[i].regex);
		buf_release(&c->stages[i].text);
		buf_release(&c->stages[i].content);
		tok_charsmap_free(c->stages[i].charsmap);
		tok_spnorm_free(c->stages[i].sentencepiece);
	}
	free(c->stages);
	*c = (struct tok_norms) { 0 };
}

/* The compatibility forms make at most 11 bytes of one; a file that asks for much more would
 * only fill the memory. */
#define GROWTH_MAX 32

int tok_norms_apply(
	const struct tok_norms *c, struct tok_work *w, struct tok_piece in, struct tok_piece *out)
{
	*out = in;
	w->n_text_max = GROWTH_MAX * in.n + (64 << 10);
	for (size_t i = 0; i < c->n; i++) {
		struct buf *b = &w->text[i & 1];
		buf_clear(b);
		int err = c->stages[i].kind->apply(&c->stages[i], w, *out, b);
		if (err || b->n_bytes > w->n_text_max)
			return ERR_TOKENIZER;
		out->s = buf_cstr(b);
		out->n = b->n_bytes;
	}
	return 0;
}
