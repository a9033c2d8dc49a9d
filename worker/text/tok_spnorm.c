/* tok_spnorm.c - normalizing as SentencePiece does (src/normalizer.cc describes it). */
#include "worker/text/tok_spnorm.h"
#include "worker/text/tok_unicode.h"
#include <stdlib.h>
#include <string.h>

static const char SPACE[] = "\xe2\x96\x81"; /* U+2581 stands for a space */

void tok_spnorm_free(struct tok_spnorm *n)
{
	if (n == NULL)
		return;
	tok_charsmap_free(n->charsmap);
	tok_trie_release(&n->kept);
	free(n);
}

struct part {
	const char *text;
	size_t n;
};

/* What the longest known start of s becomes; *taken is its length. */
static struct part next_part(
	const struct tok_spnorm *n, const char *s, size_t n_bytes, size_t *taken)
{
	int32_t id;
	const char *text;
	*taken = tok_trie_longest(&n->kept, s, n_bytes, &id);
	if (*taken > 0)
		return (struct part) { s, *taken };
	*taken = n->charsmap ? tok_charsmap_longest(n->charsmap, s, n_bytes, &text) : 0;
	if (*taken > 0)
		return (struct part) { text, strlen(text) };
	uni_next(s, n_bytes, taken);
	return (struct part) { s, *taken };
}

static void add_space(const struct tok_spnorm *n, struct buf *out)
{
	buf_adds(out, n->escape_whitespaces ? SPACE : " ");
}

static void add_part(const struct tok_spnorm *n, struct part p, struct buf *out)
{
	for (size_t i = 0; i < p.n; i++) {
		if (p.text[i] == ' ')
			add_space(n, out);
		else
			buf_addc(out, p.text[i]);
	}
}

static size_t skip_heading(const struct tok_spnorm *n, const char *s, size_t n_bytes)
{
	size_t at = 0, taken;
	while (n->remove_extra_whitespaces && at < n_bytes) {
		struct part p = next_part(n, s + at, n_bytes - at, &taken);
		if (p.n != 1 || p.text[0] != ' ')
			break;
		at += taken;
	}
	return at;
}

static void cut_trailing(const struct tok_spnorm *n, size_t from, struct buf *out)
{
	const char *space = n->escape_whitespaces ? SPACE : " ";
	size_t width = strlen(space);
	while (n->remove_extra_whitespaces && out->n_bytes >= from + width &&
		memcmp(out->data + out->n_bytes - width, space, width) == 0)
		out->n_bytes -= width;
}

void tok_spnorm_apply(
	const struct tok_spnorm *n, struct tok_piece in, size_t n_max, struct buf *out)
{
	const char *s = in.s;
	size_t n_bytes = in.n;
	size_t at = skip_heading(n, s, n_bytes), taken, from = out->n_bytes;
	bool after_space = n->remove_extra_whitespaces;
	if (at == n_bytes)
		return;
	if (!n->is_suffix && n->add_dummy_prefix)
		add_space(n, out);
	for (; at < n_bytes && out->n_bytes <= n_max; at += taken) {
		struct part p = next_part(n, s + at, n_bytes - at, &taken);
		while (after_space && p.n > 0 && p.text[0] == ' ') {
			p.text++;
			p.n--;
		}
		add_part(n, p, out);
		if (p.n > 0)
			after_space = p.text[p.n - 1] == ' ';
		after_space &= n->remove_extra_whitespaces;
	}
	cut_trailing(n, from, out);
	if (n->is_suffix && n->add_dummy_prefix)
		add_space(n, out);
}
