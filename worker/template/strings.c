/* strings.c - string work that filters and methods share; every byte keeps its mark. */
#include "protocol/utf8.h"
#include "worker/template/run.h"
#include <string.h>
#include <utf8proc.h>

/* Python's str.isspace, for the characters that occur. */
static bool is_space(uint32_t cp)
{
	if (cp <= 0x20)
		return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x1f);
	return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

/* Is the character at s (n bytes long) one to strip: in `chars`, or blank if NULL? */
static bool strips(const char *s, size_t n, const struct value *chars)
{
	uint32_t cp = 0;
	utf8_decode(s, n, &cp);
	return chars ? memmem(chars->s.at, chars->s.n_bytes, s, n) != NULL : is_space(cp);
}

struct value run_strip(
	struct run *r, struct str s, const struct value *chars, bool left, bool right)
{
	size_t from = 0, to = s.n_bytes;
	if (chars && (chars->kind == V_UNDEFINED || chars->kind == V_NONE))
		chars = NULL;
	if (chars && chars->kind != V_STR)
		return run_fail(r, "strip arg must be None or str");
	while (left && from < to) {
		size_t n = str_offset(str_slice(s, from, to - from), 1);
		if (!strips(s.at + from, n, chars))
			break;
		from += n;
	}
	while (right && to > from) {
		size_t at = to - 1;
		while (at > from && (s.at[at] & 0xc0) == 0x80)
			at--;
		if (!strips(s.at + at, to - at, chars))
			break;
		to = at;
	}
	run_step(r, s.n_bytes / 256);
	return value_str(str_slice(s, from, to - from));
}

struct value run_replace(struct run *r, struct str s, struct str from, struct str to, int64_t count)
{
	struct strbuf out = { 0 };
	size_t at = 0;
	if (from.n_bytes && to.n_bytes > from.n_bytes &&
		s.n_bytes / from.n_bytes > RUN_BYTES_MAX / to.n_bytes)
		return run_fail(r, "replace makes too long a string");
	run_step(r, s.n_bytes / 16);
	for (; at < s.n_bytes && count && !r->failed; count--) {
		const char *hit = memmem(s.at + at, s.n_bytes - at, from.at, from.n_bytes);
		if (!hit)
			break;
		size_t skip = (size_t)(hit - s.at) - at, take = from.n_bytes;
		strbuf_add(&out, str_slice(s, at, skip));
		strbuf_add(&out, to);
		if (!take) { /* an empty needle sits before every character */
			take = str_offset(str_slice(s, at, s.n_bytes - at), 1);
			strbuf_add(&out, str_slice(s, at, take));
		}
		at += skip + take;
	}
	strbuf_add(&out, str_slice(s, at, s.n_bytes - at));
	if (!from.n_bytes && at == s.n_bytes && count)
		strbuf_add(&out, to);
	return value_str(strbuf_done(&r->arena, &out));
}

static uint32_t change_case(uint32_t cp, bool up)
{
	utf8proc_int32_t c = (utf8proc_int32_t)cp;
	return (uint32_t)(up ? utf8proc_toupper(c) : utf8proc_tolower(c));
}

struct value run_case(struct run *r, struct str s, char how)
{
	struct strbuf out = { 0 };
	bool word_start = true;
	run_step(r, s.n_bytes / 64);
	for (size_t at = 0; at < s.n_bytes;) {
		uint32_t cp = 0;
		char bytes[4];
		int n = utf8_decode(s.at + at, s.n_bytes - at, &cp);
		if (n < 1)
			break;
		uint32_t changed = change_case(cp, how == 'u' || (how != 'l' && word_start));
		word_start =
			how == 't' ? change_case(cp, true) == change_case(cp, false)
				   : how == 'T' && (is_space(cp) ||
							   (cp < 0x80 && strchr("-({[<", (int)cp)));
		strbuf_addm(
			&out, bytes, (size_t)utf8_encode(changed, bytes), s.input && s.input[at]);
		at += (size_t)n;
	}
	return value_str(strbuf_done(&r->arena, &out));
}
