/* words.h - a command line cut into words, without a shell: no expansion, no redirection, and
 * nothing in it can start anything else.
 *
 * Blanks separate; '…' keeps everything, "…" everything but \" and \\, a backslash outside
 * quotes the next character. */
#ifndef CONTROLLER_WORDS_H
#define CONTROLLER_WORDS_H
#include <stddef.h>

/* NULL-terminated list of at least one word; words_free() gives it back. NULL if the text has
 * none, or a quote is not closed, or it ends in a backslash. */
char **words_split(const char *text);
void words_free(char **words);
#endif
