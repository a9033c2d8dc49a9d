/* filters_seq.c - filters of sequences and mappings. */
#include "worker/template/run.h"
#include <string.h>

/* `a.b.0` of v: attributes, or indices where a part is a number. */
static struct value path(struct run *r, struct value v, struct value attribute)
{
	if (attribute.kind == V_INT)
		return run_item(r, v, attribute);
	struct str rest = run_string(r, attribute);
	while (!r->failed) {
		const char *dot = memchr(rest.at, '.', rest.n_bytes);
		size_t n = dot ? (size_t)(dot - rest.at) : rest.n_bytes;
		struct str part = str_slice(rest, 0, n);
		int64_t index = 0;
		bool is_index = n > 0 && n < 10;
		for (size_t i = 0; i < n && is_index; i++) {
			is_index = part.at[i] >= '0' && part.at[i] <= '9';
			index = index * 10 + (part.at[i] - '0');
		}
		v = run_item(r, v, is_index ? value_int(index) : value_str(part));
		if (!dot)
			break;
		rest = str_slice(rest, n + 1, rest.n_bytes - n - 1);
	}
	return v;
}

/* What sort, unique, min, max compare: the attribute, lower case unless told otherwise. */
static struct value sort_key(
	struct run *r, struct value v, struct value attribute, bool case_sensitive)
{
	if (attribute.kind != V_UNDEFINED && attribute.kind != V_NONE)
		v = path(r, v, attribute);
	return v.kind == V_STR && !case_sensitive ? run_case(r, v.s, 'l') : v;
}

struct keyed {
	struct value key, value;
};

static bool is_before(struct run *r, const struct keyed *a, const struct keyed *b)
{
	bool ok;
	int order = value_compare(a->key, b->key, &ok);
	if (!ok)
		run_fail(r, "'<' not supported between instances of '%s' and '%s'",
			value_type_name(a->key), value_type_name(b->key));
	return order < 0;
}

/* Stable merge sort of items[0..n) with scratch of the same size; `down` reverses the order
 * but keeps equals in place, as Python's reverse=True does. */
static void merge_sort(
	struct run *r, struct keyed *items, struct keyed *scratch, size_t n, bool down)
{
	for (size_t width = 1; width < n && run_step(r, n); width *= 2) {
		for (size_t at = 0; at < n; at += 2 * width) {
			size_t mid = at + width < n ? at + width : n,
			       end = mid + width < n ? mid + width : n;
			size_t a = at, b = mid, w = at;
			while (a < mid || b < end) {
				bool right =
					b < end &&
					(a >= mid || (down ? is_before(r, &items[a], &items[b])
							   : is_before(r, &items[b], &items[a])));
				scratch[w++] = right ? items[b++] : items[a++];
			}
		}
		memcpy(items, scratch, n * sizeof *items);
	}
}

static struct value sorted(struct run *r, struct keyed *items, size_t n, bool down)
{
	struct value out = value_list(&r->arena, n);
	merge_sort(r, items, arena_alloc(&r->arena, n * sizeof *items), n, down);
	for (size_t i = 0; i < n; i++)
		list_push(&r->arena, out.list, items[i].value);
	return out;
}

static struct value f_sort(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	struct keyed *items = arena_alloc(&r->arena, l->n * sizeof *items);
	for (size_t i = 0; i < l->n && run_step(r, 1); i++)
		items[i] =
			(struct keyed) { sort_key(r, l->items[i], c->v[2], value_is_true(c->v[1])),
				l->items[i] };
	return r->failed ? UNDEFINED : sorted(r, items, l->n, value_is_true(c->v[0]));
}

static struct value pair(struct run *r, struct value a, struct value b)
{
	struct value out = value_list(&r->arena, 2);
	list_push(&r->arena, out.list, a);
	list_push(&r->arena, out.list, b);
	out.kind = V_TUPLE;
	return out;
}

static struct value f_items(struct run *r, const struct call *c)
{
	struct value out = value_list(&r->arena, 0);
	if (c->self.kind == V_UNDEFINED)
		return out;
	if (c->self.kind != V_DICT)
		return run_fail(r, "Can only get item pairs from a mapping.");
	for (size_t i = 0; i < c->self.dict->n && run_step(r, 1); i++)
		list_push(&r->arena, out.list,
			pair(r, c->self.dict->items[i].key, c->self.dict->items[i].value));
	return out;
}

static struct value f_dictsort(struct run *r, const struct call *c)
{
	if (c->self.kind != V_DICT)
		return run_fail(r, "dictsort needs a mapping, not %s", value_type_name(c->self));
	const struct dict *d = c->self.dict;
	bool by_value = c->v[1].kind == V_STR && str_is(c->v[1].s, "value");
	struct keyed *items = arena_alloc(&r->arena, d->n * sizeof *items);
	for (size_t i = 0; i < d->n && run_step(r, 1); i++)
		items[i] =
			(struct keyed) { sort_key(r, by_value ? d->items[i].value : d->items[i].key,
						 NONE, value_is_true(c->v[0])),
				pair(r, d->items[i].key, d->items[i].value) };
	return r->failed ? UNDEFINED : sorted(r, items, d->n, value_is_true(c->v[2]));
}

static struct value f_groupby(struct run *r, const struct call *c)
{
	struct value sorted_items = f_sort(r,
		&(struct call) { .self = c->self, .v = { [1] = value_bool(true), [2] = c->v[0] } });
	struct value out = value_list(&r->arena, 0), group = UNDEFINED;
	for (size_t i = 0; !r->failed && i < sorted_items.list->n && run_step(r, 1); i++) {
		struct value item = sorted_items.list->items[i], key = path(r, item, c->v[0]);
		if (group.kind == V_UNDEFINED || !value_equal(group.list->items[0], key)) {
			group = pair(r, key, value_list(&r->arena, 0));
			list_push(&r->arena, out.list, group);
		}
		list_push(&r->arena, group.list->items[1].list, item);
	}
	return out;
}

static struct value f_unique(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	struct value out = value_list(&r->arena, 0), seen = value_list(&r->arena, 0);
	for (size_t i = 0; !r->failed && i < l->n; i++) {
		struct value key = sort_key(r, l->items[i], c->v[1], value_is_true(c->v[0]));
		bool found = false;
		for (size_t k = 0; k < seen.list->n && !found && run_step(r, 1); k++)
			found = value_equal(seen.list->items[k], key);
		if (found)
			continue;
		list_push(&r->arena, seen.list, key);
		list_push(&r->arena, out.list, l->items[i]);
	}
	return out;
}

static struct value extreme(struct run *r, const struct call *c, bool max)
{
	struct list *l = run_iterate(r, c->self);
	struct keyed best = { UNDEFINED, UNDEFINED };
	for (size_t i = 0; !r->failed && i < l->n && run_step(r, 1); i++) {
		struct keyed k = { sort_key(r, l->items[i], c->v[1], value_is_true(c->v[0])),
			l->items[i] };
		if (i == 0 || (max ? is_before(r, &best, &k) : is_before(r, &k, &best)))
			best = k;
	}
	return best.value;
}

static struct value f_min(struct run *r, const struct call *c)
{
	return extreme(r, c, false);
}

static struct value f_max(struct run *r, const struct call *c)
{
	return extreme(r, c, true);
}

static struct value f_first(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	return l->n ? l->items[0] : value_undefined("the first item of an empty sequence");
}

static struct value f_last(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	return l->n ? l->items[l->n - 1] : value_undefined("the last item of an empty sequence");
}

static struct value f_list(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	return (struct value) { .kind = V_LIST, .list = l };
}

static struct value f_reverse(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	struct value out = value_list(&r->arena, l->n);
	run_step(r, l->n);
	for (size_t i = l->n; i-- > 0;)
		list_push(&r->arena, out.list, l->items[i]);
	if (c->self.kind != V_STR)
		return out;
	return run_builtin(r, "filter", builtin_sequence(value_text("join").s),
		&(struct call) { .self = out });
}

static struct value f_join(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	struct str glue = c->v[0].kind == V_UNDEFINED ? value_text("").s : run_string(r, c->v[0]);
	struct strbuf out = { 0 };
	for (size_t i = 0; !r->failed && i < l->n && run_step(r, 1 + out.text.n_bytes / (1 << 20));
		i++) {
		if (i)
			strbuf_add(&out, glue);
		value_print(&out,
			c->v[1].kind == V_UNDEFINED ? l->items[i] : path(r, l->items[i], c->v[1]));
	}
	return value_str(strbuf_done(&r->arena, &out));
}

static struct value f_sum(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	struct value total = c->v[1].kind == V_UNDEFINED ? value_int(0) : c->v[1];
	for (size_t i = 0; !r->failed && i < l->n && run_step(r, 1); i++) {
		struct value v = c->v[0].kind == V_UNDEFINED || c->v[0].kind == V_NONE
					 ? l->items[i]
					 : path(r, l->items[i], c->v[0]);
		struct node a = { .kind = N_CONST, .value = total },
			    b = { .kind = N_CONST, .value = v };
		total = run_eval(
			r, &(struct node) { .kind = N_BINARY, .op = '+', .a = &a, .b = &b });
	}
	return total;
}

static struct value f_batch(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	struct value out = value_list(&r->arena, 0), row = UNDEFINED;
	if (c->v[0].kind != V_INT || c->v[0].i < 1)
		return run_fail(r, "batch needs a count of at least 1");
	for (size_t i = 0; !r->failed && i < l->n && run_step(r, 1); i++) {
		if (i % (size_t)c->v[0].i == 0) {
			row = value_list(&r->arena, 0);
			list_push(&r->arena, out.list, row);
		}
		list_push(&r->arena, row.list, l->items[i]);
	}
	while (row.kind == V_LIST && c->given >> 1 & 1 && row.list->n < (size_t)c->v[0].i &&
		run_step(r, 1))
		list_push(&r->arena, row.list, c->v[1]);
	return out;
}

static const struct value *keyword(const struct call *c, const char *name)
{
	for (size_t i = 0; i < c->n_kw; i++)
		if (str_is(c->kw[i].key.s, name))
			return &c->kw[i].value;
	return NULL;
}

/* map(attribute="a.b", default=x), or map("filter", its arguments …) */
static struct value f_map(struct run *r, const struct call *c)
{
	struct list *l = run_iterate(r, c->self);
	struct value out = value_list(&r->arena, 0);
	const struct value *attribute = keyword(c, "attribute"), *fallback = keyword(c, "default");
	if (!attribute && (!c->n_pos || c->pos[0].kind != V_STR))
		return run_fail(r, "map requires a filter argument");
	for (size_t i = 0; !r->failed && i < l->n && run_step(r, 1); i++) {
		struct value v;
		if (attribute) {
			v = path(r, l->items[i], *attribute);
			if (v.kind == V_UNDEFINED && fallback)
				v = *fallback;
		} else {
			struct call inner = { .self = l->items[i],
				.pos = c->pos + 1,
				.n_pos = c->n_pos - 1,
				.kw = c->kw,
				.n_kw = c->n_kw };
			v = run_filter(r, c->pos[0].s, &inner);
		}
		list_push(&r->arena, out.list, v);
	}
	return out;
}

/* select and reject: (test, its arguments …); selectattr and rejectattr: the attribute first. */
static struct value choose(struct run *r, const struct call *c, bool by_attr, bool keep)
{
	struct list *l = run_iterate(r, c->self);
	struct value out = value_list(&r->arena, 0);
	size_t at = by_attr;
	if (by_attr && !c->n_pos)
		return run_fail(r, "selectattr needs an attribute");
	if (c->n_pos > at && c->pos[at].kind != V_STR)
		return run_fail(r, "a test is named by a string");
	for (size_t i = 0; !r->failed && i < l->n && run_step(r, 1); i++) {
		struct call inner = { .self = by_attr ? path(r, l->items[i], c->pos[0])
						      : l->items[i],
			.kw = c->kw,
			.n_kw = c->n_kw };
		bool holds = value_is_true(inner.self);
		if (c->n_pos > at) {
			inner.pos = c->pos + at + 1;
			inner.n_pos = c->n_pos - at - 1;
			holds = run_test(r, c->pos[at].s, &inner);
		}
		if (holds == keep)
			list_push(&r->arena, out.list, l->items[i]);
	}
	return out;
}

static struct value f_select(struct run *r, const struct call *c)
{
	return choose(r, c, false, true);
}

static struct value f_reject(struct run *r, const struct call *c)
{
	return choose(r, c, false, false);
}

static struct value f_selectattr(struct run *r, const struct call *c)
{
	return choose(r, c, true, true);
}

static struct value f_rejectattr(struct run *r, const struct call *c)
{
	return choose(r, c, true, false);
}

const struct builtin *builtin_sequence(struct str name)
{
	static const struct builtin rows[] = {
		{ "items", "", 0, f_items },
		{ "dictsort", "case_sensitive by reverse", 0, f_dictsort },
		{ "groupby", "attribute", 1, f_groupby },
		{ "sort", "reverse case_sensitive attribute", 0, f_sort },
		{ "unique", "case_sensitive attribute", 0, f_unique },
		{ "min", "case_sensitive attribute", 0, f_min },
		{ "max", "case_sensitive attribute", 0, f_max },
		{ "first", "", 0, f_first },
		{ "last", "", 0, f_last },
		{ "list", "", 0, f_list },
		{ "reverse", "", 0, f_reverse },
		{ "join", "d attribute", 0, f_join },
		{ "sum", "attribute start", 0, f_sum },
		{ "batch", "linecount fill_with", 1, f_batch },
		{ "map", "*", 0, f_map },
		{ "select", "*", 0, f_select },
		{ "reject", "*", 0, f_reject },
		{ "selectattr", "*", 0, f_selectattr },
		{ "rejectattr", "*", 0, f_rejectattr },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_is(name, rows[i].name))
			return &rows[i];
	return NULL;
}
