/* value.h - what a template computes with: Python's values, as far as templates see them.
 *
 * Values are passed by copy; what they point to lives in the rendering's arena. Strings
 * carry, per byte, whether it came from the input; every operation on strings keeps that.
 * Errors are sticky: an operation that fails calls jinja_fail and returns undefined, and
 * the interpreter stops at the next statement or step. */
#ifndef WORKER_TEMPLATE_VALUE_H
#define WORKER_TEMPLATE_VALUE_H
#include "protocol/buf.h"
#include "worker/template/arena.h"
#include <stdbool.h>
#include <stdint.h>

struct run; /* one rendering, run.h */
struct node;

enum value_kind {
	V_UNDEFINED,
	V_NONE,
	V_BOOL,
	V_INT,
	V_FLOAT,
	V_STR,
	V_LIST,
	V_TUPLE,
	V_DICT,
	V_NAMESPACE, /* a dict whose items `set ns.x` may change */
	V_MACRO,
	V_METHOD,   /* a bound method such as s.strip */
	V_FUNCTION, /* range, namespace, raise_exception … */
};

struct str {
	const char *at; /* UTF-8, not terminated */
	size_t n_bytes;
	const uint8_t *input; /* [n_bytes] 1 = from the input; NULL = all the template's own */
};

struct value {
	enum value_kind kind;
	union {
		bool b;
		int64_t i;
		double f;
		struct str s;
		struct list *list; /* V_LIST, V_TUPLE */
		struct dict *dict; /* V_DICT, V_NAMESPACE */
		const struct macro *macro;
		const struct method *method;
		const struct function *function;
		const char *name; /* V_UNDEFINED: what was looked up, for messages; may be NULL */
	};
};

struct list {
	struct value *items;
	size_t n, cap;
};

struct item {
	struct value key, value;
};
struct dict { /* in insertion order; small, searched from the front */
	struct item *items;
	size_t n, cap;
};

struct method {
	struct value self;
	const struct method_row *row;
};

#define UNDEFINED ((struct value) { .kind = V_UNDEFINED })
#define NONE      ((struct value) { .kind = V_NONE })

struct value value_bool(bool b);
struct value value_int(int64_t i);
struct value value_float(double f);
struct value value_str(struct str s);
struct value value_text(const char *literal); /* static text, the template's own */
struct value value_undefined(const char *name);
struct value value_list(struct arena *a, size_t cap);
void list_push(struct arena *a, struct list *l, struct value v);
struct value value_dict(struct arena *a);
void dict_put(struct arena *a, struct dict *d, struct value key, struct value v);
const struct value *dict_find(const struct dict *d, struct value key); /* NULL if absent */
const struct value *dict_find_text(const struct dict *d, const char *key);

bool value_is_true(struct value v);   /* Python's truth */
bool value_is_number(struct value v); /* int, float or bool */
double value_as_float(struct value v);
bool value_equal(struct value a, struct value b);
/* <0, 0, >0; *ok = false when Python would refuse to order them. */
int value_compare(struct value a, struct value b, bool *ok);
const char *value_type_name(struct value v); /* "str", "int" …, for messages */

bool str_is(struct str s, const char *literal);
int str_compare(struct str a, struct str b);
struct str str_slice(struct str s, size_t at, size_t n_bytes);
size_t str_chars(struct str s);                  /* code points */
size_t str_offset(struct str s, size_t n_chars); /* byte offset of the n-th code point */

/* A string being put together, with its marks. */
struct strbuf {
	struct buf text, input;
	bool any_input;
};
void strbuf_add(struct strbuf *b, struct str s);
void strbuf_adds(struct strbuf *b, const char *literal);
void strbuf_addm(struct strbuf *b, const char *bytes, size_t n, bool input);
struct str strbuf_done(struct arena *a, struct strbuf *b); /* moves to the arena, releases b */

/* str(v) and repr(v) as Python prints them. */
void value_print(struct strbuf *b, struct value v);
void value_repr(struct strbuf *b, struct value v);
void float_repr(double f, char out[40]);
#endif
