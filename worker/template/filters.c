/* filters.c - filters of one value: text, numbers, defaults. Those of sequences are in
 * filters_seq.c. */
#include "worker/template/run.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct str self_text(struct run *r, const struct call *c)
{
	return run_string(r, c->self);
}

static struct value f_trim(struct run *r, const struct call *c)
{
	return run_strip(r, self_text(r, c), &c->v[0], true, true);
}

static struct value f_upper(struct run *r, const struct call *c)
{
	return run_case(r, self_text(r, c), 'u');
}

static struct value f_lower(struct run *r, const struct call *c)
{
	return run_case(r, self_text(r, c), 'l');
}

static struct value f_title(struct run *r, const struct call *c)
{
	return run_case(r, self_text(r, c), 'T');
}

static struct value f_capitalize(struct run *r, const struct call *c)
{
	return run_case(r, self_text(r, c), 'c');
}

static struct value f_string(struct run *r, const struct call *c)
{
	return value_str(self_text(r, c));
}

static struct value f_safe(struct run *r, const struct call *c)
{
	return value_str(self_text(r, c));
}

static struct value f_escape(struct run *r, const struct call *c)
{
	static const char *const from = "&<>'\"";
	static const char *const to[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
	struct str s = self_text(r, c);
	struct strbuf out = { 0 };
	for (size_t i = 0; i < s.n_bytes; i++) {
		const char *hit = s.at[i] ? strchr(from, s.at[i]) : NULL;
		if (hit)
			strbuf_addm(&out, to[hit - from], strlen(to[hit - from]),
				s.input && s.input[i]);
		else
			strbuf_add(&out, str_slice(s, i, 1));
	}
	return value_str(strbuf_done(&r->arena, &out));
}

static struct value f_replace(struct run *r, const struct call *c)
{
	return run_replace(r, self_text(r, c), run_string(r, c->v[0]), run_string(r, c->v[1]),
		c->v[2].kind == V_INT ? c->v[2].i : -1);
}

/* Jinja's indent: every line but the first (unless `first`), blank ones only if `blank`. */
static struct value f_indent(struct run *r, const struct call *c)
{
	struct str s = self_text(r, c), pad;
	struct strbuf out = { 0 };
	int64_t width = c->v[0].kind == V_INT ? c->v[0].i : 4;
	if (width > 4096)
		return run_fail(r, "indent is too wide");
	char *spaces = arena_alloc(&r->arena, width > 0 ? (size_t)width + 1 : 1);
	memset(spaces, ' ', width > 0 ? (size_t)width : 0);
	pad = c->v[0].kind == V_STR ? c->v[0].s
				    : (struct str) { spaces, width > 0 ? (size_t)width : 0, NULL };
	bool first = value_is_true(c->v[1]), blank = value_is_true(c->v[2]);
	run_step(r, s.n_bytes / 16);
	if (first)
		strbuf_add(&out, pad);
	for (size_t at = 0; at <= s.n_bytes && !r->failed;) {
		const char *end = memchr(s.at + at, '\n', s.n_bytes - at);
		size_t n = end ? (size_t)(end - s.at) - at : s.n_bytes - at;
		if (at) {
			strbuf_adds(&out, "\n");
			if (n || blank)
				strbuf_add(&out, pad);
		}
		strbuf_add(&out, str_slice(s, at, n));
		if (out.text.n_bytes > RUN_BYTES_MAX)
			run_fail(r, "indent makes too long a string");
		at += n + 1;
	}
	return value_str(strbuf_done(&r->arena, &out));
}

static struct value f_default(struct run *r, const struct call *c)
{
	(void)r;
	bool absent =
		c->self.kind == V_UNDEFINED || (value_is_true(c->v[1]) && !value_is_true(c->self));
	return !absent ? c->self : c->given & 1 ? c->v[0] : value_text("");
}

static struct value f_length(struct run *r, const struct call *c)
{
	switch (c->self.kind) {
	case V_UNDEFINED: return value_int(0);
	case V_STR: return value_int((int64_t)str_chars(c->self.s));
	case V_LIST:
	case V_TUPLE: return value_int((int64_t)c->self.list->n);
	case V_DICT: return value_int((int64_t)c->self.dict->n);
	case V_NONE:
	case V_BOOL:
	case V_INT:
	case V_FLOAT:
	case V_NAMESPACE:
	case V_MACRO:
	case V_METHOD:
	case V_FUNCTION: break;
	}
	return run_fail(r, "object of type '%s' has no len()", value_type_name(c->self));
}

/* A number written in s, blank space around it allowed; false if it is something else. */
static bool read_number(struct str s, double *f, int64_t *i, bool *is_int, int base)
{
	char text[128], *end;
	if (s.n_bytes >= sizeof text)
		return false;
	memcpy(text, s.at, s.n_bytes);
	text[s.n_bytes] = '\0';
	const char *blank = " \t\n\r\f\v";
	*i = strtoll(text, &end, base);
	*is_int = end != text && end[strspn(end, blank)] == '\0';
	if (*is_int)
		return true;
	*f = strtod(text, &end);
	return end != text && end[strspn(end, blank)] == '\0';
}

static struct value f_int(struct run *r, const struct call *c)
{
	struct value fallback = c->given & 1 ? c->v[0] : value_int(0);
	double f = value_as_float(c->self);
	int64_t i = 0;
	bool is_int = false;
	(void)r;
	if (c->self.kind == V_INT || c->self.kind == V_BOOL)
		return value_int(c->self.kind == V_INT ? c->self.i : c->self.b);
	if (c->self.kind == V_STR &&
		!read_number(c->self.s, &f, &i, &is_int,
			c->v[1].kind == V_INT && c->v[1].i >= 2 && c->v[1].i <= 36 ? (int)c->v[1].i
										   : 10))
		return fallback;
	if (is_int)
		return value_int(i);
	return isfinite(f) && fabs(f) < 9e18 ? value_int((int64_t)f) : fallback;
}

static struct value f_float(struct run *r, const struct call *c)
{
	double f = value_as_float(c->self);
	int64_t i = 0;
	bool is_int = false;
	(void)r;
	if (value_is_number(c->self))
		return value_float(f);
	if (c->self.kind == V_STR && read_number(c->self.s, &f, &i, &is_int, 10))
		return value_float(is_int ? (double)i : f);
	return c->given & 1 ? c->v[0] : value_float(0);
}

static struct value f_abs(struct run *r, const struct call *c)
{
	if (c->self.kind == V_FLOAT)
		return value_float(fabs(c->self.f));
	if (c->self.kind != V_INT && c->self.kind != V_BOOL)
		return run_fail(r, "bad operand type for abs(): '%s'", value_type_name(c->self));
	if (c->self.kind == V_INT && c->self.i == INT64_MIN)
		return run_fail(r, "an integer is too large");
	return value_int(c->self.kind == V_BOOL ? c->self.b : llabs(c->self.i));
}

static struct value f_round(struct run *r, const struct call *c)
{
	if (!value_is_number(c->self))
		return run_fail(r, "round needs a number, not %s", value_type_name(c->self));
	double scale = pow(10, c->v[0].kind == V_INT ? (double)c->v[0].i : 0),
	       f = value_as_float(c->self) * scale;
	if (c->v[1].kind == V_STR && str_is(c->v[1].s, "ceil"))
		return value_float(ceil(f) / scale);
	if (c->v[1].kind == V_STR && str_is(c->v[1].s, "floor"))
		return value_float(floor(f) / scale);
	if (c->self.kind != V_FLOAT && scale >= 1)
		return c->self;
	return value_float(nearbyint(f) / scale); /* to even, as Python rounds */
}

/* printf-style %s %d %i %r %x %f with a width and precision, as Python's % on strings. */
static struct value format_one(struct run *r, struct strbuf *out, const char *spec, struct value v)
{
	char flags[32], text[128], kind = spec[strlen(spec) - 1];
	if (kind == 's' || kind == 'r') {
		if (strlen(spec) != 2)
			return run_fail(r, "format: only %%%c without a width is supported", kind);
		if (kind == 's')
			value_print(out, v);
		else
			value_repr(out, v);
		return NONE;
	}
	if (!value_is_number(v))
		return run_fail(
			r, "%%%c format: a number is required, not %s", kind, value_type_name(v));
	snprintf(flags, sizeof flags, "%.*s%s%c", (int)strlen(spec) - 1, spec,
		strchr("dix", kind) ? "ll" : "", kind);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* built above from checked characters */
	if (strchr("dix", kind))
		snprintf(text, sizeof text, flags,
			(long long)(v.kind == V_FLOAT ? v.f : value_as_float(v)));
	else
		snprintf(text, sizeof text, flags, value_as_float(v));
#pragma GCC diagnostic pop
	strbuf_adds(out, text);
	return NONE;
}

static struct value f_format(struct run *r, const struct call *c)
{
	struct str s = self_text(r, c);
	struct strbuf out = { 0 };
	size_t used = 0;
	for (size_t i = 0; i < s.n_bytes && !r->failed; i++) {
		char spec[16] = "%";
		size_t n = 1;
		if (s.at[i] != '%') {
			strbuf_add(&out, str_slice(s, i, 1));
			continue;
		}
		while (++i < s.n_bytes && n < sizeof spec - 2 && strchr("0123456789.-+ ", s.at[i]))
			spec[n++] = s.at[i];
		spec[n] = i < s.n_bytes ? s.at[i] : '\0';
		if (n == 1 && spec[n] == '%')
			strbuf_adds(&out, "%");
		else if (!spec[n] || !strchr("srdixfge", spec[n]) ||
			 strtol(spec + 1, NULL, 10) > 99)
			run_fail(r, "unsupported format specifier '%s'", spec);
		else if (used >= c->n_pos)
			run_fail(r, "not enough arguments for format string");
		else
			format_one(r, &out, spec, c->pos[used++]);
	}
	return value_str(strbuf_done(&r->arena, &out));
}

static struct value f_attr(struct run *r, const struct call *c)
{
	return run_attr(r, c->self, run_string(r, c->v[0]));
}

const struct builtin *builtin_filter(struct str name)
{
	static const struct builtin rows[] = {
		{ "trim", "chars", 0, f_trim },
		{ "upper", "", 0, f_upper },
		{ "lower", "", 0, f_lower },
		{ "title", "", 0, f_title },
		{ "capitalize", "", 0, f_capitalize },
		{ "string", "", 0, f_string },
		{ "safe", "", 0, f_safe },
		{ "escape", "", 0, f_escape },
		{ "e", "", 0, f_escape },
		{ "replace", "old new count", 2, f_replace },
		{ "indent", "width first blank", 0, f_indent },
		{ "default", "default_value boolean", 0, f_default },
		{ "d", "default_value boolean", 0, f_default },
		{ "length", "", 0, f_length },
		{ "count", "", 0, f_length },
		{ "int", "default base", 0, f_int },
		{ "float", "default", 0, f_float },
		{ "abs", "", 0, f_abs },
		{ "round", "precision method", 0, f_round },
		{ "format", "*", 0, f_format },
		{ "attr", "name", 1, f_attr },
		{ "tojson", "ensure_ascii indent separators sort_keys", 0, run_tojson },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_is(name, rows[i].name))
			return &rows[i];
	return NULL;
}
