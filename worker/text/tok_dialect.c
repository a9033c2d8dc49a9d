/* tok_dialect.c - Oniguruma's regex syntax into PCRE2's.
 *
 * A character class becomes an expression that matches one character: a plain PCRE2 class
 * where that can say it, else lookaheads and alternatives of such classes. Reference:
 * Oniguruma's doc/RE (Ruby syntax) against pcre2pattern(3). */
#include "worker/text/tok_regex.h"
#include <string.h>

#define DEPTH_MAX 16

/* Unicode White_Space. PCRE2's own \s under UCP also has U+180E. */
#define SPACES                                                                             \
	"\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}" \
	"\\x{202f}\\x{205f}\\x{3000}"
#define WORDS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define HEX   "0-9a-fA-F"

struct reader {
	const char *at, *end;
	struct fault *fault;
};

static int wrong(struct reader *r, const char *what)
{
	return fault_set(r->fault, ERR_TOKENIZER, "%s", what);
}

/* What \c stands for inside a class: the members, or NULL for other escapes. */
static const char *members_of(char c)
{
	switch (c | 0x20) {
	case 's': return SPACES;
	case 'w': return WORDS;
	case 'h': return HEX;
	case 'd': return "\\p{Nd}";
	}
	return NULL;
}

/* An escape that is one character or property: copied, \uHHHH as \x{HHHH}. */
static int copy_escape(struct reader *r, struct buf *out)
{
	if (r->end - r->at < 2)
		return wrong(r, "the pattern ends in a backslash");
	char c = r->at[1];
	if (c == 'u') {
		if (r->end - r->at < 6)
			return wrong(r, "\\u needs four hexadecimal digits");
		buf_adds(out, "\\x{");
		buf_add(out, r->at + 2, 4);
		buf_addc(out, '}');
		r->at += 6;
		return 0;
	}
	if (c == 'C' || c == 'K' || c == 'g' || c == 'k')
		return wrong(r, "\\C, \\K, \\g and \\k are not understood");
	size_t n = 2;
	if ((c == 'p' || c == 'P' || c == 'x') && r->at + 2 < r->end && r->at[2] == '{') {
		const char *close = memchr(r->at, '}', (size_t)(r->end - r->at));
		if (close == NULL)
			return wrong(r, "a { after \\p or \\x is not closed");
		n = (size_t)(close + 1 - r->at);
	}
	buf_add(out, r->at, n);
	r->at += n;
	return 0;
}

/* One operand of &&: members that fit a plain class, and alternatives that do not. */
struct operand {
	struct buf plain, others;
};

static void operand_release(struct operand *o)
{
	buf_release(&o->plain);
	buf_release(&o->others);
}

static void write_operand(const struct operand *o, bool negated, struct buf *out)
{
	if (o->others.n_bytes == 0) {
		buf_adds(out, negated ? "[^" : "[");
		buf_add(out, o->plain.data, o->plain.n_bytes);
		buf_addc(out, ']');
		return;
	}
	buf_adds(out, negated ? "(?:(?!" : "(?:(?:");
	if (o->plain.n_bytes) {
		buf_addc(out, '[');
		buf_add(out, o->plain.data, o->plain.n_bytes);
		buf_addc(out, ']');
		buf_add(out, o->others.data, o->others.n_bytes);
	} else {
		buf_add(out, o->others.data + 1, o->others.n_bytes - 1);
	}
	buf_adds(out, negated ? ")(?s:.))" : "))");
}

static int class_member(struct reader *r, struct operand *o, int depth);

/* `[` is at r->at; appends an expression for one character. */
static int read_class(struct reader *r, struct buf *out, int depth)
{
	if (depth > DEPTH_MAX)
		return wrong(r, "character classes are nested too deeply");
	struct buf sets = BUF_INIT;
	struct operand o = { BUF_INIT, BUF_INIT };
	int err = 0;
	bool first = true;
	r->at++;
	bool negated = r->at < r->end && *r->at == '^';
	r->at += negated;
	for (; err == 0; first = false) {
		if (r->at == r->end) {
			err = wrong(r, "a character class is not closed");
		} else if (*r->at == ']' && !first) {
			r->at++;
			break;
		} else if (r->end - r->at >= 2 && memcmp(r->at, "&&", 2) == 0) {
			buf_adds(&sets, "(?=");
			write_operand(&o, false, &sets);
			buf_adds(&sets, ")");
			operand_release(&o);
			r->at += 2;
		} else {
			err = class_member(r, &o, depth);
		}
	}
	if (err == 0 && sets.n_bytes == 0) {
		write_operand(&o, negated, out);
	} else if (err == 0) {
		buf_adds(out, negated ? "(?:(?!" : "(?:(?:");
		buf_add(out, sets.data, sets.n_bytes);
		write_operand(&o, false, out);
		buf_adds(out, negated ? ")(?s:.))" : "))");
	}
	operand_release(&o);
	buf_release(&sets);
	return err;
}

static int class_member(struct reader *r, struct operand *o, int depth)
{
	if (*r->at == '[') {
		const char *close =
			r->end - r->at > 2 && r->at[1] == ':'
				? memmem(r->at + 2, (size_t)(r->end - r->at - 2), ":]", 2)
				: NULL;
		if (close) {
			buf_add(&o->plain, r->at, (size_t)(close + 2 - r->at));
			r->at = close + 2;
			return 0;
		}
		buf_addc(&o->others, '|');
		return read_class(r, &o->others, depth + 1);
	}
	if (*r->at != '\\') {
		buf_addc(&o->plain, *r->at++);
		return 0;
	}
	char c = r->end - r->at > 1 ? r->at[1] : 0;
	const char *members = members_of(c);
	if (members == NULL)
		return copy_escape(r, &o->plain);
	if (c & 0x20)
		buf_adds(&o->plain, members);
	else
		buf_addf(&o->others, "|[^%s]", members);
	r->at += 2;
	return 0;
}

/* `(?` flags: Ruby's m is PCRE2's s. Groups that name or call are refused. */
static int copy_group(struct reader *r, struct buf *out)
{
	const char *p = r->at + 2;
	while (p < r->end && strchr("imx-", *p) && *p)
		p++;
	bool is_flags = p > r->at + 2 && p < r->end && (*p == ':' || *p == ')');
	if (!is_flags && r->end - r->at > 2 && !strchr(":=!>", r->at[2]) &&
		!(r->at[2] == '<' && r->end - r->at > 3 && strchr("=!", r->at[3])))
		return wrong(r, "a (? group of this kind is not understood");
	if (!is_flags)
		p = r->at + 2;
	for (const char *c = r->at; c < p; c++)
		buf_addc(out, *c == 'm' ? 's' : *c);
	r->at = p;
	return 0;
}

int tok_regex_translate(const char *pattern, size_t n, struct buf *out, struct fault *f)
{
	struct reader r = { pattern, pattern + n, f };
	int err = 0;
	while (err == 0 && r.at < r.end) {
		const char *members = r.end - r.at > 1 ? members_of(r.at[1]) : NULL;
		if (*r.at == '[') {
			err = read_class(&r, out, 0);
		} else if (*r.at == '\\' && members) {
			buf_addf(out, "[%s%s]", r.at[1] & 0x20 ? "" : "^", members);
			r.at += 2;
		} else if (*r.at == '\\') {
			err = copy_escape(&r, out);
		} else if (r.end - r.at > 1 && r.at[0] == '(' && r.at[1] == '?') {
			err = copy_group(&r, out);
		} else if (r.end - r.at > 1 && r.at[0] == '(' && r.at[1] == '*') {
			err = wrong(&r, "(* is not understood");
		} else {
			buf_addc(out, *r.at++);
		}
	}
	return err;
}
