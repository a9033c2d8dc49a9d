/* words.c - words of a command template. */
#include "controller/words.h"
#include "protocol/buf.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"

/* The character a backslash stands for, or NULL if it stands for itself there. */
static const char *escaped(const char *at, char quote)
{
	if (*at != '\\' || quote == '\'')
		return NULL;
	if (quote == '"' && at[1] != '"' && at[1] != '\\')
		return NULL;
	return at + 1;
}

/* Appends the word that begins at text; returns where it ended, or NULL. */
static const char *take_word(const char *text, struct buf *word)
{
	char quote = '\0';
	for (; *text && (quote || !strchr(BLANKS, *text)); text++) {
		const char *literal = escaped(text, quote);
		if (literal && !*literal)
			return NULL;
		if (literal)
			buf_addc(word, *(text = literal));
		else if (quote && *text == quote)
			quote = '\0';
		else if (!quote && (*text == '\'' || *text == '"'))
			quote = *text;
		else
			buf_addc(word, *text);
	}
	return quote ? NULL : text;
}

char **words_split(const char *text)
{
	char **words = xcalloc(1, sizeof *words);
	size_t n = 0;
	while (text && *(text += strspn(text, BLANKS))) {
		struct buf word = BUF_INIT;
		text = take_word(text, &word);
		words = xreallocarray(words, n + 2, sizeof *words);
		words[n++] = xstrdup(buf_cstr(&word));
		words[n] = NULL;
		buf_release(&word);
	}
	if (text && n > 0 && words[0][0])
		return words;
	words_free(words);
	return NULL;
}

void words_free(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}
