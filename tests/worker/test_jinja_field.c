/* test_jinja_field.c - templates from the field render as transformers renders them. */
#include "protocol/buf.h"
#include "worker/template/jinja.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "../shared/golden/templates/"

static char *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	struct buf b = BUF_INIT;
	char chunk[4096];
	cr_assert_not_null(f, "%s", path);
	while ((*n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_add(&b, chunk, *n);
	fclose(f);
	*n = b.n_bytes;
	buf_cstr(&b);
	return buf_detach(&b);
}

static struct json_object *read_json(const char *path)
{
	size_t n;
	char *text = read_file(path, &n);
	struct json_object *j = json_tokener_parse(text);
	free(text);
	cr_assert_not_null(j, "%s", path);
	return j;
}

/* The variables transformers gives a template: those of the case; tools and documents are
 * None when absent. */
static struct json_object *context_of(struct json_object *kase)
{
	struct json_object *c = json_object_new_object();
	json_object_object_add(c, "tools", NULL);
	json_object_object_add(c, "documents", NULL);
	json_object_object_foreach(
		kase, key, v) if (strcmp(key, "name") != 0 && strcmp(key, "kwargs") != 0)
		json_object_object_add(c, key, json_object_get(v));
	struct json_object *kwargs;
	if (json_object_object_get_ex(kase, "kwargs", &kwargs)) {
		json_object_object_foreach(kwargs, kwarg, value)
			json_object_object_add(c, kwarg, json_object_get(value));
	}
	return c;
}

static struct json_object *special_tokens(void)
{
	return json_tokener_parse("{\"bos_token\":\"<s>\",\"eos_token\":\"</"
				  "s>\",\"pad_token\":\"<pad>\",\"unk_token\":\"<unk>\"}");
}

static void check_case(
	const char *name, const struct jinja *t, struct json_object *kase, struct json_object *want)
{
	struct tm now = {
		.tm_year = 126, .tm_mon = 10, .tm_mday = 20, .tm_wday = 5, .tm_yday = 323
	};
	struct json_object *context = context_of(kase), *trusted = special_tokens(), *text;
	struct jinja_options opt = { .context = context, .trusted = trusted, .now = &now };
	struct buf out = BUF_INIT, input = BUF_INIT;
	struct fault f = { 0 };
	const char *label = json_object_get_string(json_object_object_get(kase, "name"));
	int err = jinja_render(t, &opt, &out, &input, &f);
	if (json_object_object_get_ex(want, "text", &text)) {
		cr_expect_eq(err, 0, "%s, %s: %s", name, label, f.text);
		if (!err)
			cr_expect_str_eq(buf_cstr(&out), json_object_get_string(text), "%s, %s",
				name, label);
		cr_expect_eq(out.n_bytes, input.n_bytes);
	} else {
		cr_expect_neq(err, 0, "%s, %s: should raise", name, label);
	}
	buf_release(&out);
	buf_release(&input);
	json_object_put(context);
	json_object_put(trusted);
}

static void check_template(const char *name, struct json_object *cases)
{
	char path[512];
	size_t n;
	struct jinja *t;
	struct fault f = { 0 };
	snprintf(path, sizeof path, FOLDER "%s.jinja", name);
	char *source = read_file(path, &n);
	cr_assert_eq(jinja_open(source, n, &t, &f), 0, "%s: %s", name, f.text);
	snprintf(path, sizeof path, FOLDER "%s.out.json", name);
	struct json_object *page = read_json(path), *want = json_object_object_get(page, "cases");
	for (size_t i = 0; i < json_object_array_length(cases); i++)
		check_case(name, t, json_object_array_get_idx(cases, i),
			json_object_array_get_idx(want, i));
	json_object_put(page);
	jinja_free(t);
	free(source);
}

Test(jinja_field, templates_of_the_field_render_as_transformers_renders_them, .timeout = 60)
{
	DIR *dir = opendir(FOLDER);
	if (!dir)
		cr_skip_test("the templates of published models are not here (" FOLDER ")");
	struct json_object *cases = read_json(FOLDER "cases.json");
	size_t n_templates = 0;
	for (struct dirent *e; (e = readdir(dir));) {
		char *dot = strstr(e->d_name, ".jinja");
		if (!dot)
			continue;
		*dot = '\0';
		check_template(e->d_name, cases);
		n_templates++;
	}
	cr_assert_gt(n_templates, 0);
	json_object_put(cases);
	closedir(dir);
}
