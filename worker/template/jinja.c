/* jinja.c - a template opened and rendered: the input's JSON becomes values, marked. */
#include "worker/template/jinja.h"
#include "protocol/mem.h"
#include "worker/template/run.h"
#include <stdlib.h>
#include <string.h>

struct jinja {
	struct arena arena;
	struct node *root;
};

int jinja_open(const char *source, size_t n, struct jinja **out, struct fault *f)
{
	struct jinja *t = xcalloc(1, sizeof *t);
	struct tokens tokens;
	int err = lex(&t->arena, source, n, &tokens, f);
	if (!err) {
		struct parser p = { .arena = &t->arena, .at = tokens.items, .fault = f };
		t->root = parse_template(&p);
		err = p.failed ? ERR_INVALID_PARAMS : 0;
	}
	if (err)
		jinja_free(t);
	else
		*out = t;
	return err;
}

void jinja_free(struct jinja *t)
{
	if (!t)
		return;
	arena_release(&t->arena);
	free(t);
}

static struct value from_json(struct run *r, struct json_object *j, bool input, int depth);

static struct value str_from(struct run *r, const char *at, size_t n, bool input)
{
	uint8_t *marks = input && n ? arena_alloc(&r->arena, n) : NULL;
	if (marks)
		memset(marks, 1, n);
	return value_str((struct str) { arena_copy(&r->arena, at, n), n, marks });
}

static struct value object_from(struct run *r, struct json_object *j, bool input, int depth)
{
	struct value out = value_dict(&r->arena);
	size_t n = (size_t)json_object_object_length(j);
	out.dict->items = arena_alloc(&r->arena, n * sizeof *out.dict->items);
	out.dict->cap = n;
	json_object_object_foreach(j, key, v) out.dict->items[out.dict->n++] =
		(struct item) { str_from(r, key, strlen(key), input),
			from_json(r, v, input, depth + 1) };
	return out;
}

static struct value from_json(struct run *r, struct json_object *j, bool input, int depth)
{
	if (depth > JSON_TOKENER_DEFAULT_DEPTH * 8 || !run_step(r, 1))
		return UNDEFINED;
	switch (json_object_get_type(j)) {
	case json_type_null: return NONE;
	case json_type_boolean: return value_bool(json_object_get_boolean(j));
	case json_type_int: return value_int(json_object_get_int64(j));
	case json_type_double: return value_float(json_object_get_double(j));
	case json_type_string:
		return str_from(
			r, json_object_get_string(j), (size_t)json_object_get_string_len(j), input);
	case json_type_object: return object_from(r, j, input, depth);
	case json_type_array: break;
	}
	struct value out = value_list(&r->arena, json_object_array_length(j));
	for (size_t i = 0; i < json_object_array_length(j); i++)
		list_push(&r->arena, out.list,
			from_json(r, json_object_array_get_idx(j, i), input, depth + 1));
	return out;
}

static void define_all(struct run *r, struct scope *s, struct json_object *vars, bool input)
{
	if (!vars)
		return;
	json_object_object_foreach(vars, key, v) dict_put(&r->arena, &s->vars,
		str_from(r, key, strlen(key), false), from_json(r, v, input, 0));
}

int jinja_render(const struct jinja *t, const struct jinja_options *opt, struct buf *text,
	struct buf *input, struct fault *f)
{
	struct fault own = { 0 };
	struct strbuf out = { 0 };
	struct scope globals = { 0 }, top = { .parent = &globals };
	struct run r = { .fault = f ? f : &own, .scope = &top, .out = &out, .now = opt->now };
	define_all(&r, &globals, opt->trusted, false);
	define_all(&r, &globals, opt->context, true);
	if (!r.failed)
		run_exec(&r, t->root);
	if (!r.failed && out.text.n_bytes) {
		buf_add(text, out.text.data, out.text.n_bytes);
		buf_add(input, out.input.data, out.input.n_bytes);
	}
	buf_release(&out.text);
	buf_release(&out.input);
	arena_release(&r.arena);
	return r.failed ? ERR_INVALID_PARAMS : 0;
}
