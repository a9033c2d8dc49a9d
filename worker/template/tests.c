/* tests.c - `x is …`. */
#include "worker/template/run.h"
#include <string.h>

#define TEST(name, condition)                                                \
	static struct value test_##name(struct run *r, const struct call *c) \
	{                                                                    \
		struct value v = c->self;                                    \
		(void)r, (void)v;                                            \
		return value_bool(condition);                                \
	}

static bool is_callable(struct value v)
{
	return v.kind == V_MACRO || v.kind == V_METHOD || v.kind == V_FUNCTION;
}

static bool is_sequence(struct value v)
{
	return v.kind == V_STR || v.kind == V_LIST || v.kind == V_TUPLE || v.kind == V_DICT;
}

static bool has_case(struct run *r, struct value v, char how)
{
	struct str s = run_string(r, v);
	bool has_letter = str_compare(run_case(r, s, 'u').s, run_case(r, s, 'l').s) != 0;
	return has_letter && !str_compare(run_case(r, s, how).s, s);
}

static int64_t integer(struct run *r, struct value v)
{
	if (v.kind != V_INT && v.kind != V_BOOL)
		run_fail(r, "an integer is needed, not %s", value_type_name(v));
	return v.kind == V_BOOL ? v.b : v.kind == V_INT ? v.i : 1;
}

static bool ordered(struct run *r, const struct call *c, int low, int high)
{
	bool ok;
	int order = value_compare(c->self, c->v[0], &ok);
	if (!ok)
		run_fail(r, "'%s' and '%s' cannot be ordered", value_type_name(c->self),
			value_type_name(c->v[0]));
	order = (order > 0) - (order < 0);
	return ok && order >= low && order <= high;
}

static bool is_same(struct value a, struct value b)
{
	if (a.kind != b.kind)
		return false;
	if (a.kind == V_LIST || a.kind == V_TUPLE)
		return a.list == b.list;
	return a.kind == V_DICT ? a.dict == b.dict : value_equal(a, b);
}

static bool is_in(struct run *r, const struct call *c)
{
	struct value box = c->v[0];
	if (box.kind == V_STR && c->self.kind == V_STR)
		return !c->self.s.n_bytes ||
		       memmem(box.s.at, box.s.n_bytes, c->self.s.at, c->self.s.n_bytes);
	struct list *items = run_iterate(r, box);
	for (size_t i = 0; !r->failed && i < items->n; i++)
		if (value_equal(items->items[i], c->self))
			return true;
	return false;
}

static int64_t remainder_of(struct run *r, struct value v, struct value by)
{
	int64_t n = integer(r, v), d = integer(r, by);
	if (d == 0)
		run_fail(r, "division by zero");
	return d == 0 || d == -1 ? 0 : n % d;
}

TEST(defined, v.kind != V_UNDEFINED)
TEST(undefined, v.kind == V_UNDEFINED)
TEST(none, v.kind == V_NONE)
TEST(boolean, v.kind == V_BOOL)
TEST(true, v.kind == V_BOOL && v.b)
TEST(false, v.kind == V_BOOL && !v.b)
TEST(integer, v.kind == V_INT)
TEST(float, v.kind == V_FLOAT)
TEST(number, value_is_number(v))
TEST(string, v.kind == V_STR)
TEST(mapping, v.kind == V_DICT)
TEST(iterable, is_sequence(v) || v.kind == V_UNDEFINED)
TEST(sequence, is_sequence(v) || v.kind == V_UNDEFINED)
TEST(callable, is_callable(v))
TEST(sameas, is_same(v, c->v[0]))
TEST(eq, value_equal(v, c->v[0]))
TEST(ne, !value_equal(v, c->v[0]))
TEST(lt, ordered(r, c, -1, -1))
TEST(le, ordered(r, c, -1, 0))
TEST(gt, ordered(r, c, 1, 1))
TEST(ge, ordered(r, c, 0, 1))
TEST(in, is_in(r, c))
TEST(divisibleby, remainder_of(r, v, c->v[0]) == 0)
TEST(even, remainder_of(r, v, value_int(2)) == 0)
TEST(odd, remainder_of(r, v, value_int(2)) != 0)
TEST(lower, has_case(r, v, 'l'))
TEST(upper, has_case(r, v, 'u'))
TEST(escaped, false)
TEST(filter, v.kind == V_STR && (builtin_filter(v.s) || builtin_sequence(v.s)))
TEST(test, v.kind == V_STR && builtin_test(v.s))

const struct builtin *builtin_test(struct str name)
{
	static const struct builtin rows[] = {
		{ "defined", "", 0, test_defined },
		{ "undefined", "", 0, test_undefined },
		{ "none", "", 0, test_none },
		{ "boolean", "", 0, test_boolean },
		{ "true", "", 0, test_true },
		{ "false", "", 0, test_false },
		{ "integer", "", 0, test_integer },
		{ "float", "", 0, test_float },
		{ "number", "", 0, test_number },
		{ "string", "", 0, test_string },
		{ "mapping", "", 0, test_mapping },
		{ "iterable", "", 0, test_iterable },
		{ "sequence", "", 0, test_sequence },
		{ "callable", "", 0, test_callable },
		{ "sameas", "other", 1, test_sameas },
		{ "eq", "b", 1, test_eq },
		{ "equalto", "b", 1, test_eq },
		{ "==", "b", 1, test_eq },
		{ "ne", "b", 1, test_ne },
		{ "!=", "b", 1, test_ne },
		{ "lt", "b", 1, test_lt },
		{ "<", "b", 1, test_lt },
		{ "lessthan", "b", 1, test_lt },
		{ "le", "b", 1, test_le },
		{ "<=", "b", 1, test_le },
		{ "gt", "b", 1, test_gt },
		{ ">", "b", 1, test_gt },
		{ "greaterthan", "b", 1, test_gt },
		{ "ge", "b", 1, test_ge },
		{ ">=", "b", 1, test_ge },
		{ "in", "seq", 1, test_in },
		{ "divisibleby", "num", 1, test_divisibleby },
		{ "even", "", 0, test_even },
		{ "odd", "", 0, test_odd },
		{ "lower", "", 0, test_lower },
		{ "upper", "", 0, test_upper },
		{ "escaped", "", 0, test_escaped },
		{ "filter", "", 0, test_filter },
		{ "test", "", 0, test_test },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_is(name, rows[i].name))
			return &rows[i];
	return NULL;
}
