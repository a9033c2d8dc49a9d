/* methods_page.c - the table read out: JSON Schema, rpc.discover and docs/protocol.md. */
#include "protocol/methods.h"
#include <string.h>

static bool is_list(enum param_type t)
{
	return t == PARAM_STRINGS || t == PARAM_TOKENS || t == PARAM_OBJECTS ||
	       t == PARAM_STRING_OR_STRINGS;
}

static bool is_number(enum param_type t)
{
	return t == PARAM_INT || t == PARAM_NUMBER || t == PARAM_BOOL_OR_INT;
}

/* Calls fn for each space-separated word. */
static void each_word(
	const char *words, void (*fn)(void *arg, const char *word, size_t n), void *arg)
{
	for (const char *p = words; p && *p;) {
		size_t n = strcspn(p, " ");
		if (n)
			fn(arg, p, n);
		p += n + (p[n] == ' ');
	}
}

/* -- JSON Schema ------------------------------------------------------------------------ */

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
	if (is_number(p->type)) {
		jout_key_num(out, p->min_open ? "exclusiveMinimum" : "minimum", p->min);
		jout_key_num(out, "maximum", p->max);
		return;
	}
	const char *noun = is_list(p->type)          ? "Items"
			   : p->type == PARAM_OBJECT ? "Properties"
						     : "Length";
	char key[24] = "min";
	strncat(key, noun, sizeof key - 4);
	if (p->min)
		jout_key_num(out, key, p->min);
	memcpy(key, "max", 3);
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
		each_word(p->choices, schema_choice, out);
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
		each_word(rows[i].aliases, schema_alias, &(struct alias) { out, rows[i].name });
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
	if (m->result)
		jout_key_raw(out, "result", m->result, strlen(m->result));
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

/* -- Markdown --------------------------------------------------------------------------- */

static const char *page_type(enum param_type t)
{
	switch (t) {
	case PARAM_STRING: return "string";
	case PARAM_INT: return "integer";
	case PARAM_NUMBER: return "number";
	case PARAM_BOOL: return "boolean";
	case PARAM_OBJECT: return "object";
	case PARAM_STRINGS: return "string[]";
	case PARAM_TOKENS: return "token id[]";
	case PARAM_OBJECTS: return "object[]";
	case PARAM_STRING_OR_STRINGS: return "string or string[]";
	case PARAM_BOOL_OR_INT: return "boolean or integer";
	case PARAM_MODEL_ID: return "model id";
	case PARAM_TOKEN_VALUE: return "string or integer";
	case PARAM_ANY: return "any";
	}
	return "";
}

static void page_code(void *arg, const char *word, size_t n)
{
	buf_addf(arg, "`%.*s` ", (int)n, word);
}

static void page_words(struct buf *out, const char *words)
{
	each_word(words, page_code, out);
}

static void page_bounds(struct buf *out, const struct param *p)
{
	if (p->choices)
		page_words(out, p->choices);
	else if (p->min == 0 && p->max == 0)
		return;
	else if (is_number(p->type))
		buf_addf(out, "%s%.10g, %.10g] ", p->min_open ? "(" : "[", p->min, p->max);
	else
		buf_addf(out, "at most %.0f %s ", p->max,
			is_list(p->type)          ? "items"
			: p->type == PARAM_OBJECT ? "members"
						  : "characters");
	if (p->item_max)
		buf_addf(out, "of at most %.0f characters ", p->item_max);
}

static void page_param(struct buf *out, const struct param *p, const char *prefix)
{
	buf_addf(out, "| `%s%s` ", prefix, p->name);
	page_words(out, p->aliases);
	buf_addf(out, "| %s | ", page_type(p->type));
	if (p->required)
		buf_adds(out, "required ");
	else if (p->preset)
		buf_addf(out, "`%s` ", p->preset);
	buf_adds(out, "| ");
	page_bounds(out, p);
	buf_addf(out, "| %s |\n", p->doc);
	for (size_t i = 0; i < p->n_fields; i++) {
		char path[64] = "";
		strncat(path, p->name, sizeof path - 2);
		strncat(path, ".", 2);
		page_param(out, &p->fields[i], path);
	}
}

static void page_params(struct buf *out, const struct method *m)
{
	bool any = false;
	for (size_t i = 0; i < m->n_params; i++) {
		const struct param *p = &m->params[i];
		if (p->refused)
			continue;
		if (!any)
			buf_adds(out, "\n| param | type | default | bounds | meaning |\n"
				      "|---|---|---|---|---|\n");
		page_param(out, p, "");
		any = true;
	}
}

static void page_refused(struct buf *out, const struct method *m)
{
	const char *before = "\nRefused with -32602 until it exists:\n\n";
	for (size_t i = 0; i < m->n_params; i++) {
		const struct param *p = &m->params[i];
		if (!p->refused)
			continue;
		buf_addf(out, "%s- `%s` ", before, p->name);
		page_words(out, p->aliases);
		buf_addf(out, "- %s", p->refused);
		if (p->choices) {
			buf_adds(out, "; accepted: `null` `false` ");
			page_words(out, p->choices);
			out->n_bytes--;
		}
		buf_addc(out, '\n');
		before = "";
	}
}

static void page_method(struct buf *out, const struct method *m)
{
	buf_addf(out, "### `%s`%s\n\n%s\n", m->name, m->result ? "" : " (notification)", m->doc);
	if (m->refused)
		buf_addf(out, "\nRefused with -32602 until it exists: %s.\n", m->refused);
	page_params(out, m);
	page_refused(out, m);
	if (m->positional) {
		buf_adds(out, "\nAs an array: ");
		page_words(out, m->positional);
		out->n_bytes--;
		buf_adds(out, ".\n");
	}
	buf_addf(out, "\nExample params:\n\n```json\n%s\n```\n", m->example);
	if (m->result)
		buf_addf(out, "\nResult:\n\n```json\n%s\n```\n", m->result);
	buf_addc(out, '\n');
}

void method_write_page(struct buf *out)
{
	const struct method *m;
	for (size_t i = 0; (m = method_at(i)) != NULL; i++)
		page_method(out, m);
}
