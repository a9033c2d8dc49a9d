/* functions.c - global functions, and those of `loop`. */
#include "worker/template/run.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct value fn_raise(struct run *r, const struct call *c)
{
	struct str s = run_string(r, c->v[0]);
	return run_fail(
		r, "%.*s", (int)(s.n_bytes < FAULT_TEXT_MAX ? s.n_bytes : FAULT_TEXT_MAX), s.at);
}

static struct value fn_range(struct run *r, const struct call *c)
{
	int64_t from = 0, to = 0, step = 1;
	if (!c->n_pos)
		return run_fail(r, "range() takes no keyword arguments");
	for (size_t i = 0; i < c->n_pos; i++)
		if (c->pos[i].kind != V_INT)
			return run_fail(
				r, "range() needs integers, not %s", value_type_name(c->pos[i]));
	to = c->pos[c->n_pos > 1].i;
	if (c->n_pos > 1)
		from = c->pos[0].i;
	if (c->n_pos > 2)
		step = c->pos[2].i;
	if (step == 0)
		return run_fail(r, "range() arg 3 must not be zero");
	struct value out = value_list(&r->arena, 0);
	for (int64_t i = from; (step > 0 ? i < to : i > to) && run_step(r, 1);) {
		list_push(&r->arena, out.list, value_int(i));
		if (__builtin_add_overflow(i, step, &i))
			break;
	}
	return out;
}

/* namespace(a=1) and dict(a=1); a dict may come first. */
static struct value fn_dict(struct run *r, const struct call *c)
{
	struct value out = value_dict(&r->arena);
	for (size_t i = 0; i < c->n_pos; i++) {
		if (c->pos[i].kind != V_DICT)
			return run_fail(
				r, "dict() needs a mapping, not %s", value_type_name(c->pos[i]));
		for (size_t k = 0; k < c->pos[i].dict->n && run_step(r, 1); k++)
			dict_put(&r->arena, out.dict, c->pos[i].dict->items[k].key,
				c->pos[i].dict->items[k].value);
	}
	for (size_t i = 0; i < c->n_kw; i++)
		dict_put(&r->arena, out.dict, c->kw[i].key, c->kw[i].value);
	return out;
}

static struct value fn_namespace(struct run *r, const struct call *c)
{
	struct value out = fn_dict(r, c);
	if (out.kind == V_DICT)
		out.kind = V_NAMESPACE;
	return out;
}

static struct value fn_strftime_now(struct run *r, const struct call *c)
{
	char format[256], text[512];
	if (c->v[0].kind != V_STR || c->v[0].s.n_bytes >= sizeof format)
		return run_fail(r, "strftime_now() needs a short format string");
	memcpy(format, c->v[0].s.at, c->v[0].s.n_bytes);
	format[c->v[0].s.n_bytes] = '\0';
	struct tm now;
	time_t t = time(NULL);
	if (r->now)
		now = *r->now;
	else if (!localtime_r(&t, &now))
		return run_fail(r, "the local time cannot be told");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the template's author wrote it */
	size_t n = strftime(text, sizeof text, format, &now);
#pragma GCC diagnostic pop
	return value_str((struct str) { arena_copy(&r->arena, text, n), n, NULL });
}

static struct value loop_cycle(struct run *r, const struct call *c)
{
	const struct value *i = dict_find_text(c->self.dict, "index0");
	if (!c->n_pos || !i)
		return run_fail(r, "no items for cycling given");
	return c->pos[(size_t)i->i % c->n_pos];
}

/* True when the arguments differ from those of the last call in this loop. */
static struct value loop_changed(struct run *r, const struct call *c)
{
	struct value now = value_list(&r->arena, c->n_pos);
	for (size_t i = 0; i < c->n_pos; i++)
		list_push(&r->arena, now.list, c->pos[i]);
	const struct value *last = dict_find_text(c->self.dict, "changed()");
	bool same = last && value_equal(*last, now);
	dict_put(&r->arena, c->self.dict, value_text("changed()"), now);
	return value_bool(!same);
}

const struct method_row LOOP_CYCLE = { V_DICT, { "cycle", "*", 0, loop_cycle } };
const struct method_row LOOP_CHANGED = { V_DICT, { "changed", "*", 0, loop_changed } };

const struct function *builtin_function(struct str name)
{
	static const struct function rows[] = {
		{ { "raise_exception", "message", 1, fn_raise } },
		{ { "range", "start stop step", 1, fn_range } },
		{ { "namespace", "*", 0, fn_namespace } },
		{ { "dict", "*", 0, fn_dict } },
		{ { "strftime_now", "format", 1, fn_strftime_now } },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_is(name, rows[i].row.name))
			return &rows[i];
	return NULL;
}
