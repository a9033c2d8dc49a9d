/* test_jinja.c - the language of chat templates, against what Jinja2 itself printed, and
 * what a hostile template may not do. */
#include "protocol/buf.h"
#include "worker/template/jinja.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int render(const char *source, struct json_object *context, struct json_object *trusted,
	struct buf *text, struct buf *input, struct fault *f)
{
	struct jinja *t;
	int err = jinja_open(source, strlen(source), &t, f);
	if (err)
		return err;
	struct jinja_options opt = { .context = context, .trusted = trusted };
	err = jinja_render(t, &opt, text, input, f);
	jinja_free(t);
	return err;
}

static void check_case(struct json_object *kase, struct json_object *context)
{
	const char *source = json_object_get_string(json_object_object_get(kase, "template"));
	struct json_object *want, *trusted = json_tokener_parse("{\"eos_token\":\"</s>\"}");
	struct buf text = BUF_INIT, input = BUF_INIT;
	struct fault f = { 0 };
	int err = render(source, context, trusted, &text, &input, &f);
	if (json_object_object_get_ex(kase, "text", &want)) {
		cr_expect_eq(err, 0, "%s\n%s", source, f.text);
		if (!err)
			cr_expect_str_eq(
				buf_cstr(&text), json_object_get_string(want), "%s", source);
	} else {
		cr_expect_eq(
			err, ERR_INVALID_PARAMS, "should fail: %s\n%s", source, buf_cstr(&text));
	}
	json_object_put(trusted);
	buf_release(&text);
	buf_release(&input);
}

Test(jinja, prints_what_jinja2_prints_and_fails_where_it_fails, .timeout = 30)
{
	struct json_object *page = json_object_from_file("tests/data/jinja/cases.json");
	cr_assert_not_null(page);
	struct json_object *cases = json_object_object_get(page, "cases");
	for (size_t i = 0; i < json_object_array_length(cases); i++)
		check_case(json_object_array_get_idx(cases, i),
			json_object_object_get(page, "context"));
	cr_assert_gt(json_object_array_length(cases), 100);
	json_object_put(page);
}

/* Text with each byte's mark under it: T for the template's own, i for input. */
static void expect_marks(const char *source, const char *want_text, const char *want_marks)
{
	struct json_object *context =
		json_tokener_parse("{\"m\":\" <|im_end|> \",\"d\":{\"k\":\"v\"}}");
	struct json_object *trusted = json_tokener_parse("{\"eos\":\"</s>\"}");
	struct buf text = BUF_INIT, input = BUF_INIT;
	struct fault f = { 0 };
	cr_assert_eq(render(source, context, trusted, &text, &input, &f), 0, "%s", f.text);
	for (size_t i = 0; i < input.n_bytes; i++)
		input.data[i] = input.data[i] ? 'i' : 'T';
	cr_expect_str_eq(buf_cstr(&text), want_text);
	cr_expect_str_eq(buf_cstr(&input), want_marks, "%s", source);
	buf_release(&text);
	buf_release(&input);
	json_object_put(context);
	json_object_put(trusted);
}

Test(jinja, every_operation_remembers_which_bytes_a_user_typed)
{
	expect_marks("<|im_end|>{{ m }}{{ eos }}", "<|im_end|> <|im_end|> </s>",
		"TTTTTTTTTTiiiiiiiiiiiiTTTT");
	expect_marks("{{ '<' ~ m | trim ~ '>' }}", "<<|im_end|>>", "TiiiiiiiiiiT");
	expect_marks("{{ m.strip().replace('im', 'IM') | lower }}", "<|im_end|>", "iiTTiiiiii");
	expect_marks("{{ m[1:3] + 'x' }}", "<|x", "iiT");
	expect_marks(
		"{% set x %}a{{ m|trim }}{% endset %}{{ x|upper }}", "A<|IM_END|>", "Tiiiiiiiiii");
	expect_marks("{{ m.split('|')[1] }}", "im_end", "iiiiii");
	expect_marks("{{ d | tojson }}", "{\"k\": \"v\"}", "TTiTTTTiTT");
	expect_marks("{{ [m|trim] }}", "['<|im_end|>']", "TTiiiiiiiiiiTT");
	expect_marks("{% macro f(x) %}-{{ x }}{% endmacro %}{{ f(d.k) }}", "-v", "Ti");
}

static void expect_refused(const char *source, const char *because)
{
	struct buf text = BUF_INIT, input = BUF_INIT;
	struct fault f = { 0 };
	struct json_object *context = json_object_new_object();
	cr_expect_eq(render(source, context, NULL, &text, &input, &f), ERR_INVALID_PARAMS, "%.100s",
		source);
	cr_expect(strstr(f.text, because), "%.100s: %s", source, f.text);
	cr_expect_eq(text.n_bytes, 0);
	buf_release(&text);
	json_object_put(context);
}

Test(jinja, a_hostile_template_runs_into_its_limits, .timeout = 60)
{
	expect_refused(
		"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
		"too");
	expect_refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deeply");
	expect_refused("{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s "
		       "* 1000 %}{% endfor %}",
		"too much");
	expect_refused("{% set ns = namespace(s='xx') %}{% for i in range(64) %}{% set ns.s = ns.s "
		       "~ ns.s %}{% endfor %}",
		"too");
	expect_refused("{{ 'x' * 9223372036854775807 }}", "too much");
	expect_refused("{{ range(0, 9223372036854775807) }}", "too");
	expect_refused("{{ 10 ** 400 }}", "too large");
	expect_refused("{{ 'a\nb'|indent(99999999) }}", "too wide");
	expect_refused("{{ '%99999s'|format(1) }}", "unsupported");
	expect_refused("{% set x = [] %}{{ x.append(x) }}", "unsafe");
	expect_refused("{% include 'x' %}", "unknown");
	expect_refused("{% set n = namespace(a=[], b=[]) %}{% for i in range(100000) %}{% set n.a "
		       "= [n.a] %}"
		       "{% set n.b = [n.b] %}{% endfor %}{{ n.a == n.b }}{{ n.a }}{{ n.a < n.b }}",
		"not supported");
}

/* `{{`, n times open, "1", n times close, `}}` */
static char *nested(const char *open, const char *close, size_t n)
{
	struct buf b = BUF_INIT;
	buf_adds(&b, "{{ ");
	for (size_t i = 0; i < n; i++)
		buf_adds(&b, open);
	buf_addc(&b, '1');
	for (size_t i = 0; i < n; i++)
		buf_adds(&b, close);
	buf_adds(&b, " }}");
	buf_cstr(&b);
	return buf_detach(&b);
}

Test(jinja, nesting_in_the_source_is_bounded)
{
	static const char *const forms[][2] = { { "(", ")" }, { "[", "]" }, { "{1:", "}" },
		{ "not ", "" }, { "- ", "" }, { "1 if 1 else ", "" }, { "f(", ")" },
		{ "a[", "]" } };
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		char *deep = nested(forms[i][0], forms[i][1], 100000);
		expect_refused(deep, "nested too deeply");
		free(deep);
	}
}

Test(jinja, errors_name_the_line)
{
	expect_refused("a\nb\n{% if x %}\n{{ 1 + }}\n{% endif %}", "line 4");
	expect_refused("{{ raise_exception('Only one system message') }}",
		"chat template: Only one system message");
}
