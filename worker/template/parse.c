/* parse.c - statements: the tags of a template and the text between them. */
#include "worker/template/ast.h"
#include <string.h>

static struct node *parse_body(struct parser *p, const char *const *ends);

static const char *const NO_END[] = { NULL };

/* `{% word` ahead, for one of the words? */
static bool at_tag(const struct parser *p, const char *const *words)
{
	if (p->at->kind != T_BLOCK_BEGIN)
		return false;
	for (; *words; words++)
		if (p->at[1].kind == T_NAME && str_is(p->at[1].text, *words))
			return true;
	return false;
}

static void end_tag(struct parser *p)
{
	parse_expect(p, T_BLOCK_END, "%}");
}

/* `{% name %}` in full. */
static void expect_tag(struct parser *p, const char *name)
{
	parse_expect(p, T_BLOCK_BEGIN, "{%");
	parse_expect(p, T_NAME, name);
	end_tag(p);
}

/* A name, a.b (a namespace's item) or a tuple of names, to assign to. */
static struct node *parse_target_item(struct parser *p)
{
	if (parse_take(p, T_OP, "(")) {
		struct node *inner = node_new(p, N_TUPLE);
		do {
			node_push(p, inner, parse_target_item(p));
		} while (parse_take(p, T_OP, ",") && !p->failed);
		parse_expect(p, T_OP, ")");
		return inner;
	}
	struct node *n = node_new(p, N_NAME);
	n->name = p->at->text;
	parse_expect(p, T_NAME, NULL);
	if (!parse_take(p, T_OP, "."))
		return n;
	struct node *attr = node_new(p, N_ATTR);
	attr->a = n;
	attr->name = p->at->text;
	parse_expect(p, T_NAME, NULL);
	return attr;
}

static struct node *parse_target(struct parser *p)
{
	struct node *first = parse_target_item(p);
	if (!parse_is(p, T_OP, ","))
		return first;
	struct node *n = node_new(p, N_TUPLE);
	node_push(p, n, first);
	while (parse_take(p, T_OP, ","))
		node_push(p, n, parse_target_item(p));
	return n;
}

static struct node *parse_if(struct parser *p)
{
	static const char *const ends[] = { "elif", "else", "endif", NULL };
	struct node *n = node_new(p, N_IF);
	n->a = parse_tuple(p, true);
	end_tag(p);
	n->b = parse_body(p, ends);
	parse_expect(p, T_BLOCK_BEGIN, "{%");
	if (parse_take(p, T_NAME, "elif")) {
		if (++p->depth > PARSE_DEPTH_MAX)
			parse_fail(p, "nested too deeply");
		else
			n->c = parse_if(p);
		p->depth--;
		return n;
	}
	if (parse_take(p, T_NAME, "else")) {
		end_tag(p);
		n->c = parse_body(p, ends + 2);
		parse_expect(p, T_BLOCK_BEGIN, "{%");
	}
	parse_expect(p, T_NAME, "endif");
	end_tag(p);
	return n;
}

static struct node *parse_for(struct parser *p)
{
	static const char *const ends[] = { "else", "endfor", NULL };
	struct node *n = node_new(p, N_FOR), *body = NULL, *otherwise = NULL;
	n->a = parse_target(p);
	parse_expect(p, T_NAME, "in");
	n->b = parse_tuple(p, false);
	node_push(p, n, parse_take(p, T_NAME, "if") ? parse_expression(p) : NULL);
	if (parse_is(p, T_NAME, "recursive"))
		parse_fail(p, "recursive loops are not supported");
	end_tag(p);
	body = parse_body(p, ends);
	parse_expect(p, T_BLOCK_BEGIN, "{%");
	if (parse_take(p, T_NAME, "else")) {
		end_tag(p);
		otherwise = parse_body(p, ends + 1);
		parse_expect(p, T_BLOCK_BEGIN, "{%");
	}
	parse_expect(p, T_NAME, "endfor");
	end_tag(p);
	node_push(p, n, body);
	node_push(p, n, otherwise);
	return n;
}

static struct node *parse_set(struct parser *p)
{
	static const char *const ends[] = { "endset", NULL };
	struct node *target = parse_target(p), *n;
	if (parse_take(p, T_OP, "=")) {
		n = node_new(p, N_SET);
		n->a = target;
		n->b = parse_tuple(p, true);
		end_tag(p);
		return n;
	}
	n = node_new(p, N_SET_BLOCK);
	n->a = target;
	if (parse_take(p, T_OP, "|"))
		n->c = parse_filters(p, NULL);
	end_tag(p);
	n->b = parse_body(p, ends);
	expect_tag(p, "endset");
	return n;
}

/* (a, b=1) of a macro or a call block. */
static void parse_parameters(struct parser *p, struct node *n)
{
	parse_expect(p, T_OP, "(");
	while (!p->failed && !parse_is(p, T_OP, ")")) {
		struct str name = p->at->text;
		parse_expect(p, T_NAME, NULL);
		node_push_arg(p, n, name, parse_take(p, T_OP, "=") ? parse_expression(p) : NULL);
		if (!parse_take(p, T_OP, ","))
			break;
	}
	parse_expect(p, T_OP, ")");
}

static struct node *parse_macro(struct parser *p)
{
	static const char *const ends[] = { "endmacro", NULL };
	struct node *n = node_new(p, N_MACRO);
	n->name = p->at->text;
	parse_expect(p, T_NAME, NULL);
	parse_parameters(p, n);
	end_tag(p);
	n->b = parse_body(p, ends);
	parse_expect(p, T_BLOCK_BEGIN, "{%");
	parse_expect(p, T_NAME, "endmacro");
	parse_take(p, T_NAME, NULL);
	end_tag(p);
	return n;
}

static struct node *parse_call_block(struct parser *p)
{
	static const char *const ends[] = { "endcall", NULL };
	struct node *n = node_new(p, N_CALL_BLOCK);
	if (parse_is(p, T_OP, "("))
		parse_parameters(p, n);
	n->a = parse_postfix_chain(p);
	if (!p->failed && n->a->kind != N_CALL)
		parse_fail(p, "{%% call %%} needs a call");
	end_tag(p);
	n->b = parse_body(p, ends);
	expect_tag(p, "endcall");
	return n;
}

static struct node *parse_filter_block(struct parser *p)
{
	static const char *const ends[] = { "endfilter", NULL };
	struct node *n = node_new(p, N_FILTER_BLOCK);
	n->a = parse_filters(p, NULL);
	end_tag(p);
	n->b = parse_body(p, ends);
	expect_tag(p, "endfilter");
	return n;
}

static struct node *parse_with(struct parser *p)
{
	static const char *const ends[] = { "endwith", NULL };
	struct node *n = node_new(p, N_WITH);
	while (!p->failed && !parse_is(p, T_BLOCK_END, NULL)) {
		struct str name = p->at->text;
		parse_expect(p, T_NAME, NULL);
		parse_expect(p, T_OP, "=");
		node_push_arg(p, n, name, parse_expression(p));
		if (!parse_take(p, T_OP, ","))
			break;
	}
	end_tag(p);
	n->b = parse_body(p, ends);
	expect_tag(p, "endwith");
	return n;
}

/* {% generation %} marks what an assistant wrote, for training; it prints its body. */
static struct node *parse_generation(struct parser *p)
{
	static const char *const ends[] = { "endgeneration", NULL };
	end_tag(p);
	struct node *n = parse_body(p, ends);
	expect_tag(p, "endgeneration");
	return n;
}

static struct node *parse_jump(struct parser *p, enum node_kind kind)
{
	struct node *n = node_new(p, kind);
	end_tag(p);
	return n;
}

static struct node *parse_statement(struct parser *p)
{
	parse_expect(p, T_BLOCK_BEGIN, "{%");
	const struct token *word = p->at;
	parse_expect(p, T_NAME, NULL);
	if (str_is(word->text, "if"))
		return parse_if(p);
	if (str_is(word->text, "for"))
		return parse_for(p);
	if (str_is(word->text, "set"))
		return parse_set(p);
	if (str_is(word->text, "macro"))
		return parse_macro(p);
	if (str_is(word->text, "call"))
		return parse_call_block(p);
	if (str_is(word->text, "filter"))
		return parse_filter_block(p);
	if (str_is(word->text, "with"))
		return parse_with(p);
	if (str_is(word->text, "generation"))
		return parse_generation(p);
	if (str_is(word->text, "break"))
		return parse_jump(p, N_BREAK);
	if (str_is(word->text, "continue"))
		return parse_jump(p, N_CONTINUE);
	parse_fail(p, "unknown or misplaced tag \"%.*s\"", (int)word->text.n_bytes, word->text.at);
	return node_new(p, N_BODY);
}

static struct node *parse_print(struct parser *p)
{
	struct node *n = node_new(p, N_PRINT);
	p->at++;
	n->a = parse_tuple(p, true);
	parse_expect(p, T_VAR_END, "}}");
	return n;
}

static struct node *parse_text(struct parser *p)
{
	struct node *n = node_new(p, N_TEXT);
	n->value = value_str((p->at++)->text);
	return n;
}

static struct node *parse_body(struct parser *p, const char *const *ends)
{
	struct node *body = node_new(p, N_BODY);
	if (++p->depth > PARSE_DEPTH_MAX)
		parse_fail(p, "nested too deeply");
	while (!p->failed && p->at->kind != T_END && !at_tag(p, ends)) {
		if (p->at->kind == T_DATA)
			node_push(p, body, parse_text(p));
		else if (p->at->kind == T_VAR_BEGIN)
			node_push(p, body, parse_print(p));
		else
			node_push(p, body, parse_statement(p));
	}
	p->depth--;
	return body;
}

struct node *parse_template(struct parser *p)
{
	return parse_body(p, NO_END);
}
