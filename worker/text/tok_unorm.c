/* tok_unorm.c - NFC, NFD, NFKC and NFKD over utf8proc's tables.
 *
 * utf8proc_map sorts combining marks by repeated exchange, quadratic on a text of marks
 * alone; here a run of marks is sorted by counting. ASCII passes untouched: it is stable in
 * every form and composes only as the first of a pair. */
#include "worker/text/tok_unorm.h"
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "worker/text/tok_unicode.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct chars {
	int32_t *cp, *spare;
	size_t n, cap;
};

static void reserve(struct chars *c, size_t more)
{
	if (c->n + more <= c->cap)
		return;
	c->cap = 2 * (c->n + more);
	c->cp = xreallocarray(c->cp, c->cap, sizeof *c->cp);
	c->spare = xreallocarray(c->spare, c->cap, sizeof *c->spare);
}

static void decompose(struct chars *c, const char *s, size_t n, utf8proc_option_t how)
{
	for (size_t at = 0; at < n;) {
		int32_t cp = (int32_t)uni_next(s, n, &at);
		int boundary = 0;
		/* The longest decomposition is 18 characters (U+FDFA). */
		reserve(c, 20);
		utf8proc_ssize_t k = utf8proc_decompose_char(cp, c->cp + c->n, 20, how, &boundary);
		c->n += k > 0 && k <= 20 ? (size_t)k : 0;
	}
}

static unsigned class_of(int32_t cp)
{
	return (unsigned)utf8proc_get_property(cp)->combining_class & 255;
}

static void sort_marks(struct chars *c, size_t start, size_t end)
{
	size_t count[256] = { 0 }, at = start;
	for (size_t i = start; i < end; i++)
		count[class_of(c->cp[i])]++;
	for (int k = 0; k < 256; k++) {
		size_t n = count[k];
		count[k] = at;
		at += n;
	}
	for (size_t i = start; i < end; i++)
		c->spare[count[class_of(c->cp[i])]++] = c->cp[i];
	memcpy(c->cp + start, c->spare + start, (end - start) * sizeof *c->cp);
}

/* Canonical ordering: runs of non-starters, stably by class. */
static void reorder(struct chars *c)
{
	for (size_t i = 0; i < c->n;) {
		size_t start = i;
		bool sorted = true;
		for (; i < c->n && class_of(c->cp[i]) != 0; i++)
			sorted &= i == start || class_of(c->cp[i - 1]) <= class_of(c->cp[i]);
		if (!sorted)
			sort_marks(c, start, i);
		i += i == start;
	}
}

static void normalize_part(
	struct chars *c, enum unorm_form form, const char *s, size_t n, struct buf *out)
{
	utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
	if (form == UNORM_NFKC || form == UNORM_NFKD)
		how |= UTF8PROC_COMPAT;
	c->n = 0;
	decompose(c, s, n, how);
	reorder(c);
	if (form == UNORM_NFC || form == UNORM_NFKC) {
		utf8proc_ssize_t k = utf8proc_normalize_utf32(
			c->cp, (utf8proc_ssize_t)c->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
		c->n = k > 0 ? (size_t)k : 0;
	}
	buf_reserve(out, 4 * c->n);
	for (size_t i = 0; i < c->n; i++)
		out->n_bytes += (size_t)utf8_encode((uint32_t)c->cp[i], out->data + out->n_bytes);
}

static size_t ascii_run(const char *s, size_t n)
{
	size_t at = 0;
	uint64_t eight;
	while (n - at >= 8 && (memcpy(&eight, s + at, 8), !(eight & 0x8080808080808080u)))
		at += 8;
	while (at < n && (unsigned char)s[at] < 0x80)
		at++;
	return at;
}

static size_t other_run(const char *s, size_t n)
{
	size_t at = 0;
	while (at < n && (unsigned char)s[at] >= 0x80)
		at++;
	return at;
}

void tok_unorm(enum unorm_form form, const char *s, size_t n, struct buf *out)
{
	struct chars c = { 0 };
	for (size_t at = 0; at < n;) {
		size_t plain = ascii_run(s + at, n - at);
		/* The last letter may take the marks after it. */
		if (plain > 0 && at + plain < n)
			plain--;
		buf_add(out, s + at, plain);
		at += plain;
		if (at == n)
			break;
		size_t lead = (unsigned char)s[at] < 0x80;
		size_t part = lead + other_run(s + at + lead, n - at - lead);
		normalize_part(&c, form, s + at, part, out);
		at += part;
	}
	free(c.cp);
	free(c.spare);
}
