/* tok_spnorm.h - SentencePiece's normalizer: its charsmap, and what it does to spaces. */
#ifndef WORKER_TEXT_TOK_SPNORM_H
#define WORKER_TEXT_TOK_SPNORM_H
#include "worker/text/tok_charsmap.h"
#include "worker/text/tok_trie.h"

struct tok_spnorm {
	struct tok_charsmap *charsmap; /* or NULL; owned */
	struct tok_trie kept;          /* user-defined pieces: never rewritten */
	bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces, is_suffix;
};
void tok_spnorm_free(struct tok_spnorm *n);
void tok_spnorm_apply(const struct tok_spnorm *n, const char *s, size_t n_bytes, struct buf *out);
#endif
