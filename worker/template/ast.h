/* ast.h - a parsed template: one node type for expressions and statements, in an arena. */
#ifndef WORKER_TEMPLATE_AST_H
#define WORKER_TEMPLATE_AST_H
#include "worker/template/lex.h"
#include "worker/template/value.h"

enum node_kind {
	/* expressions */
	N_CONST,   /* value */
	N_NAME,    /* name */
	N_LIST,    /* kids */
	N_TUPLE,   /* kids */
	N_DICT,    /* kids: key, value, key, value … */
	N_ATTR,    /* a.name */
	N_ITEM,    /* a[b] */
	N_SLICE,   /* a[kids[0]:kids[1]:kids[2]], each may be NULL */
	N_CALL,    /* a(args) */
	N_FILTER,  /* a | name(args); a is NULL in a filter block */
	N_TEST,    /* a is name(args) */
	N_NOT,     /* not a */
	N_NEG,     /* -a */
	N_POS,     /* +a */
	N_BINARY,  /* a op b: + - * / % ~, '_' for //, '^' for ** */
	N_COMPARE, /* a, then kids of N_OPERAND: chained as in Python */
	N_OPERAND, /* op a, inside N_COMPARE */
	N_AND,     /* a and b */
	N_OR,      /* a or b */
	N_CHOOSE,  /* b if a else c; c may be NULL */
	/* statements */
	N_BODY,  /* kids in order */
	N_TEXT,  /* value */
	N_PRINT, /* {{ a }} */
	N_IF,    /* a: condition, b: body, c: else part or NULL */
	N_FOR,   /* a: target, b: iterable, kids[0]: test or NULL, [1]: body, [2]: else or NULL */
	N_SET,   /* a: target, b: value */
	N_SET_BLOCK,    /* a: target, b: body, c: filter chain or NULL */
	N_MACRO,        /* name, args (parameters; value = default or NULL), b: body */
	N_CALL_BLOCK,   /* args (the caller's parameters), a: the call, b: body */
	N_FILTER_BLOCK, /* a: filter chain, b: body */
	N_WITH,         /* args (assignments), b: body */
	N_BREAK,
	N_CONTINUE,
};

struct arg {
	struct str name; /* .at NULL = positional */
	struct node *value;
};

enum compare_op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_IN, OP_NOT_IN };

struct node {
	enum node_kind kind;
	int line;
	int op; /* N_BINARY: a character; N_OPERAND: enum compare_op */
	struct str name;
	struct value value;
	struct node *a, *b, *c;
	struct node **kids;
	size_t n_kids;
	struct arg *args;
	size_t n_args;
};

struct macro {
	const struct node *node; /* N_MACRO or N_CALL_BLOCK */
	struct scope *scope;     /* where it was defined; run.h */
};

#define PARSE_DEPTH_MAX 200 /* nesting of expressions and blocks */

struct parser {
	struct arena *arena;
	const struct token *at;
	struct fault *fault;
	int depth;
	bool failed;
};

/* Statements up to the end of the template: parse.c. Expressions: parse_expr.c. On failure
 * p->failed is set, *p->fault says why, and what comes back is not to be used. */
struct node *parse_template(struct parser *p);
struct node *parse_expression(struct parser *p);              /* with `x if y else z` */
struct node *parse_tuple(struct parser *p, bool with_choose); /* a, b or one expression */
struct node *parse_or(struct parser *p);                      /* without `if` */
struct node *parse_postfix_chain(struct parser *p);           /* a primary with .x [x] (…) */
struct node *parse_filters(struct parser *p, struct node *a); /* | f | g */
void parse_args(struct parser *p, struct node *call);         /* from ( to ) */

/* Shared by the two. */
struct node *node_new(struct parser *p, enum node_kind kind);
void node_push(struct parser *p, struct node *parent, struct node *kid);
void node_push_arg(struct parser *p, struct node *n, struct str name, struct node *value);
void parse_fail(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool parse_is(const struct parser *p, enum token_kind kind, const char *text);
bool parse_take(struct parser *p, enum token_kind kind, const char *text);
void parse_expect(struct parser *p, enum token_kind kind, const char *text);
#endif
