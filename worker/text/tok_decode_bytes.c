/* tok_decode_bytes.c - byte pieces ("<0xE2>") back to text, and SentencePiece's own decoder. */
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "worker/text/tok_decode.h"
#include <string.h>

int tok_decode_byte(struct tok_piece in)
{
	if (in.n != 6 || memcmp(in.s, "<0x", 3) != 0 || in.s[5] != '>')
		return -1;
	int byte = 0;
	for (int i = 3; i < 5; i++) {
		char c = in.s[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
						   : -1;
		if (digit < 0)
			return -1;
		byte = byte * 16 + digit;
	}
	return byte;
}

/* Byte pieces become the characters they spell, byte by byte U+FFFD where they spell none. */
static void give_bytes(struct detok *k, size_t stage, bool is_end)
{
	struct buf *held = &k->state[stage].held;
	size_t at = 0;
	while (at < held->n_bytes) {
		uint32_t cp;
		int len = utf8_decode(held->data + at, held->n_bytes - at, &cp);
		if (len == 0 && !is_end)
			break;
		tok_decode_on(k, stage, len > 0 ? held->data + at : TOK_REPLACEMENT,
			len > 0 ? (size_t)len : 3);
		at += len > 0 ? (size_t)len : 1;
	}
	k->state[stage].is_past |= at > 0;
	buf_consume(held, at);
}

static void push_sentencepiece(
	const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in)
{
	struct decode_state *state = &k->state[stage];
	const struct buf space = { (char *)(uintptr_t) " ", 1, 0 };
	struct buf *out = &k->scratch[stage];
	int byte = tok_decode_byte(in);
	if (byte >= 0) {
		buf_addc(&state->held, (char)byte);
		give_bytes(k, stage, false);
		return;
	}
	give_bytes(k, stage, true);
	if (!state->is_past && d->strip_first && in.n >= d->text.n_bytes &&
		memcmp(in.s, d->text.data, d->text.n_bytes) == 0) {
		in.s += d->text.n_bytes;
		in.n -= d->text.n_bytes;
		state->is_past = !d->strip_all;
	}
	state->is_past |= in.n > 0;
	buf_clear(out);
	tok_decode_replace(in, &d->text, &space, out);
	tok_decode_on(k, stage, buf_cstr(out), out->n_bytes);
}

static void flush_sentencepiece(const struct tok_decoder *d, struct detok *k, size_t stage)
{
	(void)d;
	give_bytes(k, stage, true);
}

void tok_decoders_add_sentencepiece(struct tok_decoders *c, bool dummy_prefix, bool remove_extra)
{
	static const struct decoder_kind kind = { "SentencePiece", "", NULL, push_sentencepiece,
		flush_sentencepiece, false };
	c->stages = xreallocarray(c->stages, c->n + 1, sizeof *c->stages);
	c->stages[c->n] = (struct tok_decoder) { .kind = &kind,
		.strip_first = dummy_prefix || remove_extra,
		.strip_all = remove_extra };
	buf_adds(&c->stages[c->n].text, "\xe2\x96\x81");
	c->n++;
	c->is_set = true;
}
