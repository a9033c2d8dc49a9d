/* tok_charsmap.h - SentencePiece's precompiled normalization: a double-array trie (Darts)
 * of byte strings, and what each becomes.
 *
 *   u32 n | n bytes of trie units (u32, little-endian) | texts, each ended by NUL */
#ifndef WORKER_TEXT_TOK_CHARSMAP_H
#define WORKER_TEXT_TOK_CHARSMAP_H
#include "protocol/buf.h"

struct tok_charsmap;

/* NULL if the bytes are not such a map. Copies them. */
struct tok_charsmap *tok_charsmap_new(const char *bytes, size_t n);
void tok_charsmap_free(struct tok_charsmap *m);

/* A string of the map that s[0..n) begins with: its length (0: none), and its text. */
size_t tok_charsmap_shortest(
	const struct tok_charsmap *m, const char *s, size_t n, const char **text);
size_t tok_charsmap_longest(
	const struct tok_charsmap *m, const char *s, size_t n, const char **text);

/* Hugging Face's Precompiled: grapheme by grapheme, else character by character. */
/* Stops soon after *out has more than n_max bytes. */
void tok_charsmap_apply(
	const struct tok_charsmap *m, const char *s, size_t n, size_t n_max, struct buf *out);
#endif
