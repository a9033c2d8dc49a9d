/* tok_unorm.h - Unicode normalization forms (UAX 15), linear also on hostile text. */
#ifndef WORKER_TEXT_TOK_UNORM_H
#define WORKER_TEXT_TOK_UNORM_H
#include "protocol/buf.h"

enum unorm_form { UNORM_NFC, UNORM_NFD, UNORM_NFKC, UNORM_NFKD };

/* Append the normal form of s[0..n), which is valid UTF-8. */
void tok_unorm(enum unorm_form form, const char *s, size_t n, struct buf *out);
#endif
