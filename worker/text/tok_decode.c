/* tok_decode.c - the table of decoders and the chain that tokens run through. */
#include "worker/text/tok_decode.h"
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "worker/text/tok_bytelevel.h"
#include "worker/text/tok_chain.h"
#include <stdlib.h>
#include <string.h>

void tok_decode_on(struct detok *k, size_t stage, const char *s, size_t n)
{
	tok_decode_push(k, stage + 1, (struct tok_piece) { s, n, false });
}

/* -- ByteLevel ----------------------------------------------------------------------------- */

/* Give on what is whole. Each longest start of a character that cannot go on becomes one
 * U+FFFD (Unicode 3.9, maximal subparts), as Rust's from_utf8_lossy does. */
static void push_bytes(struct detok *k, size_t stage, bool is_end)
{
	struct buf *held = &k->state[stage].held, *out = &k->scratch[stage];
	size_t at = 0;
	buf_clear(out);
	while (at < held->n_bytes) {
		uint32_t cp;
		int len = utf8_decode(held->data + at, held->n_bytes - at, &cp);
		if (len == 0 && !is_end)
			break;
		if (len > 0) {
			buf_add(out, held->data + at, (size_t)len);
			at += (size_t)len;
			continue;
		}
		buf_adds(out, TOK_REPLACEMENT);
		size_t bad = 1;
		while (at + bad < held->n_bytes && bad < 4 &&
			utf8_decode(held->data + at, bad + 1, &cp) == 0)
			bad++;
		at += bad;
	}
	buf_consume(held, at);
	if (out->n_bytes)
		tok_decode_on(k, stage, out->data, out->n_bytes);
}

static void push_bytelevel(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	(void)d;
	struct buf *held = &k->state[stage].held;
	if (!bytelevel_read(in.s, in.n, held))
		buf_add(held, in.s, in.n);
	push_bytes(k, stage, false);
}

static void flush_bytelevel(const struct tok_decoder *d, struct detok *k, size_t stage)
{
	(void)d;
	push_bytes(k, stage, true);
}

/* -- ByteFallback, Fuse ---------------------------------------------------------------------- */

/* A run of byte tokens is text if all of it is UTF-8, else one U+FFFD for every byte: so
 * Hugging Face, and so nothing of a run can go out before it ends. */
static void flush_fallback(const struct tok_decoder *d, struct detok *k, size_t stage)
{
	(void)d;
	struct buf *held = &k->state[stage].held;
	bool is_text = utf8_is_valid(held->data, held->n_bytes);
	if (held->n_bytes && is_text)
		tok_decode_on(k, stage, held->data, held->n_bytes);
	for (size_t i = 0; !is_text && i < held->n_bytes; i++)
		tok_decode_on(k, stage, TOK_REPLACEMENT, 3);
	buf_clear(held);
}

static void push_fallback(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	int byte = tok_decode_byte(in);
	if (byte >= 0) {
		buf_addc(&k->state[stage].held, (char)byte);
		return;
	}
	flush_fallback(d, k, stage);
	tok_decode_on(k, stage, in.s, in.n);
}

static void push_fuse(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	(void)d;
	tok_decode_on(k, stage, in.s, in.n);
}

/* -- Strip ----------------------------------------------------------------------------------- */

static int read_strip(struct tok_decoder *d, const struct tok_field *x)
{
	struct tok_field content = tok_field_get(x, "content"), start = tok_field_get(x, "start"),
			 stop = tok_field_get(x, "stop");
	int err = tok_field_str(&content, &d->content);
	if (err == 0)
		err = tok_field_int(&start, 0, &d->start);
	if (err == 0)
		err = tok_field_int(&stop, 0, &d->stop);
	if (err == 0 && (d->start < 0 || d->stop < 0 || d->stop > 1024))
		err = tok_field_wrong(x, "strips an impossible number of characters");
	if (err == 0 && d->content.n_bytes == 0)
		err = tok_field_wrong(&content, "is empty");
	return err;
}

static bool begins_with(struct tok_piece in, const struct buf *b)
{
	return in.n >= b->n_bytes && memcmp(in.s, b->data, b->n_bytes) == 0;
}

static bool ends_with(struct tok_piece in, const struct buf *b)
{
	return in.n >= b->n_bytes && memcmp(in.s + in.n - b->n_bytes, b->data, b->n_bytes) == 0;
}

/* In a fused token the end comes only with flush: up to `stop` of the characters that may be
 * cut there wait in `held`. */
static void push_strip(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	struct decode_state *state = &k->state[stage];
	size_t width = d->content.n_bytes;
	if (!d->is_fused) {
		state->n_cut = 0;
		state->is_past = false;
	}
	while (!state->is_past && in.n > 0 && (int64_t)state->n_cut < d->start &&
		begins_with(in, &d->content)) {
		in.s += width;
		in.n -= width;
		state->n_cut++;
	}
	state->is_past |= in.n > 0;
	if (in.n == 0)
		return;
	size_t n_tail = 0;
	struct tok_piece body = in;
	while ((int64_t)n_tail < d->stop && ends_with(body, &d->content)) {
		body.n -= width;
		n_tail++;
	}
	if (!d->is_fused || d->stop == 0) {
		tok_decode_on(k, stage, body.s, body.n);
		return;
	}
	buf_add(&state->held, in.s, in.n);
	body = (struct tok_piece) { state->held.data, state->held.n_bytes, false };
	for (n_tail = 0; (int64_t)n_tail < d->stop && ends_with(body, &d->content); n_tail++)
		body.n -= width;
	tok_decode_on(k, stage, body.s, body.n);
	buf_consume(&state->held, body.n);
}

static void flush_strip(const struct tok_decoder *d, struct detok *k, size_t stage)
{
	(void)d;
	buf_clear(&k->state[stage].held);
}

/* -- Replace --------------------------------------------------------------------------------- */

#define GROWTH_MAX 1024

static int read_replace(struct tok_decoder *d, const struct tok_field *x)
{
	struct tok_field pattern = tok_field_get(x, "pattern"),
			 content = tok_field_get(x, "content");
	struct tok_field literal = tok_field_get(&pattern, "String");
	int err = tok_field_knows(&pattern, "String");
	if (err == 0)
		err = tok_field_str(&literal, &d->text);
	if (err == 0)
		err = tok_field_str(&content, &d->content);
	if (err)
		return err;
	if (d->text.n_bytes == 0)
		return tok_field_wrong(&literal, "is empty");
	/* A chain of these could make gigabytes of a piece. */
	d->growth *= d->content.n_bytes / d->text.n_bytes + 1;
	if (d->growth > GROWTH_MAX)
		return tok_field_wrong(x, "makes text more than %d times as long", GROWTH_MAX);
	uint32_t cp;
	if (d->is_fused && utf8_decode(d->text.data, d->text.n_bytes, &cp) != (int)d->text.n_bytes)
		err = tok_field_wrong(&literal,
			"is longer than one character, after a decoder that fuses tokens");
	return err;
}

void tok_decode_replace(
	struct tok_piece in, const struct buf *what, const struct buf *by, struct buf *out)
{
	const char *at = in.s, *end = in.s + in.n;
	for (const char *hit; (hit = memmem(at, (size_t)(end - at), what->data, what->n_bytes));) {
		buf_add(out, at, (size_t)(hit - at));
		buf_add(out, by->data, by->n_bytes);
		at = hit + what->n_bytes;
	}
	buf_add(out, at, (size_t)(end - at));
}

static void push_replace(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	struct buf *out = &k->scratch[stage];
	buf_clear(out);
	tok_decode_replace(in, &d->text, &d->content, out);
	tok_decode_on(k, stage, buf_cstr(out), out->n_bytes);
}

/* -- Metaspace ------------------------------------------------------------------------------- */

static int read_metaspace(struct tok_decoder *d, const struct tok_field *x)
{
	struct tok_field replacement = tok_field_get(x, "replacement"),
			 legacy = tok_field_get(x, "add_prefix_space"),
			 scheme = tok_field_get(x, "prepend_scheme");
	bool prefix;
	int choice;
	int err = tok_field_str(&replacement, &d->text);
	if (err == 0)
		err = tok_field_bool(&legacy, true, &prefix);
	if (err == 0)
		err = tok_field_choice(&scheme, "always first never",
			prefix ? PREPEND_ALWAYS : PREPEND_NEVER, &choice);
	if (err == 0 && d->text.n_bytes == 0)
		err = tok_field_wrong(&replacement, "is empty");
	if (err == 0)
		d->keep_first = choice == PREPEND_NEVER;
	return err;
}

static void push_metaspace(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	const struct buf space = { (char *)(uintptr_t) " ", 1, 1 }, nothing = BUF_INIT;
	struct decode_state *state = &k->state[stage];
	struct buf *out = &k->scratch[stage];
	bool is_first = (d->is_fused || state->n_tokens == 0) && !d->keep_first;
	state->n_tokens++;
	buf_clear(out);
	tok_decode_replace(in, &d->text, is_first ? &nothing : &space, out);
	tok_decode_on(k, stage, buf_cstr(out), out->n_bytes);
}

/* -- WordPiece, BPEDecoder ------------------------------------------------------------------- */

static int read_wordpiece(struct tok_decoder *d, const struct tok_field *x)
{
	struct tok_field prefix = tok_field_get(x, "prefix"), cleanup = tok_field_get(x, "cleanup");
	int err = tok_field_str(&prefix, &d->text);
	return err ? err : tok_field_bool(&cleanup, true, &d->cleanup);
}

static void clean_up(struct buf *text)
{
	static const char *const rules[][2] = { { " .", "." }, { " ?", "?" }, { " !", "!" },
		{ " ,", "," }, { " ' ", "'" }, { " n't", "n't" }, { " 'm", "'m" },
		{ " do not", " don't" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" } };
	struct buf next = BUF_INIT;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		const struct buf what = { (char *)(uintptr_t)rules[i][0], strlen(rules[i][0]), 0 };
		const struct buf by = { (char *)(uintptr_t)rules[i][1], strlen(rules[i][1]), 0 };
		buf_clear(&next);
		tok_decode_replace((struct tok_piece) { buf_cstr(text), text->n_bytes, false },
			&what, &by, &next);
		struct buf spare = *text;
		*text = next;
		next = spare;
	}
	buf_release(&next);
}

static void push_wordpiece(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	struct decode_state *state = &k->state[stage];
	struct buf *out = &k->scratch[stage];
	buf_clear(out);
	if (state->n_tokens++ > 0 && begins_with(in, &d->text)) {
		in.s += d->text.n_bytes;
		in.n -= d->text.n_bytes;
	} else if (state->n_tokens > 1) {
		buf_addc(out, ' ');
	}
	buf_add(out, in.s, in.n);
	if (d->cleanup)
		clean_up(out);
	tok_decode_on(k, stage, buf_cstr(out), out->n_bytes);
}

static int read_suffix(struct tok_decoder *d, const struct tok_field *x)
{
	struct tok_field suffix = tok_field_get(x, "suffix");
	int err = tok_field_str(&suffix, &d->text);
	return err || d->text.n_bytes ? err : tok_field_wrong(&suffix, "is empty");
}

/* The suffix becomes a space, but nothing at the end of the text: one token waits. */
static void give_held(const struct tok_decoder *d, struct detok *k, size_t stage, const char *by)
{
	struct buf *held = &k->state[stage].held, *out = &k->scratch[stage];
	const struct buf content = { (char *)(uintptr_t)by, strlen(by), 0 };
	if (k->state[stage].n_tokens == 0)
		return;
	buf_clear(out);
	tok_decode_replace((struct tok_piece) { buf_cstr(held), held->n_bytes, false }, &d->text,
		&content, out);
	tok_decode_on(k, stage, buf_cstr(out), out->n_bytes);
	buf_clear(held);
}

static void push_bpe(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	give_held(d, k, stage, " ");
	k->state[stage].n_tokens++;
	buf_add(&k->state[stage].held, in.s, in.n);
}

static void flush_bpe(const struct tok_decoder *d, struct detok *k, size_t stage)
{
	give_held(d, k, stage, "");
	k->state[stage].n_tokens = 0;
}

/* -- the table and the chain ----------------------------------------------------------------- */

static const struct decoder_kind kinds[] = {
	{ "ByteLevel", "type add_prefix_space trim_offsets use_regex", NULL, push_bytelevel,
		flush_bytelevel, true },
	{ "ByteFallback", "type", NULL, push_fallback, flush_fallback, false },
	{ "Fuse", "type", NULL, push_fuse, NULL, true },
	{ "Strip", "type content start stop", read_strip, push_strip, flush_strip, false },
	{ "Replace", "type pattern content", read_replace, push_replace, NULL, false },
	{ "Metaspace", "type replacement str_rep add_prefix_space prepend_scheme split",
		read_metaspace, push_metaspace, NULL, false },
	{ "WordPiece", "type prefix cleanup", read_wordpiece, push_wordpiece, NULL, false },
	{ "BPEDecoder", "type suffix", read_suffix, push_bpe, flush_bpe, false },
};

static int read_one(void *into, size_t row, const struct tok_field *x)
{
	struct tok_decoders *c = into;
	const struct decoder_kind *kind = &kinds[row];
	int err = tok_field_knows(x, kind->members);
	if (err)
		return err;
	if (c->n == STAGES_MAX)
		return tok_field_wrong(x, "is one stage too many (%d at most)", STAGES_MAX);
	bool is_fused =
		c->n > 0 && (c->stages[c->n - 1].is_fused || c->stages[c->n - 1].kind->fuses);
	if (is_fused && (kind->push == push_wordpiece || kind->push == push_bpe ||
				kind->push == push_fallback || kind->push == push_bytelevel))
		return tok_field_wrong(x, "comes after a decoder that fuses tokens");
	c->stages = xreallocarray(c->stages, c->n + 1, sizeof *c->stages);
	struct tok_decoder *d = &c->stages[c->n++];
	size_t growth = c->n > 1 ? d[-1].growth : 1;
	*d = (struct tok_decoder) { .kind = kind, .is_fused = is_fused, .growth = growth };
	return kind->read ? kind->read(d, x) : 0;
}

static const char *type_at(size_t row)
{
	return row < sizeof kinds / sizeof kinds[0] ? kinds[row].type : NULL;
}

static const struct tok_chain chain = { "decoder", "decoders", type_at, read_one };

int tok_decoders_read(struct tok_decoders *c, const struct tok_field *x)
{
	c->is_set |= tok_field_is_set(x);
	return tok_chain_read(&chain, c, x);
}

void tok_decoders_release(struct tok_decoders *c)
{
	for (size_t i = 0; i < c->n; i++) {
		buf_release(&c->stages[i].text);
		buf_release(&c->stages[i].content);
		tok_regex_free(c->stages[i].regex);
	}
	free(c->stages);
	*c = (struct tok_decoders) { 0 };
}

void tok_decode_push(struct detok *k, size_t stage, struct tok_piece in)
{
	const struct tok_decoders *c = &k->t->decoders;
	if (stage == c->n)
		buf_add(k->out, in.s, in.n);
	else
		c->stages[stage].kind->push(&c->stages[stage], k, stage, in);
}

void tok_decode_flush(struct detok *k)
{
	const struct tok_decoders *c = &k->t->decoders;
	for (size_t i = 0; i < c->n; i++) {
		if (c->stages[i].kind->flush)
			c->stages[i].kind->flush(&c->stages[i], k, i);
		k->state[i].n_tokens = 0;
		k->state[i].n_cut = 0;
		k->state[i].is_past = false;
	}
	k->n_joined = 0;
}
