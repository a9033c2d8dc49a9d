/* tok_chain.h - reading a stage of tokenizer.json, which may be a Sequence of stages.
 *
 * Sequences are flattened: running their members in order is what they mean. */
#ifndef WORKER_TEXT_TOK_CHAIN_H
#define WORKER_TEXT_TOK_CHAIN_H
#include "worker/text/tok_field.h"

#define STAGES_MAX 64 /* of one chain; Sequences nest a quarter as deep */

struct tok_chain {
	const char *what;                   /* "normalizer", for complaints */
	const char *list;                   /* the member of a Sequence that holds its stages */
	const char *(*type_at)(size_t row); /* of the table of kinds; NULL past its end */
	int (*read)(void *into, size_t row, const struct tok_field *x);
};

/* Read x, which may be absent or null: nothing then. */
int tok_chain_read(const struct tok_chain *c, void *into, const struct tok_field *x);
#endif
