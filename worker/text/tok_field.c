/* tok_field.c - reading tokenizer.json, with complaints that name the field. */
#include "worker/text/tok_field.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int tok_field_root(
	struct tok_field *root, const char *where, struct json_span text, struct fault *f)
{
	struct fault why = { 0 };
	*root = (struct tok_field) {
		.name = where, .value = json_whole(text.at, text.n), .fault = f
	};
	if (json_scan_vocab(text.at, text.n, &why) != 0)
		return fault_set(f, ERR_TOKENIZER, "%s: %s", where, why.text);
	return tok_field_is_object(root);
}

struct tok_field tok_field_get(const struct tok_field *object, const char *key)
{
	return (struct tok_field) { .parent = object,
		.name = key,
		.value = json_find(object->value, key),
		.fault = object->fault };
}

struct tok_field tok_field_element(
	const struct tok_field *array, size_t index, struct json_span value)
{
	return (struct tok_field) {
		.parent = array, .index = index, .value = value, .fault = array->fault
	};
}

bool tok_field_is_set(const struct tok_field *x)
{
	char kind = json_kind(x->value);
	return kind != 0 && kind != 'n';
}

#define DEPTH_MAX 32

static void add_path(struct buf *b, const struct tok_field *x)
{
	const struct tok_field *way[DEPTH_MAX];
	int n = 0;
	for (; x && n < DEPTH_MAX; x = x->parent)
		way[n++] = x;
	for (int i = n; i-- > 0;) {
		if (way[i]->name == NULL)
			buf_addf(b, "[%zu]", way[i]->index);
		else
			buf_addf(b, "%s%s",
				i == n - 1   ? ""
				: i == n - 2 ? ": "
					     : ".",
				way[i]->name);
	}
}

int tok_field_wrong(const struct tok_field *x, const char *fmt, ...)
{
	struct buf path = BUF_INIT;
	char text[FAULT_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	add_path(&path, x);
	fault_set(x->fault, ERR_TOKENIZER, "%s %s", buf_cstr(&path), text);
	buf_release(&path);
	return ERR_TOKENIZER;
}

int tok_field_is_object(const struct tok_field *x)
{
	return json_kind(x->value) == '{' ? 0 : tok_field_wrong(x, "is not an object");
}

int tok_field_is_array(const struct tok_field *x)
{
	return json_kind(x->value) == '[' ? 0 : tok_field_wrong(x, "is not an array");
}

static bool has_word(const char *words, const char *word, size_t n)
{
	for (const char *w = words; *w;) {
		size_t n_w = strcspn(w, " ");
		if (n_w == n && memcmp(w, word, n) == 0)
			return true;
		w += n_w + strspn(w + n_w, " ");
	}
	return false;
}

int tok_field_knows(const struct tok_field *x, const char *members)
{
	int err = tok_field_is_object(x);
	if (err)
		return err;
	struct buf name = BUF_INIT;
	struct json_cursor c = json_iterate(x->value);
	struct json_span key, value;
	while (err == 0 && json_next_member(&c, &key, &value)) {
		buf_clear(&name);
		json_get_str(key, &name);
		if (!has_word(members, buf_cstr(&name), name.n_bytes))
			err = tok_field_wrong(x, "has a member \"%.60s\" that is not understood",
				buf_cstr(&name));
	}
	buf_release(&name);
	return err;
}

int tok_field_str(const struct tok_field *x, struct buf *out)
{
	return json_get_str(x->value, out) ? 0 : tok_field_wrong(x, "is not a string");
}

int tok_field_bool(const struct tok_field *x, bool preset, bool *out)
{
	*out = preset;
	if (!tok_field_is_set(x) || json_get_bool(x->value, out))
		return 0;
	return tok_field_wrong(x, "is not true or false");
}

int tok_field_int(const struct tok_field *x, int64_t preset, int64_t *out)
{
	*out = preset;
	if (!tok_field_is_set(x) || json_get_int(x->value, out))
		return 0;
	return tok_field_wrong(x, "is not an integer");
}

int tok_field_choice(const struct tok_field *x, const char *words, int preset, int *out)
{
	char word[64];
	*out = preset;
	if (!tok_field_is_set(x) && preset >= 0)
		return 0;
	if (!json_copy_str(x->value, word, sizeof word))
		return tok_field_wrong(x, "is not one of: %s", words);
	int i = 0;
	for (const char *w = words; *w; i++) {
		size_t n = strcspn(w, " ");
		if (n == strlen(word) && memcmp(w, word, n) == 0) {
			*out = i;
			return 0;
		}
		w += n + strspn(w + n, " ");
	}
	return tok_field_wrong(x, "is \"%s\", which is not one of: %s", word, words);
}
