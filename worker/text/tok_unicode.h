/* tok_unicode.h - the character classes that Hugging Face tokenizers asks for (Rust's
 * char methods and regex classes), over utf8proc. */
#ifndef WORKER_TEXT_TOK_UNICODE_H
#define WORKER_TEXT_TOK_UNICODE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool uni_is_space(uint32_t cp);      /* White_Space */
bool uni_is_numeric(uint32_t cp);    /* Nd, Nl, No */
bool uni_is_mark(uint32_t cp);       /* Mn, Mc, Me */
bool uni_is_nonspacing(uint32_t cp); /* Mn */
bool uni_is_punct(uint32_t cp);      /* ASCII punctuation and symbols, P* */
bool uni_is_other(uint32_t cp);      /* Cc, Cf, Cs, Co, not the unassigned */
bool uni_is_word(uint32_t cp);       /* \w: Alphabetic, M, Nd, Pc, joiners */

/* The character at s[*at..n), *at moved past it. s is valid UTF-8. */
uint32_t uni_next(const char *s, size_t n, size_t *at);
/* The character that ends at s + n. n > 0. */
uint32_t uni_last(const char *s, size_t n);
#endif
