/* parse_expr.c - expressions, in Jinja's order of precedence. */
#include "worker/template/ast.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void parse_fail(struct parser *p, const char *fmt, ...)
{
	if (p->failed)
		return;
	char what[200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	fault_set(p->fault, ERR_INVALID_PARAMS, "chat template: line %d: %s", p->at->line, what);
	p->failed = true;
}

struct node *node_new(struct parser *p, enum node_kind kind)
{
	struct node *n = arena_alloc(p->arena, sizeof *n);
	n->kind = kind;
	n->line = p->at->line;
	return n;
}

/* Lists grow by powers of two, so the length alone tells when one is full. */
static bool is_full(size_t n)
{
	return (n & (n - 1)) == 0;
}

void node_push(struct parser *p, struct node *parent, struct node *kid)
{
	if (is_full(parent->n_kids)) {
		struct node **kids = arena_alloc(
			p->arena, (parent->n_kids ? parent->n_kids * 2 : 1) * sizeof *kids);
		if (parent->n_kids)
			memcpy(kids, parent->kids, parent->n_kids * sizeof *kids);
		parent->kids = kids;
	}
	parent->kids[parent->n_kids++] = kid;
}

void node_push_arg(struct parser *p, struct node *n, struct str name, struct node *value)
{
	if (is_full(n->n_args)) {
		struct arg *args =
			arena_alloc(p->arena, (n->n_args ? n->n_args * 2 : 1) * sizeof *args);
		if (n->n_args)
			memcpy(args, n->args, n->n_args * sizeof *args);
		n->args = args;
	}
	n->args[n->n_args++] = (struct arg) { name, value };
}

bool parse_is(const struct parser *p, enum token_kind kind, const char *text)
{
	return p->at->kind == kind && (!text || str_is(p->at->text, text));
}

bool parse_take(struct parser *p, enum token_kind kind, const char *text)
{
	if (p->failed || !parse_is(p, kind, text))
		return false;
	p->at++;
	return true;
}

void parse_expect(struct parser *p, enum token_kind kind, const char *text)
{
	if (!parse_take(p, kind, text))
		parse_fail(p, "expected %s, found \"%.*s\"", text ? text : "a name",
			(int)p->at->text.n_bytes, p->at->text.at);
}

static struct node *binary(struct parser *p, int op, struct node *a, struct node *b)
{
	struct node *n = node_new(p, N_BINARY);
	n->op = op;
	n->a = a;
	n->b = b;
	return n;
}

static struct node *constant(struct parser *p, struct value v)
{
	struct node *n = node_new(p, N_CONST);
	n->value = v;
	return n;
}

/* Adjacent string literals are one. */
static struct node *parse_strings(struct parser *p)
{
	struct strbuf b = { 0 };
	while (parse_is(p, T_STRING, NULL))
		strbuf_add(&b, (p->at++)->text);
	return constant(p, value_str(strbuf_done(p->arena, &b)));
}

static struct node *parse_list(struct parser *p)
{
	struct node *n = node_new(p, N_LIST);
	while (!p->failed && !parse_is(p, T_OP, "]")) {
		node_push(p, n, parse_expression(p));
		if (!parse_take(p, T_OP, ","))
			break;
	}
	parse_expect(p, T_OP, "]");
	return n;
}

static struct node *parse_dict(struct parser *p)
{
	struct node *n = node_new(p, N_DICT);
	while (!p->failed && !parse_is(p, T_OP, "}")) {
		node_push(p, n, parse_expression(p));
		parse_expect(p, T_OP, ":");
		node_push(p, n, parse_expression(p));
		if (!parse_take(p, T_OP, ","))
			break;
	}
	parse_expect(p, T_OP, "}");
	return n;
}

static struct node *parse_parens(struct parser *p)
{
	if (parse_take(p, T_OP, ")"))
		return node_new(p, N_TUPLE);
	struct node *n = parse_tuple(p, true);
	parse_expect(p, T_OP, ")");
	return n;
}

static struct node *parse_name(struct parser *p)
{
	static const struct {
		const char *name;
		struct value value;
	} words[] = {
		{ "true", { .kind = V_BOOL, .b = true } },
		{ "True", { .kind = V_BOOL, .b = true } },
		{ "false", { .kind = V_BOOL } },
		{ "False", { .kind = V_BOOL } },
		{ "none", { .kind = V_NONE } },
		{ "None", { .kind = V_NONE } },
	};
	struct str name = (p->at++)->text;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_is(name, words[i].name))
			return constant(p, words[i].value);
	struct node *n = node_new(p, N_NAME);
	n->name = name;
	return n;
}

static struct node *parse_primary(struct parser *p)
{
	const struct token *t = p->at;
	if (t->kind == T_NAME)
		return parse_name(p);
	if (t->kind == T_STRING)
		return parse_strings(p);
	if (t->kind == T_INT || t->kind == T_FLOAT) {
		p->at++;
		return constant(p, t->kind == T_INT ? value_int(t->i) : value_float(t->f));
	}
	if (parse_take(p, T_OP, "["))
		return parse_list(p);
	if (parse_take(p, T_OP, "{"))
		return parse_dict(p);
	if (parse_take(p, T_OP, "("))
		return parse_parens(p);
	parse_fail(p, "unexpected \"%.*s\" in an expression", (int)t->text.n_bytes, t->text.at);
	return node_new(p, N_TUPLE);
}

void parse_args(struct parser *p, struct node *call)
{
	parse_expect(p, T_OP, "(");
	while (!p->failed && !parse_is(p, T_OP, ")")) {
		struct str name = { 0 };
		if (parse_is(p, T_OP, "*") || parse_is(p, T_OP, "**"))
			parse_fail(p, "unpacking with * is not supported in calls");
		if (parse_is(p, T_NAME, NULL) && p->at[1].kind == T_OP &&
			str_is(p->at[1].text, "=")) {
			name = p->at->text;
			p->at += 2;
		}
		node_push_arg(p, call, name, parse_expression(p));
		if (!parse_take(p, T_OP, ","))
			break;
	}
	parse_expect(p, T_OP, ")");
}

static struct node *parse_subscript(struct parser *p, struct node *a)
{
	struct node *part[3] = { NULL, NULL, NULL };
	int colons = 0;
	while (!p->failed && !parse_is(p, T_OP, "]")) {
		if (parse_take(p, T_OP, ":")) {
			if (++colons > 2)
				parse_fail(p, "a slice has at most three parts");
		} else if (part[colons]) {
			parse_fail(p, "expected ] after a subscript");
		} else {
			part[colons] = colons ? parse_expression(p) : parse_tuple(p, true);
		}
	}
	parse_expect(p, T_OP, "]");
	struct node *n = node_new(p, colons ? N_SLICE : N_ITEM);
	n->a = a;
	n->b = part[0];
	if (!colons && !part[0])
		parse_fail(p, "an empty subscript");
	for (int i = 0; i < 3 && colons; i++)
		node_push(p, n, part[i]);
	return n;
}

/* .name, [item] and (call) after a; a number after the dot is an item, as in a.0 */
static struct node *parse_postfix(struct parser *p, struct node *a)
{
	while (!p->failed) {
		struct node *n;
		if (parse_take(p, T_OP, ".")) {
			bool is_index = parse_is(p, T_INT, NULL);
			n = node_new(p, is_index ? N_ITEM : N_ATTR);
			n->a = a;
			n->name = p->at->text;
			if (is_index)
				n->b = constant(p, value_int((p->at++)->i));
			else
				parse_expect(p, T_NAME, NULL);
		} else if (parse_take(p, T_OP, "[")) {
			n = parse_subscript(p, a);
		} else if (parse_is(p, T_OP, "(")) {
			n = node_new(p, N_CALL);
			n->a = a;
			parse_args(p, n);
		} else {
			return a;
		}
		a = n;
	}
	return a;
}

struct node *parse_postfix_chain(struct parser *p)
{
	return parse_postfix(p, parse_primary(p));
}

struct node *parse_filters(struct parser *p, struct node *a)
{
	do {
		struct node *n = node_new(p, N_FILTER);
		n->a = a;
		n->name = p->at->text;
		parse_expect(p, T_NAME, NULL);
		if (parse_is(p, T_OP, "("))
			parse_args(p, n);
		a = n;
	} while (parse_take(p, T_OP, "|"));
	return a;
}

/* Does what follows a test's name begin its one unparenthesised argument? */
static bool begins_test_arg(const struct parser *p)
{
	switch (p->at->kind) {
	case T_STRING:
	case T_INT:
	case T_FLOAT: return true;
	case T_NAME:
		return !str_is(p->at->text, "else") && !str_is(p->at->text, "or") &&
		       !str_is(p->at->text, "and") && !str_is(p->at->text, "is") &&
		       !str_is(p->at->text, "if") && !str_is(p->at->text, "in") &&
		       !str_is(p->at->text, "not");
	case T_OP: return str_is(p->at->text, "[") || str_is(p->at->text, "{");
	case T_DATA:
	case T_BLOCK_BEGIN:
	case T_BLOCK_END:
	case T_VAR_BEGIN:
	case T_VAR_END:
	case T_END: return false;
	}
	return false;
}

static struct node *parse_test(struct parser *p, struct node *a)
{
	bool negate = parse_take(p, T_NAME, "not");
	struct node *n = node_new(p, N_TEST);
	n->a = a;
	n->name = p->at->text;
	parse_expect(p, T_NAME, NULL);
	if (parse_is(p, T_OP, "("))
		parse_args(p, n);
	else if (!p->failed && begins_test_arg(p))
		node_push_arg(p, n, (struct str) { 0 }, parse_postfix_chain(p));
	if (!negate)
		return n;
	struct node *not = node_new(p, N_NOT);
	not ->a = n;
	return not ;
}

static struct node *parse_unary(struct parser *p, bool with_filters)
{
	if (++p->depth > PARSE_DEPTH_MAX) {
		parse_fail(p, "nested too deeply");
		p->depth--;
		return node_new(p, N_TUPLE);
	}
	struct node *n;
	if (parse_is(p, T_OP, "-") || parse_is(p, T_OP, "+")) {
		n = node_new(p, *p->at->text.at == '-' ? N_NEG : N_POS);
		p->at++;
		n->a = parse_unary(p, false);
	} else {
		n = parse_postfix_chain(p);
	}
	while (with_filters && !p->failed) {
		if (parse_take(p, T_OP, "|"))
			n = parse_filters(p, n);
		else if (parse_take(p, T_NAME, "is"))
			n = parse_test(p, n);
		else if (parse_is(p, T_OP, "("))
			n = parse_postfix(p, n);
		else
			break;
	}
	p->depth--;
	return n;
}

static struct node *parse_power(struct parser *p)
{
	struct node *a = parse_unary(p, true);
	while (parse_take(p, T_OP, "**"))
		a = binary(p, '^', a, parse_unary(p, true));
	return a;
}

static struct node *parse_product(struct parser *p)
{
	struct node *a = parse_power(p);
	while (!p->failed) {
		int op = parse_is(p, T_OP, "*")    ? '*'
			 : parse_is(p, T_OP, "/")  ? '/'
			 : parse_is(p, T_OP, "//") ? '_'
			 : parse_is(p, T_OP, "%")  ? '%'
						   : 0;
		if (!op)
			break;
		p->at++;
		a = binary(p, op, a, parse_power(p));
	}
	return a;
}

static struct node *parse_concat(struct parser *p)
{
	struct node *a = parse_product(p);
	while (parse_take(p, T_OP, "~"))
		a = binary(p, '~', a, parse_product(p));
	return a;
}

static struct node *parse_sum(struct parser *p)
{
	struct node *a = parse_concat(p);
	while (!p->failed && (parse_is(p, T_OP, "+") || parse_is(p, T_OP, "-"))) {
		int op = parse_is(p, T_OP, "+") ? '+' : '-';
		p->at++;
		a = binary(p, op, a, parse_concat(p));
	}
	return a;
}

static bool take_compare_op(struct parser *p, int *op)
{
	static const char *const names[] = { "==", "!=", "<", "<=", ">", ">=" };
	for (int i = 0; i < 6; i++) {
		if (parse_take(p, T_OP, names[i])) {
			*op = i;
			return true;
		}
	}
	*op = OP_IN;
	if (parse_take(p, T_NAME, "in"))
		return true;
	if (!parse_is(p, T_NAME, "not") || p->at[1].kind != T_NAME || !str_is(p->at[1].text, "in"))
		return false;
	p->at += 2;
	*op = OP_NOT_IN;
	return true;
}

static struct node *parse_compare(struct parser *p)
{
	struct node *a = parse_sum(p), *chain = NULL;
	int op;
	while (!p->failed && take_compare_op(p, &op)) {
		if (!chain) {
			chain = node_new(p, N_COMPARE);
			chain->a = a;
		}
		struct node *operand = node_new(p, N_OPERAND);
		operand->op = op;
		operand->a = parse_sum(p);
		node_push(p, chain, operand);
	}
	return chain ? chain : a;
}

static struct node *parse_not(struct parser *p)
{
	if (!parse_take(p, T_NAME, "not"))
		return parse_compare(p);
	struct node *n = node_new(p, N_NOT);
	if (++p->depth > PARSE_DEPTH_MAX)
		parse_fail(p, "nested too deeply");
	else
		n->a = parse_not(p);
	p->depth--;
	return n;
}

static struct node *parse_and(struct parser *p)
{
	struct node *a = parse_not(p);
	while (parse_take(p, T_NAME, "and")) {
		struct node *n = node_new(p, N_AND);
		n->a = a;
		n->b = parse_not(p);
		a = n;
	}
	return a;
}

struct node *parse_or(struct parser *p)
{
	struct node *a = parse_and(p);
	while (parse_take(p, T_NAME, "or")) {
		struct node *n = node_new(p, N_OR);
		n->a = a;
		n->b = parse_and(p);
		a = n;
	}
	return a;
}

struct node *parse_expression(struct parser *p)
{
	struct node *a = parse_or(p);
	while (parse_take(p, T_NAME, "if")) {
		struct node *n = node_new(p, N_CHOOSE);
		n->b = a;
		n->a = parse_or(p);
		if (parse_take(p, T_NAME, "else")) {
			if (++p->depth > PARSE_DEPTH_MAX)
				parse_fail(p, "nested too deeply");
			else
				n->c = parse_expression(p);
			p->depth--;
		}
		a = n;
	}
	return a;
}

struct node *parse_tuple(struct parser *p, bool with_choose)
{
	struct node *first = with_choose ? parse_expression(p) : parse_or(p);
	if (!parse_is(p, T_OP, ","))
		return first;
	struct node *n = node_new(p, N_TUPLE);
	node_push(p, n, first);
	while (parse_take(p, T_OP, ",")) {
		if (p->at->kind == T_BLOCK_END || p->at->kind == T_VAR_END ||
			parse_is(p, T_OP, ")") || parse_is(p, T_OP, "=") ||
			parse_is(p, T_NAME, "in"))
			break;
		node_push(p, n, with_choose ? parse_expression(p) : parse_or(p));
	}
	return n;
}
