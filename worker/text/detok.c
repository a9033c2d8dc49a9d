/* detok.c - streaming decode: tokens in, whole UTF-8 out. Stop 21; next: worker/engine/stops.c */
#include "protocol/mem.h"
#include "worker/text/tok_decode.h"
#include <stdlib.h>
#include <string.h>

struct detok *detok_new(const struct tokenizer *t, bool skip_special)
{
	struct detok *d = xcalloc(1, sizeof *d);
	d->t = t;
	d->skip_special = skip_special;
	return d;
}

void detok_free(struct detok *d)
{
	if (d == NULL)
		return;
	for (size_t i = 0; i < STAGES_MAX; i++) {
		buf_release(&d->state[i].held);
		buf_release(&d->scratch[i]);
	}
	free(d);
}

void detok_push(struct detok *d, int32_t id, struct buf *out)
{
	size_t n;
	const char *piece = tok_vocab_get(&d->t->added.shown, id, &n);
	if (piece == NULL)
		piece = tok_vocab_get(&d->t->model.vocab, id, &n);
	bool is_unk = d->t->sp_unk >= 0 && id == d->t->sp_unk;
	bool is_silent = d->skip_special || d->t->sp_unk >= 0;
	if (piece == NULL || (is_silent && !is_unk && tokenizer_is_special(d->t, id)))
		return;
	if (is_unk) {
		piece = " \xe2\x81\x87 ";
		n = strlen(piece);
	}
	d->out = out;
	if (!d->t->decoders.is_set && d->n_joined++ > 0)
		buf_addc(out, ' ');
	tok_decode_push(d, 0, (struct tok_piece) { piece, n, false });
}

void detok_flush(struct detok *d, struct buf *out)
{
	d->out = out;
	tok_decode_flush(d);
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
	struct buf *out, struct fault *f)
{
	size_t n_vocab = tokenizer_vocab_size(t);
	for (size_t i = 0; i < n; i++)
		if (ids[i] < 0 || (size_t)ids[i] >= n_vocab)
			return fault_set(f, ERR_TOKENIZER,
				"tokens[%zu] is %d, outside the vocabulary of %zu", i, (int)ids[i],
				n_vocab);
	struct detok *d = detok_new(t, skip_special);
	for (size_t i = 0; i < n; i++)
		detok_push(d, ids[i], out);
	detok_flush(d, out);
	detok_free(d);
	return 0;
}
