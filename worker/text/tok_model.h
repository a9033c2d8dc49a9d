/* tok_model.h - the kinds of models, and what their readers share. */
#ifndef WORKER_TEXT_TOK_MODEL_H
#define WORKER_TEXT_TOK_MODEL_H
#include "worker/text/tok_stages.h"

extern const struct model_kind tok_bpe_kind, tok_unigram_kind, tok_wordpiece_kind,
	tok_wordlevel_kind;

/* {"piece": id, …} into m->vocab. */
int tok_model_read_vocab(struct tok_model *m, const struct tok_field *x);
/* model.unk_token, which must be in the vocabulary if it is set. */
int tok_model_read_unk(struct tok_model *m, const struct tok_field *model);

/* Unigram without a file: pieces in order of id, then finish. false: too many. *cap is of
 * the scores, 0 at first. */
bool tok_unigram_add(struct tok_model *m, const char *s, size_t n, double score, size_t *cap);
bool tok_unigram_finish(struct tok_model *m);
/* Every piece into the trie. false: too many. */
bool tok_wordpiece_finish(struct tok_model *m);
void tok_bpe_find_seams(struct tok_model *m);   /* m->joins, of the rules there are */
void tok_model_find_bytes(struct tok_model *m); /* "<0x00>" … "<0xFF>" */
#endif
