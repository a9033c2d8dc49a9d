/* tok_charsmap.c - reading and applying SentencePiece's precompiled charsmap. */
#include "worker/text/tok_charsmap.h"
#include "protocol/mem.h"
#include "worker/text/tok_unicode.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct tok_charsmap {
	uint32_t *units;
	size_t n_units;
	char *texts;            /* ends in NUL */
	const char *ascii[128]; /* what a lone ASCII character becomes, or NULL: itself */
	size_t n_texts;
};

static uint32_t le32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;
	return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

struct tok_charsmap *tok_charsmap_new(const char *bytes, size_t n)
{
	if (n < 4)
		return NULL;
	size_t n_trie = le32(bytes);
	if (n_trie > n - 4 || n_trie % 4 != 0 || n_trie == 0)
		return NULL;
	struct tok_charsmap *m = xcalloc(1, sizeof *m);
	m->n_units = n_trie / 4;
	m->units = xreallocarray(NULL, m->n_units, sizeof *m->units);
	for (size_t i = 0; i < m->n_units; i++)
		m->units[i] = le32(bytes + 4 + 4 * i);
	m->n_texts = n - 4 - n_trie;
	m->texts = xstrndup(bytes + 4 + n_trie, m->n_texts);
	for (int c = 0; c < 128; c++) {
		char one = (char)c;
		if (tok_charsmap_shortest(m, &one, 1, &m->ascii[c]) == 0)
			m->ascii[c] = NULL;
	}
	return m;
}

void tok_charsmap_free(struct tok_charsmap *m)
{
	if (m == NULL)
		return;
	free(m->units);
	free(m->texts);
	free(m);
}

/* Darts-clone units: bits 0-7 label, 8 has a leaf, 9 and 10-30 offset; a leaf's low 31 bits
 * are its value. */
static size_t offset_of(uint32_t unit)
{
	return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

struct walk {
	size_t node, length; /* length: bytes walked */
};

/* Step over s[0..n) until the next string of the map ends; its length, or 0. */
static size_t next_match(
	const struct tok_charsmap *m, struct walk *w, const char *s, size_t n, const char **text)
{
	while (w->length < n && s[w->length] != '\0') {
		unsigned char byte = (unsigned char)s[w->length++];
		w->node ^= byte;
		if (w->node >= m->n_units)
			return 0;
		uint32_t unit = m->units[w->node];
		if ((unit & (1u << 31 | 0xff)) != byte)
			return 0;
		w->node ^= offset_of(unit);
		if (!(unit >> 8 & 1))
			continue;
		if (w->node >= m->n_units)
			return 0;
		uint32_t at = m->units[w->node] & 0x7fffffff;
		if (at >= m->n_texts)
			return 0;
		*text = m->texts + at;
		return w->length;
	}
	return 0;
}

size_t tok_charsmap_shortest(
	const struct tok_charsmap *m, const char *s, size_t n, const char **text)
{
	struct walk w = { offset_of(m->units[0]), 0 };
	return next_match(m, &w, s, n, text);
}

size_t tok_charsmap_longest(
	const struct tok_charsmap *m, const char *s, size_t n, const char **text)
{
	struct walk w = { offset_of(m->units[0]), 0 };
	size_t longest = 0;
	for (size_t length; (length = next_match(m, &w, s, n, text)) > 0;)
		longest = length;
	return longest;
}

/* End of the extended grapheme cluster that begins at `at`. */
static size_t grapheme_end(const char *s, size_t n, size_t at)
{
	utf8proc_int32_t state = 0;
	int32_t last = (int32_t)uni_next(s, n, &at);
	while (at < n) {
		size_t next = at;
		int32_t cp = (int32_t)uni_next(s, n, &next);
		if (utf8proc_grapheme_break_stateful(last, cp, &state))
			break;
		last = cp;
		at = next;
	}
	return at;
}

/* Only short graphemes are looked up whole, and by the shortest string they begin with:
 * that is what Hugging Face's Precompiled does, and vocabularies were made with it. */
#define GRAPHEME_MAX 6

/* ASCII before ASCII is a grapheme of its own, but for CR LF. Returns the bytes passed. */
static size_t apply_ascii(
	const struct tok_charsmap *m, const char *s, size_t n, size_t n_max, struct buf *out)
{
	size_t at = 0;
	for (; at < n && (signed char)s[at] >= 0 && s[at] != '\r'; at++) {
		if (out->n_bytes > n_max || (at + 1 < n && (signed char)s[at + 1] < 0))
			break;
		const char *text = m->ascii[(unsigned char)s[at]];
		if (text)
			buf_adds(out, text);
		else
			buf_addc(out, s[at]);
	}
	return at;
}

void tok_charsmap_apply(
	const struct tok_charsmap *m, const char *s, size_t n, size_t n_max, struct buf *out)
{
	for (size_t at = 0; at < n && out->n_bytes <= n_max;) {
		const char *text;
		at += apply_ascii(m, s + at, n - at, n_max, out);
		if (at == n)
			break;
		size_t end = grapheme_end(s, n, at);
		if (end - at < GRAPHEME_MAX && tok_charsmap_shortest(m, s + at, end - at, &text)) {
			buf_adds(out, text);
			at = end;
		}
		while (at < end) {
			size_t start = at;
			uni_next(s, n, &at);
			if (tok_charsmap_shortest(m, s + start, at - start, &text))
				buf_adds(out, text);
			else
				buf_add(out, s + start, at - start);
		}
	}
}
