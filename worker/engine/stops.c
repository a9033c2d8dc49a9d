/* stops.c - stop strings, with the smallest hold-back. Stop 22; next: worker/stream.c */
#include "worker/engine/stops.h"
#include "protocol/mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct pattern {
	char *text;
	size_t n_bytes;
	size_t *border; /* [n_bytes] longest proper border of text[0..i] */
	size_t matched; /* bytes of text that the input ends with */
};

struct stops {
	struct pattern *patterns;
	size_t n_patterns;
	bool include, done;
	struct buf held; /* the end of the input that was not shown yet */
};

static void pattern_init(struct pattern *p, const char *text)
{
	p->n_bytes = strlen(text);
	assert(p->n_bytes > 0);
	p->text = xstrdup(text);
	p->border = xcalloc(p->n_bytes, sizeof *p->border);
	for (size_t i = 1, k = 0; i < p->n_bytes; i++) {
		while (k > 0 && p->text[i] != p->text[k])
			k = p->border[k - 1];
		k += p->text[i] == p->text[k];
		p->border[i] = k;
	}
}

struct stops *stops_new(char *const *strings, size_t n, bool include)
{
	if (n == 0)
		return NULL;
	struct stops *s = xcalloc(1, sizeof *s);
	s->patterns = xcalloc(n, sizeof *s->patterns);
	s->n_patterns = n;
	s->include = include;
	for (size_t i = 0; i < n; i++)
		pattern_init(&s->patterns[i], strings[i]);
	return s;
}

void stops_free(struct stops *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_patterns; i++) {
		free(s->patterns[i].border);
		free(s->patterns[i].text);
	}
	free(s->patterns);
	buf_release(&s->held);
	free(s);
}

static bool pattern_step(struct pattern *p, char c)
{
	while (p->matched > 0 && p->text[p->matched] != c)
		p->matched = p->border[p->matched - 1];
	p->matched += p->text[p->matched] == c;
	return p->matched == p->n_bytes;
}

/* Length of the longest stop that c completes, or 0; *partial is the longest beginning of a
 * stop that the input now ends with. */
static size_t step(struct stops *s, char c, size_t *partial)
{
	size_t full = 0;
	*partial = 0;
	for (size_t i = 0; i < s->n_patterns; i++) {
		struct pattern *p = &s->patterns[i];
		if (pattern_step(p, c))
			full = p->n_bytes > full ? p->n_bytes : full;
		else
			*partial = p->matched > *partial ? p->matched : *partial;
	}
	return full;
}

bool stops_push(struct stops *s, const char *text, size_t n, struct buf *out)
{
	if (!s) {
		buf_add(out, text, n);
		return false;
	}
	size_t partial = 0;
	for (size_t i = 0; i < n && !s->done; i++) {
		buf_addc(&s->held, text[i]);
		size_t full = step(s, text[i], &partial);
		if (full == 0)
			continue;
		s->done = true;
		buf_add(out, s->held.data, s->held.n_bytes - (s->include ? 0 : full));
		buf_clear(&s->held);
	}
	if (n > 0 && !s->done) {
		size_t safe = s->held.n_bytes - partial;
		buf_add(out, s->held.data, safe);
		buf_consume(&s->held, safe);
	}
	return s->done;
}

void stops_flush(struct stops *s, struct buf *out)
{
	if (!s)
		return;
	buf_add(out, s->held.data, s->held.n_bytes);
	buf_clear(&s->held);
}
