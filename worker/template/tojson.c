/* tojson.c - json.dumps as transformers' templates call it. */
#include "protocol/utf8.h"
#include "worker/template/run.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define JSON_NEST_MAX 128

struct dump {
	struct run *r;
	struct strbuf out;
	bool ascii, sort_keys, pretty;
	struct str indent; /* of one level */
	struct str comma, colon;
};

static void dump_escape(struct dump *d, uint32_t cp, bool input)
{
	char text[16];
	int n;
	if (cp >= 0x10000) {
		uint32_t v = cp - 0x10000;
		n = snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + (v >> 10),
			0xdc00 + (v & 0x3ff));
	} else {
		n = snprintf(text, sizeof text, "\\u%04x", cp);
	}
	strbuf_addm(&d->out, text, (size_t)n, input);
}

static void dump_str(struct dump *d, struct str s)
{
	static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
	strbuf_adds(&d->out, "\"");
	for (size_t i = 0; i < s.n_bytes;) {
		uint32_t cp = 0;
		int n = utf8_decode(s.at + i, s.n_bytes - i, &cp);
		bool input = s.input && s.input[i];
		const char *hit = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
		if (n < 1)
			n = 1;
		if (hit) {
			char esc[2] = { '\\', to[hit - from] };
			strbuf_addm(&d->out, esc, 2, input);
		} else if (cp < 0x20 || (d->ascii && cp >= 0x7f && cp != 0x7f)) {
			dump_escape(d, cp, input);
		} else {
			strbuf_addm(&d->out, s.at + i, (size_t)n, input);
		}
		i += (size_t)n;
	}
	strbuf_adds(&d->out, "\"");
}

static void new_line(struct dump *d, int depth)
{
	if (!d->pretty)
		return;
	strbuf_adds(&d->out, "\n");
	for (int i = 0; i < depth; i++)
		strbuf_add(&d->out, d->indent);
}

static void dump_value(struct dump *d, struct value v, int depth);

static void dump_number(struct dump *d, struct value v)
{
	char text[40];
	if (v.kind == V_INT)
		snprintf(text, sizeof text, "%lld", (long long)v.i);
	else if (isfinite(v.f))
		float_repr(v.f, text);
	else
		snprintf(text, sizeof text, "%s",
			isnan(v.f) ? "NaN"
			: v.f < 0  ? "-Infinity"
				   : "Infinity");
	strbuf_adds(&d->out, text);
}

static void dump_list(struct dump *d, const struct list *l, int depth)
{
	strbuf_adds(&d->out, "[");
	for (size_t i = 0; i < l->n && run_step(d->r, 1); i++) {
		if (i)
			strbuf_add(&d->out, d->comma);
		new_line(d, depth + 1);
		dump_value(d, l->items[i], depth + 1);
	}
	if (l->n)
		new_line(d, depth);
	strbuf_adds(&d->out, "]");
}

static void dump_key(struct dump *d, struct value key)
{
	if (key.kind == V_STR) {
		dump_str(d, key.s);
	} else {
		strbuf_adds(&d->out, "\"");
		dump_value(d, key, JSON_NEST_MAX - 1);
		strbuf_adds(&d->out, "\"");
	}
}

static void dump_dict(struct dump *d, struct value v, int depth)
{
	struct call none = { .self = v, .v = { value_bool(true) }, .given = 1 };
	struct list *items = NULL;
	if (d->sort_keys)
		items = builtin_sequence(value_text("dictsort").s)->fn(d->r, &none).list;
	strbuf_adds(&d->out, "{");
	for (size_t i = 0; !d->r->failed && i < v.dict->n && run_step(d->r, 1); i++) {
		struct item it = items ? (struct item) { items->items[i].list->items[0],
			items->items[i].list->items[1] }
				       : v.dict->items[i];
		if (i)
			strbuf_add(&d->out, d->comma);
		new_line(d, depth + 1);
		dump_key(d, it.key);
		strbuf_add(&d->out, d->colon);
		dump_value(d, it.value, depth + 1);
	}
	if (v.dict->n)
		new_line(d, depth);
	strbuf_adds(&d->out, "}");
}

static void dump_value(struct dump *d, struct value v, int depth)
{
	if (depth > JSON_NEST_MAX) {
		run_fail(d->r, "tojson: nested too deeply");
		return;
	}
	switch (v.kind) {
	case V_NONE: strbuf_adds(&d->out, "null"); return;
	case V_BOOL: strbuf_adds(&d->out, v.b ? "true" : "false"); return;
	case V_INT:
	case V_FLOAT: dump_number(d, v); return;
	case V_STR: dump_str(d, v.s); return;
	case V_LIST:
	case V_TUPLE: dump_list(d, v.list, depth); return;
	case V_DICT: dump_dict(d, v, depth); return;
	case V_UNDEFINED:
	case V_NAMESPACE:
	case V_MACRO:
	case V_METHOD:
	case V_FUNCTION: break;
	}
	run_fail(d->r, "Object of type %s is not JSON serializable", value_type_name(v));
}

static void set_indent(struct dump *d, struct value indent)
{
	if (indent.kind == V_UNDEFINED || indent.kind == V_NONE)
		return;
	d->pretty = true;
	d->comma = value_text(",").s;
	if (indent.kind == V_STR) {
		d->indent = indent.s;
		return;
	}
	size_t n = indent.kind == V_INT && indent.i > 0 ? (size_t)indent.i : 0;
	if (n > 64) {
		run_fail(d->r, "tojson: an indent of %zu is too wide", n);
		return;
	}
	char *spaces = arena_alloc(&d->r->arena, n + 1);
	memset(spaces, ' ', n);
	d->indent = (struct str) { spaces, n, NULL };
}

struct value run_tojson(struct run *r, const struct call *c)
{
	struct dump d = { .r = r, .comma = value_text(", ").s, .colon = value_text(": ").s };
	d.ascii = value_is_true(c->v[0]);
	d.sort_keys = value_is_true(c->v[3]);
	set_indent(&d, c->v[1]);
	struct value sep = c->v[2];
	if (sep.kind == V_LIST || sep.kind == V_TUPLE) {
		if (sep.list->n != 2 || sep.list->items[0].kind != V_STR ||
			sep.list->items[1].kind != V_STR)
			return run_fail(r, "tojson: separators are two strings");
		d.comma = sep.list->items[0].s;
		d.colon = sep.list->items[1].s;
	}
	dump_value(&d, c->self, 0);
	run_step(r, d.out.text.n_bytes / 64);
	return value_str(strbuf_done(&r->arena, &d.out));
}
