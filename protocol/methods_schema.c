/* methods_schema.c - the table read out as JSON Schema: rpc.discover. */
#include "protocol/methods.h"
#include "protocol/methods_table.h"
#include <stdio.h>
#include <string.h>

bool method_takes_list(enum param_type t)
{
	return t == PARAM_STRINGS || t == PARAM_TOKENS || t == PARAM_OBJECTS ||
	       t == PARAM_STRING_OR_STRINGS;
}

bool method_takes_number(enum param_type t)
{
	return t == PARAM_INT || t == PARAM_NUMBER || t == PARAM_BOOL_OR_INT;
}

void method_each_word(const char *words, method_word_fn *fn, void *arg)
{
	for (const char *p = words; p && *p;) {
		size_t n = strcspn(p, " ");
		if (n)
			fn(arg, p, n);
		p += n + (p[n] == ' ');
	}
}

/* The `type` (and `items`) of a parameter, as members. */
static const char *schema_type(enum param_type t)
{
	switch (t) {
	case PARAM_STRING: return "\"type\":\"string\"";
	case PARAM_INT: return "\"type\":\"integer\"";
	case PARAM_NUMBER: return "\"type\":\"number\"";
	case PARAM_BOOL: return "\"type\":\"boolean\"";
	case PARAM_OBJECT: return "\"type\":\"object\"";
	case PARAM_STRINGS: return "\"type\":\"array\",\"items\":{\"type\":\"string\"}";
	case PARAM_TOKENS:
		return "\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0}";
	case PARAM_OBJECTS: return "\"type\":\"array\",\"items\":{\"type\":\"object\"}";
	case PARAM_STRING_OR_STRINGS:
		return "\"type\":[\"string\",\"array\"],\"items\":{\"type\":\"string\"}";
	case PARAM_BOOL_OR_INT: return "\"type\":[\"boolean\",\"integer\"]";
	case PARAM_MODEL_ID:
		return "\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9_\\\\-./@:]{1,512}$\"";
	case PARAM_TOKEN_VALUE: return "\"type\":[\"string\",\"integer\"]";
	case PARAM_ANY: return "";
	}
	return "";
}

static void schema_bounds(struct buf *out, const struct param *p)
{
	if (p->min == 0 && p->max == 0)
		return;
	if (method_takes_number(p->type)) {
		jout_key_num(out, p->min_open ? "exclusiveMinimum" : "minimum", p->min);
		jout_key_num(out, "maximum", p->max);
		return;
	}
	const char *noun = method_takes_list(p->type) ? "Items"
			   : p->type == PARAM_OBJECT  ? "Properties"
						      : "Length";
	char key[24];
	if (p->min) {
		snprintf(key, sizeof key, "min%s", noun);
		jout_key_num(out, key, p->min);
	}
	snprintf(key, sizeof key, "max%s", noun);
	jout_key_num(out, key, p->max);
}

static void schema_choice(void *arg, const char *word, size_t n)
{
	jout_sep(arg);
	jout_str(arg, word, n);
}

static void schema_fields(struct buf *out, const struct param *rows, size_t n);

static void schema_param(struct buf *out, const struct param *p)
{
	buf_addc(out, '{');
	buf_adds(out, schema_type(p->type));
	schema_bounds(out, p);
	if (p->choices) {
		jout_key(out, "enum");
		buf_addc(out, '[');
		method_each_word(p->choices, schema_choice, out);
		buf_addc(out, ']');
	}
	if (p->preset)
		jout_key_raw(out, "default", p->preset, strlen(p->preset));
	if (p->fields)
		schema_fields(out, p->fields, p->n_fields);
	jout_key_cstr(out, "description", p->doc);
	buf_addc(out, '}');
}

struct alias {
	struct buf *out;
	const char *of;
};

static void schema_alias(void *arg, const char *word, size_t n)
{
	const struct alias *a = arg;
	jout_sep(a->out);
	jout_str(a->out, word, n);
	buf_addf(a->out, ":{\"$ref\":\"#/properties/%s\"}", a->of);
}

static void schema_required(struct buf *out, const struct param *rows, size_t n)
{
	jout_key(out, "required");
	buf_addc(out, '[');
	for (size_t i = 0; i < n; i++) {
		if (!rows[i].required)
			continue;
		jout_sep(out);
		jout_cstr(out, rows[i].name);
	}
	buf_addc(out, ']');
}

/* `properties`, `required` and `additionalProperties`, as members. */
static void schema_fields(struct buf *out, const struct param *rows, size_t n)
{
	jout_key(out, "properties");
	buf_addc(out, '{');
	for (size_t i = 0; i < n; i++) {
		if (rows[i].refused)
			continue;
		jout_key(out, rows[i].name);
		schema_param(out, &rows[i]);
		method_each_word(
			rows[i].aliases, schema_alias, &(struct alias) { out, rows[i].name });
	}
	buf_addc(out, '}');
	schema_required(out, rows, n);
	jout_key_bool(out, "additionalProperties", false);
}

void method_write_schema(struct buf *out, const struct method *m)
{
	buf_adds(out, "{\"type\":\"object\"");
	schema_fields(out, m->params, m->n_params);
	buf_addc(out, '}');
}

/* -- results ---------------------------------------------------------------------------- */

static const char *result_fields(struct buf *out, const char *p);

/* `type`, `type[]` or `type?` after the colon; returns what follows it. */
static const char *result_type(struct buf *out, const char *p)
{
	size_t n = strcspn(p, " []{}?");
	bool is_array = p[n] == '[', is_nullable = p[n] == '?';
	if (is_array)
		buf_addf(out, "{\"type\":\"array\",\"items\":{\"type\":\"%.*s\"}}", (int)n, p);
	else
		buf_addf(out,
			is_nullable ? "{\"type\":[\"%.*s\",\"null\"]}" : "{\"type\":\"%.*s\"}",
			(int)n, p);
	return p + n + (is_array ? 2 : is_nullable);
}

/* One member; returns what follows it. */
static const char *result_member(struct buf *out, const char *p)
{
	size_t n = strcspn(p, ":[{");
	jout_sep(out);
	jout_str(out, p, n);
	buf_addc(out, ':');
	p += n;
	if (*p == ':')
		return result_type(out, p + 1);
	bool is_list = *p == '[';
	if (is_list)
		buf_adds(out, "{\"type\":\"array\",\"items\":");
	p = result_fields(out, p + 1);
	if (is_list)
		buf_addc(out, '}');
	return p + 1;
}

/* Members up to the closing bracket or the end, as an object schema; returns where that is.
 * The nesting is that of our own table. */
static const char *result_fields(struct buf *out, const char *p)
{
	buf_adds(out, "{\"type\":\"object\",\"properties\":{");
	while (*p && *p != ']' && *p != '}')
		p = *p == ' ' ? p + 1 : result_member(out, p);
	buf_adds(out, "}}");
	return p;
}

void method_write_result_schema(struct buf *out, const struct method *m)
{
	result_fields(out, m->result);
}

static void discover_method(struct buf *out, const struct method *m)
{
	jout_sep(out);
	buf_addc(out, '{');
	jout_key_cstr(out, "name", m->name);
	jout_key_cstr(out, "summary", m->doc);
	jout_key_bool(out, "notification", m->result == NULL);
	if (m->refused)
		jout_key_cstr(out, "unavailable", m->refused);
	jout_key(out, "params");
	method_write_schema(out, m);
	if (m->result) {
		jout_key(out, "result");
		method_write_result_schema(out, m);
	}
	jout_key_raw(out, "example", m->example, strlen(m->example));
	buf_addc(out, '}');
}

void method_write_discover(struct buf *out)
{
	const struct method *m;
	buf_adds(out, "{\"methods\":[");
	for (size_t i = 0; (m = method_at(i)) != NULL; i++)
		discover_method(out, m);
	buf_adds(out, "]}");
}
