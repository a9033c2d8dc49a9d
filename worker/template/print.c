/* print.c - str() and repr() of template values, as Python prints them. */
#include "protocol/utf8.h"
#include "worker/template/value.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define PRINT_DEPTH 64 /* values nest no deeper than the JSON they came from, doubled */

/* Python's float repr: the shortest digits that read back, in fixed notation when the
 * decimal exponent is in [-4, 16). */
void float_repr(double f, char out[40])
{
	if (!isfinite(f)) {
		snprintf(out, 40, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
		return;
	}
	char sci[26]; /* sign, digit, point, 16 digits, e, sign, 3 digits */
	int precision = 0;
	do
		snprintf(sci, sizeof sci, "%.*e", precision, f);
	while (strtod(sci, NULL) != f && ++precision < 17);
	int exponent = (int)strtol(strchr(sci, 'e') + 1, NULL, 10);
	if (exponent >= -4 && exponent < 16) {
		int decimals = precision - exponent;
		snprintf(out, 40, "%.*f", decimals > 0 ? decimals : 1, f);
		return;
	}
	*strchr(sci, 'e') = '\0';
	snprintf(out, 40, "%.22se%+03d", sci, exponent);
}

static void print_escape(struct strbuf *b, uint32_t cp, bool input)
{
	char esc[16];
	int n = cp < 0x100     ? snprintf(esc, sizeof esc, "\\x%02x", cp)
		: cp < 0x10000 ? snprintf(esc, sizeof esc, "\\u%04x", cp)
			       : snprintf(esc, sizeof esc, "\\U%08x", cp);
	strbuf_addm(b, esc, (size_t)n, input);
}

/* What Python's str.isprintable refuses: other and separators, except the space. */
static bool is_printable(uint32_t cp)
{
	if (cp < 0x7f)
		return cp >= 0x20;
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c < UTF8PROC_CATEGORY_ZS && c != UTF8PROC_CATEGORY_CN;
}

static void str_repr(struct strbuf *b, struct str s)
{
	bool single = memchr(s.at, '\'', s.n_bytes) != NULL;
	bool both = single && memchr(s.at, '"', s.n_bytes) != NULL;
	const char *quote = single && !both ? "\"" : "'";
	strbuf_adds(b, quote);
	for (size_t i = 0; i < s.n_bytes;) {
		uint32_t cp = 0;
		int n = utf8_decode(s.at + i, s.n_bytes - i, &cp);
		bool input = s.input && s.input[i];
		if (n < 1)
			n = 1;
		const char *esc = cp == '\n'   ? "\\n"
				  : cp == '\r' ? "\\r"
				  : cp == '\t' ? "\\t"
				  : cp == '\\' ? "\\\\"
					       : NULL;
		if (!esc && cp == (uint32_t)*quote)
			esc = "\\'";
		if (esc)
			strbuf_addm(b, esc, strlen(esc), input);
		else if (is_printable(cp))
			strbuf_addm(b, s.at + i, (size_t)n, input);
		else
			print_escape(b, cp, input);
		i += (size_t)n;
	}
	strbuf_adds(b, quote);
}

static void repr(struct strbuf *b, struct value v, int depth);

static void list_repr(struct strbuf *b, struct value v, int depth)
{
	strbuf_adds(b, v.kind == V_TUPLE ? "(" : "[");
	for (size_t i = 0; i < v.list->n; i++) {
		if (i)
			strbuf_adds(b, ", ");
		repr(b, v.list->items[i], depth + 1);
	}
	if (v.kind == V_TUPLE && v.list->n == 1)
		strbuf_adds(b, ",");
	strbuf_adds(b, v.kind == V_TUPLE ? ")" : "]");
}

static void dict_repr(struct strbuf *b, const struct dict *d, int depth)
{
	strbuf_adds(b, "{");
	for (size_t i = 0; i < d->n; i++) {
		if (i)
			strbuf_adds(b, ", ");
		repr(b, d->items[i].key, depth + 1);
		strbuf_adds(b, ": ");
		repr(b, d->items[i].value, depth + 1);
	}
	strbuf_adds(b, "}");
}

static void repr(struct strbuf *b, struct value v, int depth)
{
	if (depth > PRINT_DEPTH) {
		strbuf_adds(b, "...");
		return;
	}
	char text[40];
	switch (v.kind) {
	case V_UNDEFINED: strbuf_adds(b, "Undefined"); return;
	case V_NONE: strbuf_adds(b, "None"); return;
	case V_BOOL: strbuf_adds(b, v.b ? "True" : "False"); return;
	case V_INT:
		snprintf(text, sizeof text, "%lld", (long long)v.i);
		strbuf_adds(b, text);
		return;
	case V_FLOAT:
		float_repr(v.f, text);
		strbuf_adds(b, text);
		return;
	case V_STR: str_repr(b, v.s); return;
	case V_LIST:
	case V_TUPLE: list_repr(b, v, depth); return;
	case V_DICT: dict_repr(b, v.dict, depth); return;
	case V_NAMESPACE: strbuf_adds(b, "<Namespace>"); return;
	case V_MACRO: strbuf_adds(b, "<Macro>"); return;
	case V_METHOD:
	case V_FUNCTION: strbuf_adds(b, "<function>"); return;
	}
}

void value_repr(struct strbuf *b, struct value v)
{
	repr(b, v, 0);
}

void value_print(struct strbuf *b, struct value v)
{
	if (v.kind == V_STR)
		strbuf_add(b, v.s);
	else if (v.kind != V_UNDEFINED)
		repr(b, v, 0);
}
