/* tok_spnorm.h - SentencePiece's normalizer: its charsmap, and what it does to spaces. */
#ifndef WORKER_TEXT_TOK_SPNORM_H
#define WORKER_TEXT_TOK_SPNORM_H
#include "worker/text/tok_charsmap.h"
#include "worker/text/tok_stages.h"
#include "worker/text/tok_trie.h"

struct tok_spnorm {
	struct tok_charsmap *charsmap; /* or NULL; owned */
	struct tok_trie kept;          /* user-defined pieces: never rewritten */
	bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces, is_suffix;
};
void tok_spnorm_free(struct tok_spnorm *n);
/* Stops soon after *out has more than n_max bytes. */
void tok_spnorm_apply(
	const struct tok_spnorm *n, struct tok_piece in, size_t n_max, struct buf *out);
#endif
