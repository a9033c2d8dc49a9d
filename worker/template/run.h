/* run.h - one rendering of a template: scopes, limits, the output, and its built-ins. */
#ifndef WORKER_TEMPLATE_RUN_H
#define WORKER_TEMPLATE_RUN_H
#include "worker/template/ast.h"
#include "worker/template/value.h"
#include <time.h>

#define RUN_STEPS_MAX        ((size_t)5 << 20)   /* nodes evaluated and items walked */
#define RUN_BYTES_MAX        ((size_t)256 << 20) /* of values, alive or not */
#define RUN_DEPTH_MAX        800                 /* of expressions and macro calls */
#define RUN_LOOKUPS_PER_STEP 64

/* Names are looked up from the innermost scope outwards. `if` makes no scope; loops,
 * macros, `with` and block sets do, as in Jinja. */
struct scope {
	struct scope *parent;
	struct dict vars;
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

struct run {
	struct arena arena;
	struct fault *fault;
	bool failed;
	enum flow flow;
	size_t n_steps;
	int depth;
	struct scope *scope;
	struct strbuf *out;
	const struct tm *now; /* NULL = local time */
};

/* The first failure wins; everything after it is a no-op that returns undefined. */
struct value run_fail(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Count work; false once the run is over (failed or out of its limits). */
bool run_step(struct run *r, size_t n);

struct value run_eval(struct run *r, const struct node *n);
void run_exec(struct run *r, const struct node *n);
void run_assign(struct run *r, const struct node *target, struct value v);
/* What `body` prints, in a scope of its own. */
struct value run_capture(struct run *r, const struct node *body, struct scope *parent);

/* A sequence to walk: lists and tuples as they are, a dict's keys, a string's characters,
 * nothing for undefined. Fails for anything else. */
struct list *run_iterate(struct run *r, struct value v);
/* obj.name (attributes before items) and obj[key] (items before attributes). */
struct value run_attr(struct run *r, struct value obj, struct str name);
struct value run_item(struct run *r, struct value obj, struct value key);

/* A call's arguments. `v` are those of the built-in's parameter list, in order, undefined
 * where not given; pos and kw are as written. */
struct call {
	struct value self; /* the filtered or tested value, or a method's object */
	struct value *pos;
	size_t n_pos;
	struct item *kw;
	size_t n_kw;
	struct value v[8];
	unsigned given; /* bit i: v[i] was given */
};

/* One row of a table of built-ins. params: names in order, `*` = takes anything. */
struct builtin {
	const char *name;
	const char *params;
	size_t n_required;
	struct value (*fn)(struct run *r, const struct call *c);
};
struct function {
	struct builtin row;
};
struct method_row {
	enum value_kind kind; /* of self */
	struct builtin row;
};

/* Check a call against its row, fill c->v, run it. `what` is "filter" … for messages. */
struct value run_builtin(struct run *r, const char *what, const struct builtin *b, struct call *c);
struct value run_call(struct run *r, struct value callee, struct call *c);
struct value run_macro(struct run *r, const struct macro *m, struct call *c);

/* The tables; NULL if there is no such name. */
const struct builtin *builtin_filter(struct str name);                          /* filters.c */
const struct builtin *builtin_sequence(struct str name);                        /* filters_seq.c */
const struct builtin *builtin_test(struct str name);                            /* tests.c */
const struct method_row *builtin_method(enum value_kind kind, struct str name); /* methods.c */
const struct function *builtin_function(struct str name);                       /* functions.c */
extern const struct method_row LOOP_CYCLE, LOOP_CHANGED;                        /* functions.c */

struct value run_filter(struct run *r, struct str name, struct call *c);
bool run_test(struct run *r, struct str name, struct call *c);

/* Helpers of several built-ins. */
struct str run_string(struct run *r, struct value v); /* str(v) */
struct value run_tojson(struct run *r, const struct call *c);
struct value run_strip(
	struct run *r, struct str s, const struct value *chars, bool left, bool right);
struct value run_replace(
	struct run *r, struct str s, struct str from, struct str to, int64_t count);
struct value run_case(struct run *r, struct str s,
	char how); /* u, l, c(apitalize), t: str.title, T: the filter */
#endif
