/* eval.c - the value of an expression. */
#include "worker/template/run.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct value run_fail(struct run *r, const char *fmt, ...)
{
	if (r->failed)
		return UNDEFINED;
	char what[FAULT_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	fault_set(r->fault, ERR_INVALID_PARAMS, "chat template: %s", what);
	r->failed = true;
	return UNDEFINED;
}

bool run_step(struct run *r, size_t n)
{
	r->n_steps += n;
	if (r->n_steps > RUN_STEPS_MAX)
		run_fail(r, "runs too long (over %zu steps)", RUN_STEPS_MAX);
	if (r->arena.n_bytes > RUN_BYTES_MAX)
		run_fail(r, "uses too much memory (over %zu bytes)", RUN_BYTES_MAX);
	return !r->failed;
}

static struct value lookup(struct run *r, struct str name)
{
	struct value key = value_str(name);
	for (struct scope *s = r->scope; s; s = s->parent) {
		const struct value *v = dict_find(&s->vars, key);
		run_step(r, s->vars.n / RUN_LOOKUPS_PER_STEP);
		if (v)
			return *v;
	}
	const struct function *fn = builtin_function(name);
	if (fn)
		return (struct value) { .kind = V_FUNCTION, .function = fn };
	char *copy = arena_copy(&r->arena, name.at, name.n_bytes);
	return value_undefined(copy);
}

struct value run_attr(struct run *r, struct value obj, struct str name)
{
	if (obj.kind == V_UNDEFINED)
		return run_fail(r, "'%s' is undefined", obj.name ? obj.name : "a value");
	const struct method_row *row = builtin_method(obj.kind, name);
	if (row) {
		struct method *m = arena_alloc(&r->arena, sizeof *m);
		*m = (struct method) { obj, row };
		return (struct value) { .kind = V_METHOD, .method = m };
	}
	if (obj.kind == V_DICT || obj.kind == V_NAMESPACE) {
		const struct value *v = dict_find(obj.dict, value_str(name));
		run_step(r, obj.dict->n / RUN_LOOKUPS_PER_STEP);
		if (v)
			return *v;
	}
	return value_undefined(arena_copy(&r->arena, name.at, name.n_bytes));
}

static struct value str_at(struct run *r, struct str s, int64_t i)
{
	int64_t n = (int64_t)str_chars(s);
	if (i < 0)
		i += n;
	run_step(r, s.n_bytes / 256);
	if (i < 0 || i >= n)
		return value_undefined(NULL);
	size_t at = str_offset(s, (size_t)i);
	size_t to = at + str_offset(str_slice(s, at, s.n_bytes - at), 1);
	return value_str(str_slice(s, at, to - at));
}

struct value run_item(struct run *r, struct value obj, struct value key)
{
	if (obj.kind == V_UNDEFINED)
		return run_fail(r, "'%s' is undefined", obj.name ? obj.name : "a value");
	bool is_index = key.kind == V_INT || key.kind == V_BOOL;
	int64_t i = key.kind == V_INT ? key.i : is_index ? key.b : 0;
	if ((obj.kind == V_LIST || obj.kind == V_TUPLE) && is_index) {
		if (i < 0)
			i += (int64_t)obj.list->n;
		return i >= 0 && i < (int64_t)obj.list->n ? obj.list->items[i]
							  : value_undefined(NULL);
	}
	if (obj.kind == V_STR && is_index)
		return str_at(r, obj.s, i);
	if (obj.kind == V_DICT) {
		const struct value *v = dict_find(obj.dict, key);
		run_step(r, obj.dict->n / RUN_LOOKUPS_PER_STEP);
		if (v)
			return *v;
	}
	if (key.kind == V_STR)
		return run_attr(r, obj, key.s);
	return value_undefined(NULL);
}

/* Python's slice indices: clipped to [0, n] (or [-1, n-1] walking backwards). */
static int64_t slice_bound(
	struct run *r, const struct node *part, int64_t n, int64_t step, int64_t absent)
{
	struct value v = part ? run_eval(r, part) : NONE;
	if (v.kind == V_NONE)
		return absent;
	if (v.kind != V_INT) {
		run_fail(r, "slice indices must be integers, not %s", value_type_name(v));
		return 0;
	}
	int64_t i = v.i < -n - 1 ? -n - 1 : v.i;
	if (i < 0)
		i += n;
	int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
	return i < low ? low : i > high ? high : i;
}

static struct value slice_list(struct run *r, struct value obj, const int64_t b[3])
{
	struct value out = value_list(&r->arena, 0);
	for (int64_t i = b[0]; b[2] > 0 ? i < b[1] : i > b[1]; i += b[2]) {
		if (!run_step(r, 1))
			break;
		list_push(&r->arena, out.list, obj.list->items[i]);
	}
	out.kind = obj.kind;
	return out;
}

static struct value slice_str(struct run *r, struct str s, const int64_t b[3])
{
	if (b[2] == 1) {
		if (b[1] <= b[0])
			return value_text("");
		size_t at = str_offset(s, (size_t)b[0]);
		struct str rest = str_slice(s, at, s.n_bytes - at);
		return value_str(str_slice(rest, 0, str_offset(rest, (size_t)(b[1] - b[0]))));
	}
	struct list *chars = run_iterate(r, value_str(s));
	struct strbuf out = { 0 };
	for (int64_t i = b[0]; !r->failed && (b[2] > 0 ? i < b[1] : i > b[1]); i += b[2])
		strbuf_add(&out, chars->items[i].s);
	return value_str(strbuf_done(&r->arena, &out));
}

static struct value eval_slice(struct run *r, const struct node *n)
{
	struct value obj = run_eval(r, n->a);
	bool is_list = obj.kind == V_LIST || obj.kind == V_TUPLE;
	if (!is_list && obj.kind != V_STR)
		return run_fail(r, "%s cannot be sliced", value_type_name(obj));
	run_step(r, is_list ? 0 : obj.s.n_bytes / 64);
	int64_t len = is_list ? (int64_t)obj.list->n : (int64_t)str_chars(obj.s);
	struct value step = n->kids[2] ? run_eval(r, n->kids[2]) : value_int(1);
	if (step.kind == V_NONE)
		step = value_int(1);
	if (step.kind != V_INT || step.i == 0)
		return run_fail(r, "a slice step must be an integer other than 0");
	if (step.i > len + 1 || step.i < -len - 1)
		step.i = step.i < 0 ? -len - 1 : len + 1;
	int64_t b[3] = { 0, 0, step.i };
	b[0] = slice_bound(r, n->kids[0], len, step.i, step.i < 0 ? len - 1 : 0);
	b[1] = slice_bound(r, n->kids[1], len, step.i, step.i < 0 ? -1 : len);
	if (r->failed)
		return UNDEFINED;
	return is_list ? slice_list(r, obj, b) : slice_str(r, obj.s, b);
}

static struct value concat_lists(struct run *r, struct value a, struct value b)
{
	struct value out = value_list(&r->arena, a.list->n + b.list->n);
	run_step(r, a.list->n + b.list->n);
	for (size_t i = 0; i < a.list->n; i++)
		list_push(&r->arena, out.list, a.list->items[i]);
	for (size_t i = 0; i < b.list->n; i++)
		list_push(&r->arena, out.list, b.list->items[i]);
	out.kind = a.kind;
	return out;
}

static struct value concat_text(struct run *r, struct value a, struct value b)
{
	struct strbuf out = { 0 };
	value_print(&out, a);
	value_print(&out, b);
	run_step(r, out.text.n_bytes / 256);
	return value_str(strbuf_done(&r->arena, &out));
}

static struct value repeat(struct run *r, struct value v, int64_t count)
{
	size_t unit = v.kind == V_STR ? v.s.n_bytes : v.list->n;
	if (count > 0 && unit > RUN_STEPS_MAX / (size_t)count)
		return run_fail(r, "repeating a %s %lld times is too much", value_type_name(v),
			(long long)count);
	run_step(r, count > 0 ? unit * (size_t)count / 16 : 0);
	if (v.kind == V_STR) {
		struct strbuf out = { 0 };
		while (count-- > 0)
			strbuf_add(&out, v.s);
		return value_str(strbuf_done(&r->arena, &out));
	}
	struct value out = value_list(&r->arena, 0);
	while (count-- > 0)
		for (size_t i = 0; i < v.list->n; i++)
			list_push(&r->arena, out.list, v.list->items[i]);
	out.kind = v.kind;
	return out;
}

static struct value int_power(struct run *r, int64_t base, int64_t exponent)
{
	int64_t out = 1;
	if (exponent < 0)
		return value_float(pow((double)base, (double)exponent));
	for (int64_t i = 0; i < exponent; i++) {
		if (!run_step(r, 1) || __builtin_mul_overflow(out, base, &out))
			return run_fail(r, "an integer is too large");
	}
	return value_int(out);
}

static struct value int_arithmetic(struct run *r, int op, int64_t a, int64_t b)
{
	int64_t out = 0;
	if ((op == '/' || op == '_' || op == '%') && b == 0)
		return run_fail(r, "division by zero");
	if ((op == '_' || op == '%') && b == -1)
		return op == '%' ? value_int(0) : int_arithmetic(r, '-', 0, a);
	bool overflow = op == '+'   ? __builtin_add_overflow(a, b, &out)
			: op == '-' ? __builtin_sub_overflow(a, b, &out)
			: op == '*' ? __builtin_mul_overflow(a, b, &out)
				    : false;
	if (overflow)
		return run_fail(r, "an integer is too large");
	if (op == '/')
		return value_float((double)a / (double)b);
	if (op == '^')
		return int_power(r, a, b);
	int64_t remainder = op == '_' || op == '%' ? a % b : 0;
	bool below = remainder && (remainder < 0) != (b < 0); /* Python rounds down */
	if (op == '_')
		out = a / b - below;
	if (op == '%')
		out = remainder + (below ? b : 0);
	return value_int(out);
}

static struct value float_arithmetic(struct run *r, int op, double a, double b)
{
	if ((op == '/' || op == '_' || op == '%') && b == 0)
		return run_fail(r, "division by zero");
	double m = op == '%' ? fmod(a, b) : 0;
	return value_float(op == '+'   ? a + b
			   : op == '-' ? a - b
			   : op == '*' ? a * b
			   : op == '/' ? a / b
			   : op == '_' ? floor(a / b)
			   : op == '%' ? (m && (m < 0) != (b < 0) ? m + b : m)
				       : pow(a, b));
}

static int64_t as_int(struct value v)
{
	return v.kind == V_BOOL ? v.b : v.i;
}

static struct value eval_binary(struct run *r, const struct node *n)
{
	struct value a = run_eval(r, n->a), b = run_eval(r, n->b);
	bool a_list = a.kind == V_LIST || a.kind == V_TUPLE,
	     b_list = b.kind == V_LIST || b.kind == V_TUPLE;
	if (r->failed)
		return UNDEFINED;
	if (n->op == '~')
		return concat_text(r, a, b);
	if (n->op == '+' && a.kind == V_STR && b.kind == V_STR)
		return concat_text(r, a, b);
	if (n->op == '+' && a_list && a.kind == b.kind)
		return concat_lists(r, a, b);
	if (n->op == '*' && (a.kind == V_STR || a_list) && b.kind == V_INT)
		return repeat(r, a, b.i);
	if (n->op == '*' && (b.kind == V_STR || b_list) && a.kind == V_INT)
		return repeat(r, b, a.i);
	if (n->op == '%' && a.kind == V_STR) {
		struct value arg[1] = { b };
		struct call c = { .self = a,
			.pos = b.kind == V_TUPLE ? b.list->items : arg,
			.n_pos = b.kind == V_TUPLE ? b.list->n : 1 };
		return run_filter(r, value_text("format").s, &c);
	}
	if (a.kind == V_UNDEFINED || b.kind == V_UNDEFINED)
		return run_fail(r, "'%s' is undefined",
			(a.kind == V_UNDEFINED ? a.name : b.name)
				? (a.kind == V_UNDEFINED ? a.name : b.name)
				: "a value");
	if (!value_is_number(a) || !value_is_number(b)) {
		if (n->op == '+' && a.kind == V_STR)
			return run_fail(r, "can only concatenate str (not \"%s\") to str",
				value_type_name(b));
		return run_fail(r, "unsupported operand type(s): '%s' and '%s'", value_type_name(a),
			value_type_name(b));
	}
	if (a.kind == V_FLOAT || b.kind == V_FLOAT)
		return float_arithmetic(r, n->op, value_as_float(a), value_as_float(b));
	return int_arithmetic(r, n->op, as_int(a), as_int(b));
}

static bool contains(struct run *r, struct value box, struct value v)
{
	if (box.kind == V_STR) {
		if (v.kind != V_STR) {
			run_fail(r, "'in <string>' requires string as left operand, not %s",
				value_type_name(v));
			return false;
		}
		run_step(r, box.s.n_bytes / 256);
		return !v.s.n_bytes || memmem(box.s.at, box.s.n_bytes, v.s.at, v.s.n_bytes) != NULL;
	}
	if (box.kind == V_DICT) {
		run_step(r, box.dict->n / RUN_LOOKUPS_PER_STEP);
		return dict_find(box.dict, v) != NULL;
	}
	if (box.kind != V_LIST && box.kind != V_TUPLE && box.kind != V_UNDEFINED) {
		run_fail(r, "argument of type '%s' is not iterable", value_type_name(box));
		return false;
	}
	for (size_t i = 0; box.kind != V_UNDEFINED && i < box.list->n && run_step(r, 1); i++)
		if (value_equal(box.list->items[i], v))
			return true;
	return false;
}

static bool compare(struct run *r, int op, struct value a, struct value b)
{
	bool ok = true;
	if (op == OP_EQ || op == OP_NE)
		return value_equal(a, b) == (op == OP_EQ);
	if (op == OP_IN || op == OP_NOT_IN)
		return contains(r, b, a) == (op == OP_IN);
	int c = value_compare(a, b, &ok);
	if (!ok)
		run_fail(r, "'<' not supported between instances of '%s' and '%s'",
			value_type_name(a), value_type_name(b));
	return op == OP_LT ? c < 0 : op == OP_LE ? c <= 0 : op == OP_GT ? c > 0 : c >= 0;
}

static struct value eval_compare(struct run *r, const struct node *n)
{
	struct value a = run_eval(r, n->a);
	for (size_t i = 0; i < n->n_kids; i++) {
		struct value b = run_eval(r, n->kids[i]->a);
		if (r->failed || !compare(r, n->kids[i]->op, a, b))
			return value_bool(false);
		a = b;
	}
	return value_bool(true);
}

static struct value eval_list(struct run *r, const struct node *n)
{
	struct value out = value_list(&r->arena, n->n_kids);
	for (size_t i = 0; i < n->n_kids; i++)
		list_push(&r->arena, out.list, run_eval(r, n->kids[i]));
	out.kind = n->kind == N_TUPLE ? V_TUPLE : V_LIST;
	return out;
}

static struct value eval_dict(struct run *r, const struct node *n)
{
	struct value out = value_dict(&r->arena);
	for (size_t i = 0; i + 1 < n->n_kids; i += 2) {
		struct value key = run_eval(r, n->kids[i]);
		if (key.kind != V_STR && key.kind != V_NONE && key.kind != V_TUPLE &&
			!value_is_number(key))
			return run_fail(r, "unhashable type: '%s'", value_type_name(key));
		dict_put(&r->arena, out.dict, key, run_eval(r, n->kids[i + 1]));
	}
	return out;
}

static struct value negate(struct run *r, struct value v)
{
	if (v.kind == V_FLOAT)
		return value_float(-v.f);
	if (v.kind != V_INT && v.kind != V_BOOL)
		return run_fail(r, "bad operand type for unary -: '%s'", value_type_name(v));
	return int_arithmetic(r, '-', 0, as_int(v));
}

static void eval_args(struct run *r, const struct node *n, struct call *c)
{
	c->pos = n->n_args ? arena_alloc(&r->arena, n->n_args * sizeof *c->pos) : NULL;
	c->kw = n->n_args ? arena_alloc(&r->arena, n->n_args * sizeof *c->kw) : NULL;
	for (size_t i = 0; i < n->n_args; i++) {
		struct value v = run_eval(r, n->args[i].value);
		if (n->args[i].name.at)
			c->kw[c->n_kw++] = (struct item) { value_str(n->args[i].name), v };
		else
			c->pos[c->n_pos++] = v;
	}
}

static struct value eval_call(struct run *r, const struct node *n)
{
	struct call c = { 0 };
	struct value callee;
	if (n->kind == N_CALL) {
		callee = run_eval(r, n->a);
		eval_args(r, n, &c);
		return r->failed ? UNDEFINED : run_call(r, callee, &c);
	}
	if (n->a)
		c.self = run_eval(r, n->a);
	eval_args(r, n, &c);
	if (r->failed)
		return UNDEFINED;
	return n->kind == N_FILTER ? run_filter(r, n->name, &c)
				   : value_bool(run_test(r, n->name, &c));
}

static struct value eval(struct run *r, const struct node *n)
{
	struct value v;
	switch (n->kind) {
	case N_CONST: return n->value;
	case N_NAME: return lookup(r, n->name);
	case N_LIST:
	case N_TUPLE: return eval_list(r, n);
	case N_DICT: return eval_dict(r, n);
	case N_ATTR: v = run_eval(r, n->a); return r->failed ? v : run_attr(r, v, n->name);
	case N_ITEM:
		v = run_eval(r, n->a);
		return r->failed ? v : run_item(r, v, run_eval(r, n->b));
	case N_SLICE: return eval_slice(r, n);
	case N_CALL:
	case N_FILTER:
	case N_TEST: return eval_call(r, n);
	case N_NOT: return value_bool(!value_is_true(run_eval(r, n->a)));
	case N_NEG: return negate(r, run_eval(r, n->a));
	case N_POS: return run_eval(r, n->a);
	case N_BINARY: return eval_binary(r, n);
	case N_COMPARE: return eval_compare(r, n);
	case N_AND: v = run_eval(r, n->a); return value_is_true(v) ? run_eval(r, n->b) : v;
	case N_OR: v = run_eval(r, n->a); return value_is_true(v) ? v : run_eval(r, n->b);
	case N_CHOOSE:
		if (value_is_true(run_eval(r, n->a)))
			return run_eval(r, n->b);
		return n->c ? run_eval(r, n->c) : value_undefined(NULL);
	case N_OPERAND:
	case N_BODY:
	case N_TEXT:
	case N_PRINT:
	case N_IF:
	case N_FOR:
	case N_SET:
	case N_SET_BLOCK:
	case N_MACRO:
	case N_CALL_BLOCK:
	case N_FILTER_BLOCK:
	case N_WITH:
	case N_BREAK:
	case N_CONTINUE: break; /* statements */
	}
	return UNDEFINED;
}

struct value run_eval(struct run *r, const struct node *n)
{
	if (!run_step(r, 1))
		return UNDEFINED;
	if (++r->depth > RUN_DEPTH_MAX)
		run_fail(r, "nested too deeply");
	struct value v = r->failed ? UNDEFINED : eval(r, n);
	r->depth--;
	return v;
}
