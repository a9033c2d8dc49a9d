/* chat.c - chat templates of a model. */
#include "worker/text/chat.h"
#include "protocol/json_tree.h"
#include "protocol/mem.h"
#include "worker/template/jinja.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX      ((size_t)16 << 20)
#define TEMPLATES_MAX 32

struct named {
	char *name, *source;
};
struct chat {
	struct named templates[TEMPLATES_MAX];
	size_t n_templates;
	struct json_object *tokens; /* bos_token, eos_token … as a template sees them */
};

static struct chat *chat_new(void)
{
	struct chat *c = xcalloc(1, sizeof *c);
	c->tokens = json_object_new_object();
	return c;
}

void chat_free(struct chat *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_templates; i++) {
		free(c->templates[i].name);
		free(c->templates[i].source);
	}
	json_object_put(c->tokens);
	free(c);
}

/* A later one of the same name replaces the earlier. */
static void add_template(struct chat *c, const char *name, const char *source)
{
	for (size_t i = 0; i < c->n_templates; i++) {
		if (!strcmp(c->templates[i].name, name)) {
			free(c->templates[i].source);
			c->templates[i].source = xstrdup(source);
			return;
		}
	}
	if (c->n_templates < TEMPLATES_MAX)
		c->templates[c->n_templates++] = (struct named) { xstrdup(name), xstrdup(source) };
}

static void add_token(struct chat *c, const char *name, const char *text)
{
	if (text)
		json_object_object_add(c->tokens, name, json_object_new_string(text));
}

struct chat *chat_from_parts(const struct chat_parts *parts)
{
	struct chat *c = chat_new();
	if (parts->template_text)
		add_template(c, "default", parts->template_text);
	add_token(c, "bos_token", parts->bos);
	add_token(c, "eos_token", parts->eos);
	add_token(c, "unk_token", parts->unk);
	add_token(c, "pad_token", parts->pad);
	return c;
}

/* -- a model folder ------------------------------------------------------------------------ */

/* 1 with the file's bytes in *out, 0 if there is no such file, or ERR_TOKENIZER. */
static int read_file(const char *folder, const char *name, struct buf *out, struct fault *f)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "rbe");
	int err = file              ? 1
		  : errno == ENOENT ? 0
				    : fault_set(f, ERR_TOKENIZER, "%s: %s", path, strerror(errno));
	for (size_t n = 1; file && n > 0 && err == 1;) {
		buf_reserve(out, 65536);
		n = fread(out->data + out->n_bytes, 1, 65536, file);
		out->n_bytes += n;
		if (out->n_bytes > FILE_MAX)
			err = fault_set(
				f, ERR_TOKENIZER, "%s: larger than %zu bytes", path, FILE_MAX);
	}
	if (err == 1 && ferror(file))
		err = fault_set(f, ERR_TOKENIZER, "%s: %s", path, strerror(errno));
	if (file)
		fclose(file);
	free(path);
	return err;
}

static void read_named(struct chat *c, struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *one = json_object_array_get_idx(list, i), *name, *source;
		if (json_object_object_get_ex(one, "name", &name) &&
			json_object_object_get_ex(one, "template", &source))
			add_template(
				c, json_object_get_string(name), json_object_get_string(source));
	}
}

/* A control token is written as its text, or as an object with `content`. */
static void read_token(struct chat *c, const char *key, struct json_object *v)
{
	struct json_object *content = v;
	size_t n = strlen(key);
	if (n < 6 || strcmp(key + n - 6, "_token") != 0)
		return;
	if (json_object_is_type(v, json_type_object))
		json_object_object_get_ex(v, "content", &content);
	if (json_object_is_type(content, json_type_string))
		add_token(c, key, json_object_get_string(content));
}

static void read_config(struct chat *c, struct json_object *config)
{
	json_object_object_foreach(config, key, v)
	{
		if (strcmp(key, "chat_template") != 0)
			read_token(c, key, v);
		else if (json_object_is_type(v, json_type_string))
			add_template(c, "default", json_object_get_string(v));
		else if (json_object_is_type(v, json_type_array))
			read_named(c, v);
	}
}

static int parse_config(struct chat *c, const char *folder, struct buf *text, struct fault *f)
{
	struct fault why = { 0 };
	struct json_object *config = NULL;
	if (json_scan(text->data, text->n_bytes, &why) == 0)
		config = json_tree(json_whole(text->data, text->n_bytes));
	if (!json_object_is_type(config, json_type_object)) {
		json_object_put(config);
		return fault_set(f, ERR_TOKENIZER, "%s/tokenizer_config.json: %s", folder,
			why.err ? why.text : "not a JSON object");
	}
	read_config(c, config);
	json_object_put(config);
	return 0;
}

int chat_open_folder(const char *folder, struct chat **out, struct fault *f)
{
	struct chat *c = chat_new();
	struct buf config = BUF_INIT, jinja = BUF_INIT;
	int err = read_file(folder, "tokenizer_config.json", &config, f);
	if (err > 0)
		err = parse_config(c, folder, &config, f);
	if (err >= 0)
		err = read_file(folder, "chat_template.jinja", &jinja, f);
	if (err > 0) /* the file of its own is the newer place and wins */
		add_template(c, "default", buf_cstr(&jinja));
	buf_release(&config);
	buf_release(&jinja);
	if (err < 0)
		chat_free(c);
	else
		*out = c;
	return err < 0 ? err : 0;
}

/* -- rendering ----------------------------------------------------------------------------- */

static const char *find(const struct chat *c, const char *name)
{
	for (size_t i = 0; i < c->n_templates; i++)
		if (!strcmp(c->templates[i].name, name))
			return c->templates[i].source;
	return NULL;
}

/* Which template a request means, as transformers chooses: its own text, one of the
 * model's by name, `tool_use` when there are tools, `default`. */
static const char *choose(const struct chat *c, const struct chat_request *q)
{
	const char *source = q->template_text ? find(c, q->template_text) : NULL;
	if (source || q->template_text)
		return source ? source : q->template_text;
	if (q->tools)
		source = find(c, "tool_use");
	return source ? source : find(c, "default");
}

bool chat_has_template(const struct chat *c)
{
	return c->n_templates > 0;
}

const char *chat_source(const struct chat *c)
{
	return find(c, "default");
}

static struct json_object *variables_of(const struct chat_request *q)
{
	struct json_object *v = json_object_new_object();
	json_object_object_add(v, "documents", NULL);
	if (q->variables) {
		json_object_object_foreach(q->variables, key, value)
			json_object_object_add(v, key, json_object_get(value));
	}
	json_object_object_add(v, "messages", json_object_get(q->messages));
	json_object_object_add(v, "tools", json_object_get(q->tools));
	json_object_object_add(
		v, "add_generation_prompt", json_object_new_boolean(q->add_generation_prompt));
	return v;
}

int chat_render(const struct chat *c, const struct chat_request *q, struct buf *text,
	struct buf *input, struct fault *f)
{
	const char *source = choose(c, q);
	if (!source)
		return fault_set(f, ERR_INVALID_PARAMS,
			"The model has no chat template; pass one as chat_template, or send prompt "
			"instead of messages");
	struct jinja *t;
	int err = jinja_open(source, strlen(source), &t, f);
	if (err)
		return err;
	struct json_object *variables = variables_of(q);
	struct jinja_options opt = { .context = variables, .trusted = c->tokens, .now = q->now };
	err = jinja_render(t, &opt, text, input, f);
	json_object_put(variables);
	jinja_free(t);
	return err;
}

int chat_encode(const struct chat *c, const struct tokenizer *t, const struct chat_request *q,
	struct tok_ids *out, struct fault *f)
{
	struct buf text = BUF_INIT, input = BUF_INIT;
	int err = chat_render(c, q, &text, &input, f);
	if (!err) {
		struct tok_marked m = { text.data, text.n_bytes, (const uint8_t *)input.data };
		err = tokenizer_encode_marked(t, &m, out, f);
	}
	buf_release(&text);
	buf_release(&input);
	return err;
}
