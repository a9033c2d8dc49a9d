/* tok_pretok.c - the kinds of pre-tokenizers: cutting normalized text into words. */
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "worker/text/tok_bytelevel.h"
#include "worker/text/tok_chain.h"
#include "worker/text/tok_scan.h"
#include "worker/text/tok_scripts.h"
#include "worker/text/tok_stages.h"
#include "worker/text/tok_unicode.h"
#include <stdlib.h>
#include <string.h>

static int set_regex(struct tok_pretok *p, const char *pattern, size_t n, struct fault *f)
{
	p->scan = p->behavior == SPLIT_ISOLATED && !p->invert ? tok_scan_find(pattern, n) : NULL;
	return tok_regex_new(pattern, n, &p->regex, f);
}

/* -- Split ------------------------------------------------------------------------------ */

static int read_pattern(struct tok_pretok *p, const struct tok_field *x)
{
	struct tok_field literal = tok_field_get(x, "String"), regex = tok_field_get(x, "Regex");
	struct fault why = { 0 };
	struct buf text = BUF_INIT;
	int err = tok_field_knows(x, "String Regex");
	if (err)
		return err;
	if (tok_field_is_set(&literal)) {
		err = tok_field_str(&literal, &p->literal);
		return err || p->literal.n_bytes ? err : tok_field_wrong(&literal, "is empty");
	}
	err = tok_field_str(&regex, &text);
	if (err == 0 && (err = set_regex(p, text.data, text.n_bytes, &why)) != 0)
		tok_field_wrong(&regex, "%s", why.text);
	buf_release(&text);
	return err;
}

#define BEHAVIORS "Removed Isolated MergedWithPrevious MergedWithNext Contiguous"

static int read_behavior(struct tok_pretok *p, const struct tok_field *x, int preset)
{
	struct tok_field behavior = tok_field_get(x, "behavior");
	int choice;
	int err = tok_field_choice(&behavior, BEHAVIORS, preset, &choice);
	p->behavior = err ? SPLIT_ISOLATED : (enum split_behavior)choice;
	return err;
}

static int read_split(struct tok_pretok *p, const struct tok_field *x)
{
	struct tok_field pattern = tok_field_get(x, "pattern"), invert = tok_field_get(x, "invert");
	int err = read_behavior(p, x, -1);
	if (err == 0)
		err = tok_field_bool(&invert, false, &p->invert);
	return err ? err : read_pattern(p, &pattern);
}

/* -- ByteLevel -------------------------------------------------------------------------- */

#define GPT2_SPLIT \
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static int read_bytelevel(struct tok_pretok *p, const struct tok_field *x)
{
	struct tok_field prefix = tok_field_get(x, "add_prefix_space"),
			 use_regex = tok_field_get(x, "use_regex");
	int err = tok_field_bool(&prefix, true, &p->prefix_space);
	if (err == 0)
		err = tok_field_bool(&use_regex, true, &p->use_regex);
	p->behavior = SPLIT_ISOLATED;
	return err ? err : set_regex(p, GPT2_SPLIT, strlen(GPT2_SPLIT), x->fault);
}

/* Words leave here in the byte-level alphabet, unless this is the last stage: then the
 * model takes bytes. */
static int map_bytes(struct tok_run *r, size_t stage, struct tok_piece in)
{
	struct buf *b = &r->work->stage[stage];
	if (r->t->pretoks.is_bytes && stage + 1 == r->t->pretoks.n)
		return tok_emit(r, stage + 1, in);
	buf_clear(b);
	bytelevel_write(in.s, in.n, b);
	return tok_emit(r, stage + 1, (struct tok_piece) { b->data, b->n_bytes, in.at_start });
}

static int run_bytelevel(
	const struct tok_pretok *p, struct tok_run *r, size_t stage, struct tok_piece in)
{
	struct buf *b = &r->work->stage[stage];
	if (p->prefix_space && in.s[0] != ' ') {
		buf_clear(b);
		buf_addc(b, ' ');
		buf_add(b, in.s, in.n);
		in.s = b->data;
		in.n = b->n_bytes;
	}
	return p->use_regex ? tok_split(p, r, stage, in) : tok_emit(r, stage + 1, in);
}

/* ByteLevel is two stages here: the cut (above), then the alphabet. */
static int run_alphabet(
	const struct tok_pretok *p, struct tok_run *r, size_t stage, struct tok_piece in)
{
	(void)p;
	return map_bytes(r, stage, in);
}

/* -- Metaspace -------------------------------------------------------------------------- */

static int read_metaspace(struct tok_pretok *p, const struct tok_field *x)
{
	struct tok_field replacement = tok_field_get(x, "replacement"),
			 legacy = tok_field_get(x, "add_prefix_space"),
			 scheme = tok_field_get(x, "prepend_scheme"),
			 split = tok_field_get(x, "split");
	bool prefix;
	int choice;
	int err = tok_field_str(&replacement, &p->replacement);
	if (err == 0)
		err = tok_field_bool(&legacy, true, &prefix);
	if (err == 0)
		err = tok_field_bool(&split, true, &p->split);
	if (err == 0)
		err = tok_field_choice(&scheme, "always first never",
			prefix ? PREPEND_ALWAYS : PREPEND_NEVER, &choice);
	if (err)
		return err;
	uint32_t cp;
	if (utf8_decode(p->replacement.data, p->replacement.n_bytes, &cp) !=
		(int)p->replacement.n_bytes)
		return tok_field_wrong(&replacement, "is not one character");
	if (!prefix && choice != PREPEND_NEVER)
		return tok_field_wrong(&legacy, "contradicts prepend_scheme");
	p->prepend = (enum metaspace_prepend)choice;
	buf_add(&p->literal, p->replacement.data, p->replacement.n_bytes);
	p->behavior = SPLIT_MERGED_WITH_NEXT;
	return 0;
}

static bool starts_with(struct tok_piece in, const struct buf *b)
{
	return in.n >= b->n_bytes && memcmp(in.s, b->data, b->n_bytes) == 0;
}

void tok_replace_spaces(struct tok_piece in, const struct buf *by, struct buf *out)
{
	const char *end = in.s + in.n;
	for (const char *at = in.s; at < end;) {
		const char *space = memchr(at, ' ', (size_t)(end - at));
		buf_add(out, at, (size_t)((space ? space : end) - at));
		if (space == NULL)
			break;
		buf_add(out, by->data, by->n_bytes);
		at = space + 1;
	}
}

static int run_metaspace(
	const struct tok_pretok *p, struct tok_run *r, size_t stage, struct tok_piece in)
{
	struct buf *b = &r->work->stage[stage];
	bool prepend = p->prepend == PREPEND_ALWAYS || (p->prepend == PREPEND_FIRST && in.at_start);
	buf_clear(b);
	if (prepend && in.s[0] != ' ' && !starts_with(in, &p->replacement))
		buf_add(b, p->replacement.data, p->replacement.n_bytes);
	tok_replace_spaces(in, &p->replacement, b);
	struct tok_piece out = { b->data, b->n_bytes, in.at_start };
	return p->split ? tok_split(p, r, stage, out) : tok_emit(r, stage + 1, out);
}

/* -- classes of characters -------------------------------------------------------------- */

static int read_whitespace(struct tok_pretok *p, const struct tok_field *x)
{
	static const char words[] = "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+";
	p->behavior = SPLIT_REMOVED;
	p->invert = true;
	return set_regex(p, words, strlen(words), x->fault);
}

static int read_whitespace_split(struct tok_pretok *p, const struct tok_field *x)
{
	(void)x;
	p->is_match = uni_is_space;
	p->behavior = SPLIT_REMOVED;
	return 0;
}

static int read_punctuation(struct tok_pretok *p, const struct tok_field *x)
{
	p->is_match = uni_is_punct;
	return read_behavior(p, x, SPLIT_ISOLATED);
}

static int read_digits(struct tok_pretok *p, const struct tok_field *x)
{
	struct tok_field individual = tok_field_get(x, "individual_digits");
	bool each;
	int err = tok_field_bool(&individual, false, &each);
	p->is_match = uni_is_numeric;
	p->behavior = each ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
	return err;
}

static int read_bert_punct(struct tok_pretok *p, const struct tok_field *x)
{
	(void)x;
	p->is_match = uni_is_punct;
	p->behavior = SPLIT_ISOLATED;
	return 0;
}

static int read_delimiter(struct tok_pretok *p, const struct tok_field *x)
{
	struct tok_field delimiter = tok_field_get(x, "delimiter");
	uint32_t cp;
	int err = tok_field_str(&delimiter, &p->literal);
	p->behavior = SPLIT_REMOVED;
	if (err == 0 && (p->literal.n_bytes == 0 || utf8_decode(p->literal.data, p->literal.n_bytes,
							    &cp) != (int)p->literal.n_bytes))
		return tok_field_wrong(&delimiter, "is not one character");
	return err;
}

static int read_scripts(struct tok_pretok *p, const struct tok_field *x)
{
	struct buf pattern = BUF_INIT;
	tok_scripts_pattern(&pattern);
	p->behavior = SPLIT_REMOVED;
	p->invert = true;
	int err = set_regex(p, pattern.data, pattern.n_bytes, x->fault);
	buf_release(&pattern);
	return err;
}

static int read_length(struct tok_pretok *p, const struct tok_field *x)
{
	struct tok_field length = tok_field_get(x, "length");
	int err = tok_field_int(&length, 5, &p->length);
	return err || p->length > 0 ? err : tok_field_wrong(&length, "is not positive");
}

static int run_length(
	const struct tok_pretok *p, struct tok_run *r, size_t stage, struct tok_piece in)
{
	int err = 0;
	for (size_t at = 0; err == 0 && at < in.n;) {
		size_t start = at;
		for (int64_t k = 0; k < p->length && at < in.n; k++)
			uni_next(in.s, in.n, &at);
		err = tok_emit(r, stage + 1,
			(struct tok_piece) { in.s + start, at - start, in.at_start && start == 0 });
	}
	return err;
}

/* -- the table -------------------------------------------------------------------------- */

static const struct pretok_kind kinds[] = {
	{ "Split", "type pattern behavior invert", read_split, tok_split },
	{ "ByteLevel", "type add_prefix_space trim_offsets use_regex", read_bytelevel,
		run_bytelevel },
	{ "Metaspace", "type replacement str_rep add_prefix_space prepend_scheme split",
		read_metaspace, run_metaspace },
	{ "Whitespace", "type", read_whitespace, tok_split },
	{ "WhitespaceSplit", "type", read_whitespace_split, tok_split },
	{ "Punctuation", "type behavior", read_punctuation, tok_split },
	{ "Digits", "type individual_digits", read_digits, tok_split },
	{ "BertPreTokenizer", "type", read_whitespace_split, tok_split },
	{ "CharDelimiterSplit", "type delimiter", read_delimiter, tok_split },
	{ "UnicodeScripts", "type", read_scripts, tok_split },
	{ "FixedLength", "type length", read_length, run_length },
};

/* Second halves of kinds that are two stages here. */
static const struct pretok_kind alphabet = { "ByteLevel", "", NULL, run_alphabet };
static const struct pretok_kind bert_punct = { "BertPreTokenizer", "", read_bert_punct, tok_split };

static struct tok_pretok *append(struct tok_pretoks *c, const struct pretok_kind *kind)
{
	if (c->n == STAGES_MAX)
		return NULL;
	c->stages = xreallocarray(c->stages, c->n + 1, sizeof *c->stages);
	c->stages[c->n] = (struct tok_pretok) { .kind = kind };
	return &c->stages[c->n++];
}

static int read_one(void *into, size_t row, const struct tok_field *x)
{
	struct tok_pretoks *c = into;
	const struct pretok_kind *kind = &kinds[row];
	int err = tok_field_knows(x, kind->members);
	if (err)
		return err;
	struct tok_pretok *p = append(c, kind);
	if (p == NULL)
		return tok_field_wrong(x, "is one stage too many (%d at most)", STAGES_MAX);
	if ((err = kind->read(p, x)) != 0)
		return err;
	const struct pretok_kind *second = strcmp(kind->type, "ByteLevel") == 0 ? &alphabet
					   : strcmp(kind->type, "BertPreTokenizer") == 0
						   ? &bert_punct
						   : NULL;
	c->is_bytes = second == &alphabet;
	if (second == NULL)
		return 0;
	if ((p = append(c, second)) == NULL)
		return tok_field_wrong(x, "is one stage too many (%d at most)", STAGES_MAX);
	return second->read ? second->read(p, x) : 0;
}

static const char *type_at(size_t row)
{
	return row < sizeof kinds / sizeof kinds[0] ? kinds[row].type : NULL;
}

static const struct tok_chain chain = { "pre-tokenizer", "pretokenizers", type_at, read_one };

int tok_pretoks_read(struct tok_pretoks *c, const struct tok_field *x)
{
	return tok_chain_read(&chain, c, x);
}

int tok_pretoks_add_split(
	struct tok_pretoks *c, const char *pattern, enum split_behavior b, struct fault *f)
{
	struct tok_pretok *p = append(c, &kinds[0]);
	if (p == NULL)
		return fault_set(f, ERR_TOKENIZER, "there are too many pre-tokenizers");
	p->behavior = b;
	return set_regex(p, pattern, strlen(pattern), f);
}

void tok_pretoks_release(struct tok_pretoks *c)
{
	for (size_t i = 0; i < c->n; i++) {
		tok_regex_free(c->stages[i].regex);
		buf_release(&c->stages[i].literal);
		buf_release(&c->stages[i].replacement);
	}
	free(c->stages);
	*c = (struct tok_pretoks) { 0 };
}

int tok_emit(struct tok_run *r, size_t stage, struct tok_piece in)
{
	const struct tok_pretoks *c = &r->t->pretoks;
	if (in.n == 0)
		return 0;
	if (stage == c->n)
		return tok_model_encode(r, in.s, in.n);
	return c->stages[stage].kind->run(&c->stages[stage], r, stage, in);
}
