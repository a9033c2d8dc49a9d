/* methods_page.c - the table read out as the method half of docs/protocol.md. */
#include "protocol/methods.h"
#include "protocol/methods_table.h"
#include <stdio.h>
#include <string.h>

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
	method_each_word(words, page_code, out);
}

static void page_bounds(struct buf *out, const struct param *p)
{
	if (p->choices)
		page_words(out, p->choices);
	else if (p->min == 0 && p->max == 0)
		return;
	else if (method_takes_number(p->type))
		buf_addf(out, "%s%.10g, %.10g] ", p->min_open ? "(" : "[", p->min, p->max);
	else
		buf_addf(out, "at most %.0f %s ", p->max,
			method_takes_list(p->type) ? "items"
			: p->type == PARAM_OBJECT  ? "members"
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
		char path[64];
		snprintf(path, sizeof path, "%s.", p->name);
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
	if (m->result && m->result[0])
		buf_addf(out, "\nResult:\n\n```\n%s\n```\n", m->result);
	buf_addc(out, '\n');
}

void method_write_page(struct buf *out)
{
	const struct method *m;
	for (size_t i = 0; (m = method_at(i)) != NULL; i++)
		page_method(out, m);
}
