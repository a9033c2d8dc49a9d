/* tok_scripts.h - the UnicodeScripts pre-tokenizer's runs of one script. */
#ifndef WORKER_TEXT_TOK_SCRIPTS_H
#define WORKER_TEXT_TOK_SCRIPTS_H
#include "protocol/buf.h"

/* Append a pattern that matches one run: kana count as Han; a space and characters without
 * a script belong to the run they follow. */
void tok_scripts_pattern(struct buf *out);
#endif
