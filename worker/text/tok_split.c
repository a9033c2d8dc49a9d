/* tok_split.c - cutting a piece at matches, with Hugging Face's five behaviours.
 *
 * A piece is walked as alternating stretches, matched or not; `invert` swaps the two. What
 * a stretch becomes depends on at most its neighbour, so one is held back at a time. */
#include "worker/text/tok_stages.h"
#include "worker/text/tok_unicode.h"
#include <string.h>

struct cutter {
	const struct tok_pretok *p;
	struct tok_run *r;
	size_t stage;
	struct tok_piece in;
	struct tok_span held;
	bool is_held, held_matched, last_matched;
};

static int emit(struct cutter *c, struct tok_span part)
{
	return tok_emit(c->r, c->stage + 1,
		(struct tok_piece) { c->in.s + part.start, part.end - part.start,
			c->in.at_start && part.start == 0 });
}

static int flush(struct cutter *c)
{
	if (!c->is_held)
		return 0;
	c->is_held = false;
	return emit(c, c->held);
}

static int hold(struct cutter *c, struct tok_span part, bool matched)
{
	int err = flush(c);
	c->held = part;
	c->held_matched = matched;
	c->is_held = true;
	return err;
}

static int stretch(struct cutter *c, struct tok_span part, bool matched)
{
	bool last = c->last_matched;
	matched ^= c->p->invert;
	c->last_matched = matched;
	switch (c->p->behavior) {
	case SPLIT_REMOVED: return matched ? 0 : emit(c, part);
	case SPLIT_ISOLATED: return emit(c, part);
	case SPLIT_CONTIGUOUS:
		if (!c->is_held || matched != c->held_matched)
			return hold(c, part, matched);
		break;
	case SPLIT_MERGED_WITH_PREVIOUS:
		if (!c->is_held || !matched || last)
			return hold(c, part, matched);
		break;
	case SPLIT_MERGED_WITH_NEXT:
		if (!c->is_held || matched || !c->held_matched)
			return hold(c, part, matched);
		c->held_matched = false;
		break;
	}
	c->held.end = part.end;
	return 0;
}

static int find_char(
	const struct tok_pretok *p, struct tok_piece in, size_t from, struct tok_span *out)
{
	for (size_t at = from; at < in.n;) {
		size_t start = at;
		if (p->is_match(uni_next(in.s, in.n, &at))) {
			*out = (struct tok_span) { start, at };
			return 1;
		}
	}
	return 0;
}

static int find_literal(
	const struct tok_pretok *p, struct tok_piece in, size_t from, struct tok_span *out)
{
	const char *hit = memmem(in.s + from, in.n - from, p->literal.data, p->literal.n_bytes);
	if (hit == NULL)
		return 0;
	*out = (struct tok_span) { (size_t)(hit - in.s),
		(size_t)(hit - in.s) + p->literal.n_bytes };
	return 1;
}

static int find(struct cutter *c, size_t from, struct tok_span *out)
{
	const struct tok_pretok *p = c->p;
	if (p->is_match)
		return find_char(p, c->in, from, out);
	if (p->regex == NULL)
		return find_literal(p, c->in, from, out);
	int rc = tok_regex_find(
		p->regex, &c->r->work->regex, (struct tok_span) { from, c->in.n }, c->in.s, out);
	if (rc >= 0)
		return rc;
	return fault_set(c->r->fault, rc,
		"The pre-tokenizer's regex takes too many steps on this text (near byte %zu of a "
		"part of %zu bytes)",
		from, c->in.n);
}

/* A pattern that matches everywhere: no stretch between matches, nothing held. */
static int split_by_scan(struct cutter *c)
{
	size_t (*scan)(const char *, size_t, size_t) = c->p->scan;
	for (size_t at = 0; at < c->in.n;) {
		size_t end = scan(c->in.s, c->in.n, at);
		int err = emit(c, (struct tok_span) { at, end });
		if (err)
			return err;
		at = end;
	}
	return 0;
}

int tok_split(const struct tok_pretok *p, struct tok_run *r, size_t stage, struct tok_piece in)
{
	struct cutter c = { .p = p, .r = r, .stage = stage, .in = in };
	if (p->scan)
		return split_by_scan(&c);
	size_t done = 0, from = 0;
	struct tok_span m;
	int err = 0, rc = 0;
	while (err == 0 && from <= in.n && (rc = find(&c, from, &m)) > 0) {
		/* An empty match right after a match is none; the search goes on behind the
		 * next character. */
		if (m.end == m.start && m.start == done && done > 0) {
			from = m.end;
			if (from == in.n)
				break;
			uni_next(in.s, in.n, &from);
			continue;
		}
		if (m.start > done)
			err = stretch(&c, (struct tok_span) { done, m.start }, false);
		if (err == 0)
			err = stretch(&c, m, true);
		from = done = m.end;
		if (m.end == m.start && from < in.n)
			uni_next(in.s, in.n, &from);
		else if (m.end == m.start)
			break;
	}
	if (rc < 0)
		return rc;
	if (err == 0 && done < in.n)
		err = stretch(&c, (struct tok_span) { done, in.n }, false);
	return err ? err : flush(&c);
}
