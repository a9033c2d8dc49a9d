/* tok_scores.h - models given as pieces with scores: SentencePiece files and GGUF. */
#ifndef WORKER_TEXT_TOK_SCORES_H
#define WORKER_TEXT_TOK_SCORES_H
#include "worker/text/tok_stages.h"

/* a's pieces into m->vocab. */
int tok_scores_read_pieces(
	struct tok_model *m, const struct tok_arrays *a, const char *where, struct fault *f);

/* SentencePiece BPE: any two neighbours whose joined text is a piece may merge, the higher
 * score first. Written out as rules once, so that encoding is that of other BPE. */
int tok_scores_make_bpe(
	struct tok_model *m, const struct tok_arrays *a, const char *where, struct fault *f);

/* Unigram over the normal, user-defined and unused pieces. `as_sentencepiece`: sums in
 * float and favours user-defined pieces, as its C++ does; else as llama.cpp does. */
int tok_scores_make_unigram(
	struct tok_model *m, const struct tok_arrays *a, bool as_sentencepiece, struct fault *f);

/* Control, unknown and (if `cut_user`) user-defined pieces as added tokens. `normalized`:
 * user-defined ones are looked for in normalized text. */
void tok_scores_add_tokens(
	struct tok_added *added, const struct tok_arrays *a, bool cut_user, bool normalized);
#endif
