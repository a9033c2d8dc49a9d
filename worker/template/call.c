/* call.c - calls: macros, methods, functions, filters and tests, and their arguments. */
#include "worker/template/run.h"
#include <string.h>

/* The word of a space-separated list that starts at p; its length in *n. */
static const char *next_word(const char *p, size_t *n)
{
	p += strspn(p, " ");
	*n = strcspn(p, " ");
	return p;
}

static bool bind_keyword(const struct builtin *b, struct call *c, const struct item *kw)
{
	size_t n, i = 0;
	for (const char *p = next_word(b->params, &n); n; p = next_word(p + n, &n), i++) {
		if (kw->key.s.n_bytes == n && !memcmp(kw->key.s.at, p, n)) {
			c->v[i] = kw->value;
			c->given |= 1u << i;
			return true;
		}
	}
	return false;
}

struct value run_builtin(struct run *r, const char *what, const struct builtin *b, struct call *c)
{
	if (!strcmp(b->params, "*"))
		return b->fn(r, c);
	size_t n_params = 0, n;
	for (const char *p = next_word(b->params, &n); n; p = next_word(p + n, &n))
		n_params++;
	if (c->n_pos > n_params)
		return run_fail(r, "%s %s takes at most %zu arguments, not %zu", what, b->name,
			n_params, c->n_pos);
	for (size_t i = 0; i < c->n_pos; i++)
		c->v[i] = c->pos[i];
	c->given = (1u << c->n_pos) - 1;
	for (size_t i = 0; i < c->n_kw; i++)
		if (!bind_keyword(b, c, &c->kw[i]))
			return run_fail(r, "%s %s has no argument '%.*s'", what, b->name,
				(int)c->kw[i].key.s.n_bytes, c->kw[i].key.s.at);
	for (size_t i = 0; i < b->n_required; i++)
		if (!(c->given >> i & 1))
			return run_fail(
				r, "%s %s needs %zu argument(s)", what, b->name, b->n_required);
	return b->fn(r, c);
}

static const struct value *keyword(const struct call *c, struct str name)
{
	for (size_t i = 0; i < c->n_kw; i++)
		if (!str_compare(c->kw[i].key.s, name))
			return &c->kw[i].value;
	return NULL;
}

/* What a macro was given beyond its parameters: varargs and kwargs. */
static void bind_rest(struct run *r, const struct node *n, const struct call *c, struct scope *s)
{
	struct value varargs = value_list(&r->arena, 0), kwargs = value_dict(&r->arena);
	for (size_t i = n->n_args; i < c->n_pos; i++)
		list_push(&r->arena, varargs.list, c->pos[i]);
	for (size_t i = 0; i < c->n_kw; i++) {
		bool is_param = str_is(c->kw[i].key.s, "caller");
		for (size_t k = 0; k < n->n_args; k++)
			is_param |= !str_compare(n->args[k].name, c->kw[i].key.s);
		if (!is_param)
			dict_put(&r->arena, kwargs.dict, c->kw[i].key, c->kw[i].value);
	}
	varargs.kind = V_TUPLE;
	dict_put(&r->arena, &s->vars, value_text("varargs"), varargs);
	dict_put(&r->arena, &s->vars, value_text("kwargs"), kwargs);
}

struct value run_macro(struct run *r, const struct macro *m, struct call *c)
{
	const struct node *n = m->node;
	struct scope *s = arena_alloc(&r->arena, sizeof *s), *outer = r->scope;
	s->parent = m->scope;
	bind_rest(r, n, c, s);
	r->scope = s;
	for (size_t i = 0; i < n->n_args && !r->failed; i++) {
		const struct value *kw = keyword(c, n->args[i].name);
		struct value v = UNDEFINED;
		if (i < c->n_pos)
			v = c->pos[i];
		else if (kw)
			v = *kw;
		else if (n->args[i].value)
			v = run_eval(r, n->args[i].value);
		dict_put(&r->arena, &s->vars, value_str(n->args[i].name), v);
	}
	const struct value *caller = keyword(c, value_text("caller").s);
	if (caller)
		dict_put(&r->arena, &s->vars, value_text("caller"), *caller);
	enum flow flow = r->flow;
	struct value out = run_capture(r, n->b, s);
	r->flow = flow;
	r->scope = outer;
	return out;
}

struct value run_call(struct run *r, struct value callee, struct call *c)
{
	if (callee.kind == V_MACRO)
		return run_macro(r, callee.macro, c);
	if (callee.kind == V_FUNCTION)
		return run_builtin(r, "function", &callee.function->row, c);
	if (callee.kind == V_METHOD) {
		c->self = callee.method->self;
		return run_builtin(r, "method", &callee.method->row->row, c);
	}
	if (callee.kind == V_UNDEFINED)
		return run_fail(
			r, "'%s' is undefined", callee.name ? callee.name : "what is called");
	return run_fail(r, "'%s' object is not callable", value_type_name(callee));
}

struct value run_filter(struct run *r, struct str name, struct call *c)
{
	const struct builtin *b = builtin_filter(name);
	if (!b)
		b = builtin_sequence(name);
	if (!b)
		return run_fail(r, "no filter named '%.*s'", (int)name.n_bytes, name.at);
	return run_builtin(r, "filter", b, c);
}

bool run_test(struct run *r, struct str name, struct call *c)
{
	const struct builtin *b = builtin_test(name);
	if (!b) {
		run_fail(r, "no test named '%.*s'", (int)name.n_bytes, name.at);
		return false;
	}
	return value_is_true(run_builtin(r, "test", b, c));
}

struct str run_string(struct run *r, struct value v)
{
	if (v.kind == V_STR)
		return v.s;
	struct strbuf b = { 0 };
	value_print(&b, v);
	return strbuf_done(&r->arena, &b);
}
