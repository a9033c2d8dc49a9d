/* value.c - constructors, truth, equality and order of template values. */
#include "worker/template/value.h"
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include <math.h>
#include <string.h>

struct value value_bool(bool b)
{
	return (struct value) { .kind = V_BOOL, .b = b };
}

struct value value_int(int64_t i)
{
	return (struct value) { .kind = V_INT, .i = i };
}

struct value value_float(double f)
{
	return (struct value) { .kind = V_FLOAT, .f = f };
}

struct value value_str(struct str s)
{
	return (struct value) { .kind = V_STR, .s = s };
}

struct value value_text(const char *literal)
{
	return value_str((struct str) { literal, strlen(literal), NULL });
}

struct value value_undefined(const char *name)
{
	return (struct value) { .kind = V_UNDEFINED, .name = name };
}

struct value value_list(struct arena *a, size_t cap)
{
	struct list *l = arena_alloc(a, sizeof *l);
	l->cap = cap;
	l->items = cap ? arena_alloc(a, cap * sizeof *l->items) : NULL;
	return (struct value) { .kind = V_LIST, .list = l };
}

void list_push(struct arena *a, struct list *l, struct value v)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 8;
		struct value *items = arena_alloc(a, cap * sizeof *items);
		if (l->n)
			memcpy(items, l->items, l->n * sizeof *items);
		l->items = items;
		l->cap = cap;
	}
	l->items[l->n++] = v;
}

struct value value_dict(struct arena *a)
{
	return (struct value) { .kind = V_DICT, .dict = arena_alloc(a, sizeof(struct dict)) };
}

const struct value *dict_find(const struct dict *d, struct value key)
{
	for (size_t i = 0; i < d->n; i++)
		if (value_equal(d->items[i].key, key))
			return &d->items[i].value;
	return NULL;
}

const struct value *dict_find_text(const struct dict *d, const char *key)
{
	return dict_find(d, value_text(key));
}

void dict_put(struct arena *a, struct dict *d, struct value key, struct value v)
{
	for (size_t i = 0; i < d->n; i++) {
		if (value_equal(d->items[i].key, key)) {
			d->items[i].value = v;
			return;
		}
	}
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 8;
		struct item *items = arena_alloc(a, cap * sizeof *items);
		if (d->n)
			memcpy(items, d->items, d->n * sizeof *items);
		d->items = items;
		d->cap = cap;
	}
	d->items[d->n++] = (struct item) { key, v };
}

bool value_is_true(struct value v)
{
	switch (v.kind) {
	case V_UNDEFINED:
	case V_NONE: return false;
	case V_BOOL: return v.b;
	case V_INT: return v.i != 0;
	case V_FLOAT: return v.f != 0;
	case V_STR: return v.s.n_bytes != 0;
	case V_LIST:
	case V_TUPLE: return v.list->n != 0;
	case V_DICT: return v.dict->n != 0;
	case V_NAMESPACE:
	case V_MACRO:
	case V_METHOD:
	case V_FUNCTION: return true;
	}
	return false;
}

bool value_is_number(struct value v)
{
	return v.kind == V_INT || v.kind == V_FLOAT || v.kind == V_BOOL;
}

double value_as_float(struct value v)
{
	return v.kind == V_FLOAT  ? v.f
	       : v.kind == V_INT  ? (double)v.i
	       : v.kind == V_BOOL ? v.b
				  : NAN;
}

#define NEST_MAX 1000 /* a template can nest lists without end; beyond this nothing is equal */

static bool equal(struct value a, struct value b, int depth);

static bool list_equal(const struct list *a, const struct list *b, int depth)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!equal(a->items[i], b->items[i], depth))
			return false;
	return true;
}

static bool dict_equal(const struct dict *a, const struct dict *b, int depth)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct value *other = dict_find(b, a->items[i].key);
		if (!other || !equal(a->items[i].value, *other, depth))
			return false;
	}
	return true;
}

static bool equal(struct value a, struct value b, int depth)
{
	if (value_is_number(a) && value_is_number(b)) {
		if (a.kind == V_FLOAT || b.kind == V_FLOAT)
			return value_as_float(a) == value_as_float(b);
		return (a.kind == V_BOOL ? a.b : a.i) == (b.kind == V_BOOL ? b.b : b.i);
	}
	if (a.kind != b.kind || depth > NEST_MAX)
		return false;
	switch (a.kind) {
	case V_UNDEFINED:
	case V_NONE: return true;
	case V_STR: return a.s.n_bytes == b.s.n_bytes && !str_compare(a.s, b.s);
	case V_LIST:
	case V_TUPLE: return list_equal(a.list, b.list, depth + 1);
	case V_DICT: return dict_equal(a.dict, b.dict, depth + 1);
	case V_NAMESPACE: return a.dict == b.dict;
	case V_MACRO: return a.macro == b.macro;
	case V_METHOD: return a.method == b.method;
	case V_FUNCTION: return a.function == b.function;
	case V_BOOL:
	case V_INT:
	case V_FLOAT: break; /* numbers, above */
	}
	return false;
}

bool value_equal(struct value a, struct value b)
{
	return equal(a, b, 0);
}

static int order(struct value a, struct value b, int depth, bool *ok)
{
	*ok = depth <= NEST_MAX;
	if (value_is_number(a) && value_is_number(b)) {
		if (a.kind == V_FLOAT || b.kind == V_FLOAT) {
			double x = value_as_float(a), y = value_as_float(b);
			return (x > y) - (x < y);
		}
		int64_t x = a.kind == V_BOOL ? a.b : a.i, y = b.kind == V_BOOL ? b.b : b.i;
		return (x > y) - (x < y);
	}
	if (a.kind == V_STR && b.kind == V_STR)
		return str_compare(a.s, b.s);
	if (*ok && a.kind == b.kind && (a.kind == V_LIST || a.kind == V_TUPLE)) {
		for (size_t i = 0; i < a.list->n && i < b.list->n; i++) {
			if (!value_equal(a.list->items[i], b.list->items[i]))
				return order(a.list->items[i], b.list->items[i], depth + 1, ok);
		}
		return (a.list->n > b.list->n) - (a.list->n < b.list->n);
	}
	*ok = false;
	return 0;
}

int value_compare(struct value a, struct value b, bool *ok)
{
	return order(a, b, 0, ok);
}

const char *value_type_name(struct value v)
{
	switch (v.kind) {
	case V_UNDEFINED: return "Undefined";
	case V_NONE: return "NoneType";
	case V_BOOL: return "bool";
	case V_INT: return "int";
	case V_FLOAT: return "float";
	case V_STR: return "str";
	case V_LIST: return "list";
	case V_TUPLE: return "tuple";
	case V_DICT: return "dict";
	case V_NAMESPACE: return "Namespace";
	case V_MACRO: return "Macro";
	case V_METHOD:
	case V_FUNCTION: return "function";
	}
	return "object";
}

bool str_is(struct str s, const char *literal)
{
	size_t n = strlen(literal);
	return s.n_bytes == n && !memcmp(s.at, literal, n);
}

int str_compare(struct str a, struct str b)
{
	size_t n = a.n_bytes < b.n_bytes ? a.n_bytes : b.n_bytes;
	int c = n ? memcmp(a.at, b.at, n) : 0;
	return c ? c : (a.n_bytes > b.n_bytes) - (a.n_bytes < b.n_bytes);
}

struct str str_slice(struct str s, size_t at, size_t n_bytes)
{
	return (struct str) { s.at + at, n_bytes, s.input ? s.input + at : NULL };
}

size_t str_chars(struct str s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n_bytes; i++)
		n += (s.at[i] & 0xc0) != 0x80;
	return n;
}

size_t str_offset(struct str s, size_t n_chars)
{
	size_t i = 0;
	while (i < s.n_bytes && n_chars--) {
		i++;
		while (i < s.n_bytes && (s.at[i] & 0xc0) == 0x80)
			i++;
	}
	return i;
}

void strbuf_addm(struct strbuf *b, const char *bytes, size_t n, bool input)
{
	if (!n)
		return;
	buf_add(&b->text, bytes, n);
	buf_reserve(&b->input, n);
	memset(b->input.data + b->input.n_bytes, input, n);
	b->input.n_bytes += n;
	b->any_input |= input;
}

void strbuf_add(struct strbuf *b, struct str s)
{
	if (!s.input) {
		strbuf_addm(b, s.at, s.n_bytes, false);
		return;
	}
	buf_add(&b->text, s.at, s.n_bytes);
	buf_add(&b->input, s.input, s.n_bytes);
	b->any_input = true;
}

void strbuf_adds(struct strbuf *b, const char *literal)
{
	strbuf_addm(b, literal, strlen(literal), false);
}

struct str strbuf_done(struct arena *a, struct strbuf *b)
{
	struct str s = { "", b->text.n_bytes, NULL };
	if (s.n_bytes)
		s.at = arena_copy(a, b->text.data, s.n_bytes);
	if (b->any_input)
		s.input = arena_copy(a, b->input.data, s.n_bytes);
	buf_release(&b->text);
	buf_release(&b->input);
	b->any_input = false;
	return s;
}
