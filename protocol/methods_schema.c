/* methods_schema.c - the table read out as JSON Schema: rpc.discover, and MCP's tools/list. */
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

/* A tool's schema is read by language models: each parameter by one name only, and what is
 * about notifications left out. */
enum audience { FOR_HOSTS, FOR_TOOLS };

static void schema_fields(
	struct buf *out, const struct param *rows, size_t n, enum audience audience);

static void schema_param(struct buf *out, const struct param *p, enum audience audience)
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
		schema_fields(out, p->fields, p->n_fields, audience);
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
static void schema_fields(
	struct buf *out, const struct param *rows, size_t n, enum audience audience)
{
	jout_key(out, "properties");
	buf_addc(out, '{');
	for (size_t i = 0; i < n; i++) {
		if (rows[i].refused || (audience == FOR_TOOLS && rows[i].is_for_streams))
			continue;
		jout_key(out, rows[i].name);
		schema_param(out, &rows[i], audience);
		if (audience == FOR_HOSTS)
			method_each_word(rows[i].aliases, schema_alias,
				&(struct alias) { out, rows[i].name });
	}
	buf_addc(out, '}');
	schema_required(out, rows, n);
	jout_key_bool(out, "additionalProperties", false);
}

static void write_schema(struct buf *out, const struct method *m, enum audience audience)
{
	buf_adds(out, "{\"type\":\"object\"");
	schema_fields(out, m->params, m->n_params, audience);
	buf_addc(out, '}');
}

void method_write_schema(struct buf *out, const struct method *m)
{
	write_schema(out, m, FOR_HOSTS);
}

/* -- results ---------------------------------------------------------------------------- */

static const char *result_fields(struct buf *out, const char *p);

/* `type` or `type[]`, with `?` if it may be null, after the colon; returns what follows it. */
static const char *result_type(struct buf *out, const char *p)
{
	size_t n = strcspn(p, " []{}?");
	const char *word = p;
	bool is_array = p[n] == '[';
	p += n + (is_array ? 2 : 0);
	bool is_nullable = *p == '?';
	buf_adds(out, is_nullable ? "{\"type\":[" : "{\"type\":");
	jout_str(out, is_array ? "array" : word, is_array ? 5 : n);
	buf_adds(out, is_nullable ? ",\"null\"]" : "");
	if (is_array)
		buf_addf(out, ",\"items\":{\"type\":\"%.*s\"}", (int)n, word);
	buf_addc(out, '}');
	return p + is_nullable;
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

/* -- the whole table -------------------------------------------------------------------- */

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

bool method_is_tool(const struct method *m)
{
	return !m->refused && m->result &&
	       (m->cls == METHOD_CATALOG || m->cls == METHOD_PURE || m->cls == METHOD_STREAM);
}

static void write_tool(struct buf *out, const struct method *m)
{
	jout_sep(out);
	buf_addc(out, '{');
	jout_key_cstr(out, "name", m->name);
	jout_key_cstr(out, "description", m->doc);
	jout_key(out, "inputSchema");
	write_schema(out, m, FOR_TOOLS);
	jout_key(out, "outputSchema");
	method_write_result_schema(out, m);
	jout_key(out, "annotations");
	buf_addc(out, '{');
	/* Of those that concern the models, only the list takes no parameters. */
	jout_key_bool(out, "readOnlyHint", m->cls != METHOD_CATALOG || m->n_params == 0);
	jout_key_bool(out, "destructiveHint", false);
	jout_key_bool(out, "openWorldHint", false);
	buf_adds(out, "}}");
}

void method_write_tools(struct buf *out)
{
	const struct method *m;
	buf_adds(out, "{\"tools\":[");
	for (size_t i = 0; (m = method_at(i)) != NULL; i++)
		if (method_is_tool(m))
			write_tool(out, m);
	buf_adds(out, "]}");
}
