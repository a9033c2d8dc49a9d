/* methods.c - the methods of strings, lists and dicts that change nothing. */
#include "protocol/utf8.h"
#include "worker/template/run.h"
#include <string.h>
#include <utf8proc.h>

#define SELF c->self.s

static struct value str_strip(struct run *r, const struct call *c)
{
	return run_strip(r, SELF, &c->v[0], true, true);
}

static struct value str_lstrip(struct run *r, const struct call *c)
{
	return run_strip(r, SELF, &c->v[0], true, false);
}

static struct value str_rstrip(struct run *r, const struct call *c)
{
	return run_strip(r, SELF, &c->v[0], false, true);
}

static struct value str_upper(struct run *r, const struct call *c)
{
	return run_case(r, SELF, 'u');
}

static struct value str_lower(struct run *r, const struct call *c)
{
	return run_case(r, SELF, 'l');
}

static struct value str_title(struct run *r, const struct call *c)
{
	return run_case(r, SELF, 't');
}

static struct value str_capitalize(struct run *r, const struct call *c)
{
	return run_case(r, SELF, 'c');
}

static bool needs_str(struct run *r, struct value v, const char *method)
{
	if (v.kind != V_STR)
		run_fail(r, "%s() needs a string, not %s", method, value_type_name(v));
	return v.kind == V_STR;
}

static bool begins(struct str s, struct value with)
{
	return with.kind == V_STR && s.n_bytes >= with.s.n_bytes &&
	       !memcmp(s.at, with.s.at, with.s.n_bytes);
}

static bool ends(struct str s, struct value with)
{
	return with.kind == V_STR && s.n_bytes >= with.s.n_bytes &&
	       !memcmp(s.at + s.n_bytes - with.s.n_bytes, with.s.at, with.s.n_bytes);
}

/* startswith and endswith take one string or a tuple of them. */
static struct value matches(
	struct run *r, const struct call *c, bool (*match)(struct str, struct value))
{
	struct value with = c->v[0];
	if (with.kind != V_TUPLE)
		return value_bool(needs_str(r, with, "startswith") && match(SELF, with));
	for (size_t i = 0; i < with.list->n; i++)
		if (match(SELF, with.list->items[i]))
			return value_bool(true);
	return value_bool(false);
}

static struct value str_startswith(struct run *r, const struct call *c)
{
	return matches(r, c, begins);
}

static struct value str_endswith(struct run *r, const struct call *c)
{
	return matches(r, c, ends);
}

static struct value str_removeprefix(struct run *r, const struct call *c)
{
	needs_str(r, c->v[0], "removeprefix");
	return begins(SELF, c->v[0]) ? value_str(str_slice(SELF, c->v[0].s.n_bytes,
					       SELF.n_bytes - c->v[0].s.n_bytes))
				     : c->self;
}

static struct value str_removesuffix(struct run *r, const struct call *c)
{
	needs_str(r, c->v[0], "removesuffix");
	return ends(SELF, c->v[0]) ? value_str(str_slice(SELF, 0, SELF.n_bytes - c->v[0].s.n_bytes))
				   : c->self;
}

static struct value str_replace(struct run *r, const struct call *c)
{
	if (!needs_str(r, c->v[0], "replace") || !needs_str(r, c->v[1], "replace"))
		return UNDEFINED;
	return run_replace(r, SELF, c->v[0].s, c->v[1].s, c->v[2].kind == V_INT ? c->v[2].i : -1);
}

/* First (or last) place of needle, in characters; -1 if there is none. */
static int64_t locate(struct str s, struct str needle, bool last)
{
	int64_t at = -1;
	for (const char *p = s.at, *end = s.at + s.n_bytes; p <= end; p++) {
		p = memmem(p, (size_t)(end - p), needle.at, needle.n_bytes);
		if (!p)
			break;
		at = p - s.at;
		if (!last)
			break;
	}
	return at < 0 ? -1 : (int64_t)str_chars(str_slice(s, 0, (size_t)at));
}

static struct value str_find(struct run *r, const struct call *c)
{
	return needs_str(r, c->v[0], "find") ? value_int(locate(SELF, c->v[0].s, false))
					     : UNDEFINED;
}

static struct value str_rfind(struct run *r, const struct call *c)
{
	return needs_str(r, c->v[0], "rfind") ? value_int(locate(SELF, c->v[0].s, true))
					      : UNDEFINED;
}

static struct value str_index(struct run *r, const struct call *c)
{
	struct value at = str_find(r, c);
	return at.kind == V_INT && at.i < 0 ? run_fail(r, "substring not found") : at;
}

static struct value str_count(struct run *r, const struct call *c)
{
	int64_t n = 0;
	if (!needs_str(r, c->v[0], "count"))
		return UNDEFINED;
	struct str needle = c->v[0].s;
	if (!needle.n_bytes)
		return value_int((int64_t)str_chars(SELF) + 1);
	for (size_t at = 0; at < SELF.n_bytes; n++) {
		const char *hit =
			memmem(SELF.at + at, SELF.n_bytes - at, needle.at, needle.n_bytes);
		if (!hit)
			break;
		at = (size_t)(hit - SELF.at) + needle.n_bytes;
	}
	return value_int(n);
}

static struct value split_blank(struct run *r, struct str s, int64_t max)
{
	struct value out = value_list(&r->arena, 0);
	struct value rest = run_strip(r, s, NULL, true, false);
	while (rest.s.n_bytes && run_step(r, 1)) {
		size_t n = 0;
		if (max == 0) {
			rest = run_strip(r, rest.s, NULL, false, true);
			n = rest.s.n_bytes;
		}
		while (n < rest.s.n_bytes) {
			struct str tail = str_slice(rest.s, n, rest.s.n_bytes - n);
			size_t one = str_offset(tail, 1);
			if (!run_strip(r, str_slice(tail, 0, one), NULL, true, true).s.n_bytes)
				break;
			n += one;
		}
		list_push(&r->arena, out.list, value_str(str_slice(rest.s, 0, n)));
		rest = run_strip(r, str_slice(rest.s, n, rest.s.n_bytes - n), NULL, true, false);
		max--;
	}
	return out;
}

static struct value split_at(struct run *r, struct str s, struct str by, int64_t max)
{
	struct value out = value_list(&r->arena, 0);
	if (!by.n_bytes)
		return run_fail(r, "empty separator");
	for (size_t at = 0; run_step(r, 1);) {
		const char *hit =
			max-- ? memmem(s.at + at, s.n_bytes - at, by.at, by.n_bytes) : NULL;
		size_t n = hit ? (size_t)(hit - s.at) - at : s.n_bytes - at;
		list_push(&r->arena, out.list, value_str(str_slice(s, at, n)));
		if (!hit)
			break;
		at += n + by.n_bytes;
	}
	return out;
}

static struct value str_split(struct run *r, const struct call *c)
{
	int64_t max = c->v[1].kind == V_INT ? c->v[1].i : -1;
	if (c->v[0].kind == V_UNDEFINED || c->v[0].kind == V_NONE)
		return split_blank(r, SELF, max);
	return needs_str(r, c->v[0], "split") ? split_at(r, SELF, c->v[0].s, max) : UNDEFINED;
}

static struct value str_rsplit(struct run *r, const struct call *c)
{
	struct value all = str_split(r, &(struct call) { .self = c->self, .v = { c->v[0] } });
	int64_t max = c->v[1].kind == V_INT ? c->v[1].i : -1;
	if (r->failed || max < 0 || (int64_t)all.list->n <= max + 1)
		return all;
	size_t first = all.list->n - (size_t)max; /* pieces kept apart, from the right */
	struct value out = value_list(&r->arena, (size_t)max + 1);
	struct str head = { SELF.at, 0, SELF.input };
	head.n_bytes = (size_t)(all.list->items[first - 1].s.at +
				all.list->items[first - 1].s.n_bytes - SELF.at);
	list_push(&r->arena, out.list, value_str(head));
	for (size_t i = first; i < all.list->n; i++)
		list_push(&r->arena, out.list, all.list->items[i]);
	return out;
}

static struct value str_splitlines(struct run *r, const struct call *c)
{
	struct value out = value_list(&r->arena, 0);
	bool keep = value_is_true(c->v[0]);
	for (size_t at = 0; at < SELF.n_bytes && run_step(r, 1);) {
		size_t n = 0, end;
		while (at + n < SELF.n_bytes && SELF.at[at + n] != '\n' && SELF.at[at + n] != '\r')
			n++;
		end = at + n;
		if (end < SELF.n_bytes)
			end += SELF.at[end] == '\r' && end + 1 < SELF.n_bytes &&
					       SELF.at[end + 1] == '\n'
				       ? 2
				       : 1;
		list_push(&r->arena, out.list, value_str(str_slice(SELF, at, keep ? end - at : n)));
		at = end;
	}
	return out;
}

static struct value str_join(struct run *r, const struct call *c)
{
	struct list *items = run_iterate(r, c->v[0]);
	struct strbuf out = { 0 };
	for (size_t i = 0; !r->failed && i < items->n && run_step(r, 1); i++) {
		if (i)
			strbuf_add(&out, SELF);
		if (needs_str(r, items->items[i], "join"))
			strbuf_add(&out, items->items[i].s);
	}
	return value_str(strbuf_done(&r->arena, &out));
}

/* All characters in [low, high] of utf8proc's categories, and at least one character. */
static bool all_in(struct str s, int low, int high)
{
	size_t at = 0;
	while (at < s.n_bytes) {
		uint32_t cp = 0;
		int n = utf8_decode(s.at + at, s.n_bytes - at, &cp);
		int category = (int)utf8proc_category((utf8proc_int32_t)cp);
		if (n < 1 || category < low || category > high)
			return false;
		at += (size_t)n;
	}
	return s.n_bytes > 0;
}

static struct value str_isdigit(struct run *r, const struct call *c)
{
	(void)r;
	return value_bool(all_in(SELF, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_ND));
}

static struct value str_isnumeric(struct run *r, const struct call *c)
{
	(void)r;
	return value_bool(all_in(SELF, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO));
}

static struct value str_isalpha(struct run *r, const struct call *c)
{
	(void)r;
	return value_bool(all_in(SELF, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO));
}

static struct value str_isspace(struct run *r, const struct call *c)
{
	return value_bool(SELF.n_bytes && !run_strip(r, SELF, NULL, true, true).s.n_bytes);
}

static struct value str_isupper(struct run *r, const struct call *c)
{
	return value_bool(run_test(r, value_text("upper").s, &(struct call) { .self = c->self }));
}

static struct value str_islower(struct run *r, const struct call *c)
{
	return value_bool(run_test(r, value_text("lower").s, &(struct call) { .self = c->self }));
}

static struct value list_index(struct run *r, const struct call *c)
{
	for (size_t i = 0; i < c->self.list->n && run_step(r, 1); i++)
		if (value_equal(c->self.list->items[i], c->v[0]))
			return value_int((int64_t)i);
	return run_fail(r, "value is not in list");
}

static struct value list_count(struct run *r, const struct call *c)
{
	int64_t n = 0;
	for (size_t i = 0; i < c->self.list->n && run_step(r, 1); i++)
		n += value_equal(c->self.list->items[i], c->v[0]);
	return value_int(n);
}

static struct value unsafe(struct run *r, const struct call *c)
{
	return run_fail(
		r, "access to a method that changes a %s is unsafe", value_type_name(c->self));
}

static struct value dict_get(struct run *r, const struct call *c)
{
	const struct value *v = dict_find(c->self.dict, c->v[0]);
	run_step(r, c->self.dict->n / RUN_LOOKUPS_PER_STEP);
	return v ? *v : c->given >> 1 & 1 ? c->v[1] : NONE;
}

static struct value dict_part(struct run *r, const struct dict *d, char part)
{
	struct value out = value_list(&r->arena, d->n);
	run_step(r, d->n);
	for (size_t i = 0; i < d->n; i++) {
		struct value pair = value_list(&r->arena, part == 'i' ? 2 : 0);
		pair.kind = V_TUPLE;
		if (part == 'i') {
			list_push(&r->arena, pair.list, d->items[i].key);
			list_push(&r->arena, pair.list, d->items[i].value);
		}
		list_push(&r->arena, out.list,
			part == 'i'   ? pair
			: part == 'k' ? d->items[i].key
				      : d->items[i].value);
	}
	return out;
}

static struct value dict_items(struct run *r, const struct call *c)
{
	return dict_part(r, c->self.dict, 'i');
}

static struct value dict_keys(struct run *r, const struct call *c)
{
	return dict_part(r, c->self.dict, 'k');
}

static struct value dict_values(struct run *r, const struct call *c)
{
	return dict_part(r, c->self.dict, 'v');
}

static struct value copy_of(struct run *r, const struct call *c)
{
	(void)r; /* nothing here can change a value, so a copy is the value */
	return c->self;
}

const struct method_row *builtin_method(enum value_kind kind, struct str name)
{
	static const struct method_row rows[] = {
		{ V_STR, { "strip", "chars", 0, str_strip } },
		{ V_STR, { "lstrip", "chars", 0, str_lstrip } },
		{ V_STR, { "rstrip", "chars", 0, str_rstrip } },
		{ V_STR, { "split", "sep maxsplit", 0, str_split } },
		{ V_STR, { "rsplit", "sep maxsplit", 0, str_rsplit } },
		{ V_STR, { "splitlines", "keepends", 0, str_splitlines } },
		{ V_STR, { "startswith", "prefix", 1, str_startswith } },
		{ V_STR, { "endswith", "suffix", 1, str_endswith } },
		{ V_STR, { "removeprefix", "prefix", 1, str_removeprefix } },
		{ V_STR, { "removesuffix", "suffix", 1, str_removesuffix } },
		{ V_STR, { "upper", "", 0, str_upper } },
		{ V_STR, { "lower", "", 0, str_lower } },
		{ V_STR, { "title", "", 0, str_title } },
		{ V_STR, { "capitalize", "", 0, str_capitalize } },
		{ V_STR, { "replace", "old new count", 2, str_replace } },
		{ V_STR, { "find", "sub", 1, str_find } },
		{ V_STR, { "rfind", "sub", 1, str_rfind } },
		{ V_STR, { "index", "sub", 1, str_index } },
		{ V_STR, { "count", "sub", 1, str_count } },
		{ V_STR, { "join", "iterable", 1, str_join } },
		{ V_STR, { "isdigit", "", 0, str_isdigit } },
		{ V_STR, { "isdecimal", "", 0, str_isdigit } },
		{ V_STR, { "isnumeric", "", 0, str_isnumeric } },
		{ V_STR, { "isalpha", "", 0, str_isalpha } },
		{ V_STR, { "isspace", "", 0, str_isspace } },
		{ V_STR, { "isupper", "", 0, str_isupper } },
		{ V_STR, { "islower", "", 0, str_islower } },
		{ V_LIST, { "index", "value", 1, list_index } },
		{ V_LIST, { "count", "value", 1, list_count } },
		{ V_LIST, { "copy", "", 0, copy_of } },
		{ V_LIST, { "append", "*", 0, unsafe } },
		{ V_LIST, { "extend", "*", 0, unsafe } },
		{ V_LIST, { "insert", "*", 0, unsafe } },
		{ V_LIST, { "pop", "*", 0, unsafe } },
		{ V_LIST, { "remove", "*", 0, unsafe } },
		{ V_LIST, { "reverse", "*", 0, unsafe } },
		{ V_LIST, { "sort", "*", 0, unsafe } },
		{ V_LIST, { "clear", "*", 0, unsafe } },
		{ V_TUPLE, { "index", "value", 1, list_index } },
		{ V_TUPLE, { "count", "value", 1, list_count } },
		{ V_DICT, { "get", "key default", 1, dict_get } },
		{ V_DICT, { "items", "", 0, dict_items } },
		{ V_DICT, { "keys", "", 0, dict_keys } },
		{ V_DICT, { "values", "", 0, dict_values } },
		{ V_DICT, { "copy", "", 0, copy_of } },
		{ V_DICT, { "update", "*", 0, unsafe } },
		{ V_DICT, { "pop", "*", 0, unsafe } },
		{ V_DICT, { "popitem", "*", 0, unsafe } },
		{ V_DICT, { "setdefault", "*", 0, unsafe } },
		{ V_DICT, { "clear", "*", 0, unsafe } },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].kind == kind && str_is(name, rows[i].row.name))
			return &rows[i];
	return NULL;
}
