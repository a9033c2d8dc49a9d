/* exec.c - statements: what a template prints. */
#include "worker/template/run.h"
#include <string.h>

static struct scope *scope_new(struct run *r, struct scope *parent)
{
	struct scope *s = arena_alloc(&r->arena, sizeof *s);
	s->parent = parent;
	return s;
}

static void define(struct run *r, struct str name, struct value v)
{
	dict_put(&r->arena, &r->scope->vars, value_str(name), v);
}

struct list *run_iterate(struct run *r, struct value v)
{
	struct value out = value_list(&r->arena, 0);
	if (v.kind == V_LIST || v.kind == V_TUPLE)
		return v.list;
	if (v.kind == V_DICT) {
		run_step(r, v.dict->n);
		for (size_t i = 0; i < v.dict->n; i++)
			list_push(&r->arena, out.list, v.dict->items[i].key);
	} else if (v.kind == V_STR) {
		for (size_t at = 0; at < v.s.n_bytes && run_step(r, 1);) {
			struct str rest = str_slice(v.s, at, v.s.n_bytes - at);
			size_t n = str_offset(rest, 1);
			list_push(&r->arena, out.list, value_str(str_slice(rest, 0, n)));
			at += n;
		}
	} else if (v.kind != V_UNDEFINED) {
		run_fail(r, "'%s' object is not iterable", value_type_name(v));
	}
	return out.list;
}

static void assign_attr(struct run *r, const struct node *target, struct value v)
{
	struct value ns = run_eval(r, target->a);
	if (ns.kind == V_NAMESPACE)
		dict_put(&r->arena, ns.dict, value_str(target->name), v);
	else
		run_fail(r, "cannot assign attribute on non-namespace object");
}

void run_assign(struct run *r, const struct node *target, struct value v)
{
	if (target->kind == N_NAME) {
		define(r, target->name, v);
	} else if (target->kind == N_ATTR) {
		assign_attr(r, target, v);
	} else {
		struct list *items = run_iterate(r, v);
		if (!r->failed && items->n != target->n_kids)
			run_fail(
				r, "%zu values to unpack into %zu names", items->n, target->n_kids);
		for (size_t i = 0; !r->failed && i < items->n; i++)
			run_assign(r, target->kids[i], items->items[i]);
	}
}

/* The items of a loop that pass its test; each is tested in a scope of its own. */
static struct list *filtered(struct run *r, const struct node *n, struct list *items)
{
	if (!n->kids[0])
		return items;
	struct value out = value_list(&r->arena, items->n);
	struct scope *outer = r->scope;
	for (size_t i = 0; i < items->n && run_step(r, 1); i++) {
		r->scope = scope_new(r, outer);
		run_assign(r, n->a, items->items[i]);
		if (value_is_true(run_eval(r, n->kids[0])))
			list_push(&r->arena, out.list, items->items[i]);
		r->scope = outer;
	}
	return out.list;
}

static void put(struct run *r, struct dict *d, const char *key, struct value v)
{
	dict_put(&r->arena, d, value_text(key), v);
}

/* `loop` of one round. The dict lives as long as the loop, for loop.changed. */
static void describe_round(struct run *r, struct dict *loop, const struct list *items, size_t i)
{
	int64_t n = (int64_t)items->n, at = (int64_t)i;
	put(r, loop, "index", value_int(at + 1));
	put(r, loop, "index0", value_int(at));
	put(r, loop, "revindex", value_int(n - at));
	put(r, loop, "revindex0", value_int(n - at - 1));
	put(r, loop, "first", value_bool(i == 0));
	put(r, loop, "last", value_bool(at == n - 1));
	put(r, loop, "length", value_int(n));
	put(r, loop, "previtem", i ? items->items[i - 1] : UNDEFINED);
	put(r, loop, "nextitem", i + 1 < items->n ? items->items[i + 1] : UNDEFINED);
	put(r, loop, "depth", value_int(1));
	put(r, loop, "depth0", value_int(0));
}

static void bind_loop_method(struct run *r, struct value loop, const struct method_row *row)
{
	struct method *m = arena_alloc(&r->arena, sizeof *m);
	*m = (struct method) { loop, row };
	put(r, loop.dict, row->row.name, (struct value) { .kind = V_METHOD, .method = m });
}

static void exec_for(struct run *r, const struct node *n)
{
	struct value over = run_eval(r, n->b);
	struct list *items = r->failed ? NULL : filtered(r, n, run_iterate(r, over));
	struct scope *outer = r->scope;
	struct value loop = value_dict(&r->arena);
	if (r->failed)
		return;
	bind_loop_method(r, loop, &LOOP_CYCLE);
	bind_loop_method(r, loop, &LOOP_CHANGED);
	for (size_t i = 0; i < items->n && run_step(r, 1); i++) {
		r->scope = scope_new(r, outer);
		describe_round(r, loop.dict, items, i);
		put(r, &r->scope->vars, "loop", loop);
		run_assign(r, n->a, items->items[i]);
		run_exec(r, n->kids[1]);
		r->scope = outer;
		bool stop = r->flow == FLOW_BREAK;
		r->flow = FLOW_ON;
		if (stop)
			break;
	}
	if (!items->n && n->kids[2])
		run_exec(r, n->kids[2]);
}

struct value run_capture(struct run *r, const struct node *body, struct scope *parent)
{
	struct strbuf out = { 0 }, *outer_out = r->out;
	struct scope *outer = r->scope;
	r->out = &out;
	r->scope = scope_new(r, parent);
	run_exec(r, body);
	r->scope = outer;
	r->out = outer_out;
	return value_str(strbuf_done(&r->arena, &out));
}

/* A filter chain whose innermost filter has no operand of its own. */
static struct value apply_filters(struct run *r, const struct node *chain, struct value v)
{
	struct node with = *chain, inner = { .kind = N_CONST, .line = chain->line, .value = v };
	if (chain->a)
		inner.value = apply_filters(r, chain->a, v);
	with.a = &inner;
	return run_eval(r, &with);
}

static void exec_set_block(struct run *r, const struct node *n)
{
	struct value v = run_capture(r, n->b, r->scope);
	if (n->c)
		v = apply_filters(r, n->c, v);
	run_assign(r, n->a, v);
}

static void exec_macro(struct run *r, const struct node *n)
{
	struct macro *m = arena_alloc(&r->arena, sizeof *m);
	*m = (struct macro) { n, r->scope };
	define(r, n->name, (struct value) { .kind = V_MACRO, .macro = m });
}

/* {% call f(x) %}body{% endcall %}: f sees the body as caller(). */
static void exec_call_block(struct run *r, const struct node *n)
{
	struct macro *m = arena_alloc(&r->arena, sizeof *m);
	struct scope *outer = r->scope;
	*m = (struct macro) { n, outer };
	struct node call = *n->a;
	struct node caller = {
		.kind = N_CONST, .line = n->line, .value = { .kind = V_MACRO, .macro = m }
	};
	struct arg *args = arena_alloc(&r->arena, (call.n_args + 1) * sizeof *args);
	if (call.n_args)
		memcpy(args, call.args, call.n_args * sizeof *args);
	args[call.n_args++] = (struct arg) { value_text("caller").s, &caller };
	call.args = args;
	struct value v = run_eval(r, &call);
	if (!r->failed)
		value_print(r->out, v);
}

static void exec_with(struct run *r, const struct node *n)
{
	struct scope *outer = r->scope, *inner = scope_new(r, outer);
	for (size_t i = 0; i < n->n_args; i++)
		dict_put(&r->arena, &inner->vars, value_str(n->args[i].name),
			run_eval(r, n->args[i].value));
	r->scope = inner;
	run_exec(r, n->b);
	r->scope = outer;
}

static void exec_print(struct run *r, struct value v)
{
	size_t before = r->out->text.n_bytes;
	if (!r->failed)
		value_print(r->out, v);
	size_t n = r->out->text.n_bytes - before;
	if (r->out->text.n_bytes > RUN_BYTES_MAX)
		run_fail(r, "prints too much");
	run_step(r, n / 256);
}

static void exec(struct run *r, const struct node *n)
{
	switch (n->kind) {
	case N_BODY:
		for (size_t i = 0; i < n->n_kids && !r->failed && r->flow == FLOW_ON; i++)
			run_exec(r, n->kids[i]);
		return;
	case N_TEXT: exec_print(r, n->value); return;
	case N_PRINT: exec_print(r, run_eval(r, n->a)); return;
	case N_IF:
		if (value_is_true(run_eval(r, n->a)))
			run_exec(r, n->b);
		else if (n->c)
			run_exec(r, n->c);
		return;
	case N_FOR: exec_for(r, n); return;
	case N_SET: run_assign(r, n->a, run_eval(r, n->b)); return;
	case N_SET_BLOCK: exec_set_block(r, n); return;
	case N_MACRO: exec_macro(r, n); return;
	case N_CALL_BLOCK: exec_call_block(r, n); return;
	case N_FILTER_BLOCK:
		exec_print(r, apply_filters(r, n->a, run_capture(r, n->b, r->scope)));
		return;
	case N_WITH: exec_with(r, n); return;
	case N_BREAK: r->flow = FLOW_BREAK; return;
	case N_CONTINUE: r->flow = FLOW_CONTINUE; return;
	case N_CONST:
	case N_NAME:
	case N_LIST:
	case N_TUPLE:
	case N_DICT:
	case N_ATTR:
	case N_ITEM:
	case N_SLICE:
	case N_CALL:
	case N_FILTER:
	case N_TEST:
	case N_NOT:
	case N_NEG:
	case N_POS:
	case N_BINARY:
	case N_COMPARE:
	case N_OPERAND:
	case N_AND:
	case N_OR:
	case N_CHOOSE: break; /* expressions */
	}
}

void run_exec(struct run *r, const struct node *n)
{
	if (!run_step(r, 1))
		return;
	if (++r->depth > RUN_DEPTH_MAX)
		run_fail(r, "nested too deeply");
	else
		exec(r, n);
	r->depth--;
}
