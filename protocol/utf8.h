/* utf8.h - the three questions we ask about UTF-8 (RFC 3629: no surrogates, no
 * overlong forms, at most U+10FFFF). */
#ifndef PROTOCOL_UTF8_H
#define PROTOCOL_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decode the character at s[0..n). Returns its length 1..4 and sets *cp; 0 when the bytes
 * are a proper prefix of a character (more may follow); -1 when they can never be one. */
int utf8_decode(const char *s, size_t n, uint32_t *cp);

bool utf8_is_valid(const char *s, size_t n);

/* Length of the longest prefix of s[0..n) that does not end inside a character. Invalid
 * bytes count as whole characters (a writer turns each into U+FFFD). */
size_t utf8_whole_prefix(const char *s, size_t n);

/* Encode cp into out[4]; returns 1..4. cp must be a scalar value. */
int utf8_encode(uint32_t cp, char out[4]);
#endif
