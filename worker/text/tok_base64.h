/* tok_base64.h - base64 (RFC 4648), as tokenizer.json carries binary fields. */
#ifndef WORKER_TEXT_TOK_BASE64_H
#define WORKER_TEXT_TOK_BASE64_H
#include "protocol/buf.h"

/* Append the bytes that s[0..n) encodes; false if it is not padded base64. */
bool tok_base64_read(const char *s, size_t n, struct buf *out);
#endif
