/* tok_bytelevel.h - GPT-2's alphabet: one printable character for each of the 256 bytes.
 *
 * Byte-level vocabularies are written in it ("Ġhello" for " hello"). Inside we keep such
 * pieces as the bytes they mean and never map text forth and back. */
#ifndef WORKER_TEXT_TOK_BYTELEVEL_H
#define WORKER_TEXT_TOK_BYTELEVEL_H
#include "protocol/buf.h"

uint32_t bytelevel_char(unsigned char byte);
int bytelevel_byte(uint32_t cp); /* -1: not in the alphabet */

/* Append the characters of n bytes. */
void bytelevel_write(const char *s, size_t n, struct buf *out);
/* Append the bytes that piece s[0..n) means. false, and nothing appended, if any of its
 * characters is outside the alphabet. */
bool bytelevel_read(const char *s, size_t n, struct buf *out);
#endif
