/* tok_pre.h - the pre-tokenizers that GGUF files name (tokenizer.ggml.pre). */
#ifndef WORKER_TEXT_TOK_PRE_H
#define WORKER_TEXT_TOK_PRE_H
#include <stdbool.h>

struct tok_pre {
	const char *names;       /* space-separated */
	const char *patterns[6]; /* cut at each in turn, keeping what lies between */
	bool ignore_merges;      /* a word that is a piece is that piece */
	bool add_bos;            /* unless the file says otherwise */
	bool add_sep;
};

/* NULL if no row has this name; "" and "default" are a row too. */
const struct tok_pre *tok_pre_find(const char *name);
#endif
