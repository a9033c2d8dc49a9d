/* tok_sentencepiece.h - tokenizer.model, for folders without a tokenizer.json. */
#ifndef WORKER_TEXT_TOK_SENTENCEPIECE_H
#define WORKER_TEXT_TOK_SENTENCEPIECE_H
#include "worker/text/tok_stages.h"

/* BPE and unigram models; ids as SentencePiece gives them, without bos or eos. */
int tok_sentencepiece_open(
	const char *bytes, size_t n, const char *where, struct tokenizer **out, struct fault *f);
#endif
