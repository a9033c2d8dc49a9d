/* config.c - config.json fields, each asked for once and accounted for. */
#include "worker/model/config.h"
#include "protocol/buf.h"
#include "protocol/mem.h"
#include "worker/model/mapped_file.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct field {
	char *key; /* owned */
	struct json_span value;
	char *str;             /* decoded text handed out, owned; NULL until asked for */
	struct config *object; /* opened by config_object, owned */
	bool understood;
};

struct config {
	struct config *root;
	char *text;  /* root only: the JSON, owned */
	char *where; /* root: the file; nested: dotted path of keys with a trailing dot */
	struct field *fields;
	size_t n_fields, cap_fields;
	struct fault fault; /* root only */
	char **strings;     /* root only: array elements handed out */
	size_t n_strings;
};

static struct config *config_new(struct config *root, struct json_span object, const char *where)
{
	struct config *c = xcalloc(1, sizeof *c);
	struct json_cursor at = json_iterate(object);
	struct json_span key, value;

	c->root = root ? root : c;
	c->where = xstrdup(where);
	while (json_next_member(&at, &key, &value)) {
		struct buf name = BUF_INIT;
		if (c->n_fields == c->cap_fields) {
			c->cap_fields = c->cap_fields ? 2 * c->cap_fields : 32;
			c->fields = xreallocarray(c->fields, c->cap_fields, sizeof *c->fields);
		}
		json_get_str(key, &name);
		buf_cstr(&name);
		c->fields[c->n_fields++] =
			(struct field) { .key = buf_detach(&name), .value = value };
	}
	return c;
}

int config_parse(
	const char *json, size_t n, const char *where, struct config **out, struct fault *f)
{
	struct fault why = { 0 };

	if (n > CONFIG_BYTES_MAX)
		return fault_set(f, ERR_MODEL_LOAD, "%s: larger than %zu MiB", where,
			CONFIG_BYTES_MAX >> 20);
	char *text = xstrndup(json, n);
	struct json_span all;
	if (json_scan(text, n, &why) < 0) {
		free(text);
		return fault_set(f, ERR_MODEL_LOAD, "%s: %s", where, why.text);
	}
	all = json_whole(text, n);
	if (json_kind(all) != '{') {
		free(text);
		return fault_set(f, ERR_MODEL_LOAD, "%s: not a JSON object", where);
	}
	*out = config_new(NULL, all, where);
	(*out)->text = text;
	return 0;
}

int config_open(const char *path, struct config **out, struct fault *f)
{
	struct mapped_file m;
	int rc = mapped_file_open(&m, path, f);

	if (rc < 0)
		return rc;
	rc = config_parse((const char *)m.data, m.n_bytes, path, out, f);
	mapped_file_close(&m);
	return rc;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_fields; i++) {
		free(c->fields[i].key);
		free(c->fields[i].str);
		config_free(c->fields[i].object);
	}
	for (size_t i = 0; i < c->n_strings; i++)
		free(c->strings[i]);
	free(c->strings);
	free(c->fields);
	free(c->where);
	free(c->text);
	free(c);
}

const char *config_where(const struct config *c)
{
	return c->root->where;
}

/* "file: rope_parameters.factor: sentence", keeping the first. */
static void record(struct config *c, const char *key, const char *sentence)
{
	struct fault *f = &c->root->fault;

	if (f->err)
		return;
	fault_set(f, ERR_MODEL_LOAD, "%s: %s%s: %s", c->root->where, c == c->root ? "" : c->where,
		key, sentence);
}

int config_refuse(struct config *c, const char *key, const char *fmt, ...)
{
	char sentence[FAULT_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	record(c, key, sentence);
	return ERR_MODEL_LOAD;
}

static struct field *find(const struct config *c, const char *key)
{
	for (size_t i = 0; i < c->n_fields; i++)
		if (strcmp(c->fields[i].key, key) == 0)
			return &c->fields[i];
	return NULL;
}

/* The field if it is there and not null; counted as understood either way. */
static struct field *take(struct config *c, const char *key)
{
	struct field *fd = find(c, key);

	if (!fd)
		return NULL;
	fd->understood = true;
	return json_kind(fd->value) == 'n' ? NULL : fd;
}

bool config_has(const struct config *c, const char *key)
{
	const struct field *fd = find(c, key);

	return fd && json_kind(fd->value) != 'n';
}

bool config_is_object(const struct config *c, const char *key)
{
	const struct field *fd = find(c, key);

	return fd && json_kind(fd->value) == '{';
}

bool config_is_null(struct config *c, const char *key)
{
	return find(c, key) && !take(c, key);
}

void config_ignore(struct config *c, const char *key)
{
	take(c, key);
}

struct json_span config_value(struct config *c, const char *key)
{
	const struct field *fd = take(c, key);

	return fd ? fd->value : (struct json_span) { NULL, 0 };
}

static size_t integer(struct config *c, const char *key, int64_t min, const size_t *preset)
{
	const struct field *fd = take(c, key);
	int64_t v;

	if (!fd) {
		if (!preset)
			record(c, key, "this field is missing");
		return preset ? *preset : 1;
	}
	if (!json_get_int(fd->value, &v)) {
		record(c, key, "not an integer");
	} else if (v < min || v > INT32_MAX) {
		config_refuse(c, key, "%lld is out of range", (long long)v);
	} else {
		return (size_t)v;
	}
	return preset && *preset ? *preset : 1;
}

size_t config_size(struct config *c, const char *key)
{
	return integer(c, key, 1, NULL);
}

size_t config_size_or(struct config *c, const char *key, size_t preset)
{
	return integer(c, key, 1, &preset);
}

size_t config_count_or(struct config *c, const char *key, size_t preset)
{
	return integer(c, key, 0, &preset);
}

static double number(struct config *c, const char *key, const double *preset)
{
	const struct field *fd = take(c, key);
	double v;

	if (!fd) {
		if (!preset)
			record(c, key, "this field is missing");
	} else if (!json_get_num(fd->value, &v) || !isfinite(v)) {
		record(c, key, "not a number");
	} else {
		return v;
	}
	return preset ? *preset : 1;
}

double config_num(struct config *c, const char *key)
{
	return number(c, key, NULL);
}

double config_num_or(struct config *c, const char *key, double preset)
{
	return number(c, key, &preset);
}

bool config_bool_or(struct config *c, const char *key, bool preset)
{
	const struct field *fd = take(c, key);
	bool v;

	if (!fd)
		return preset;
	if (json_get_bool(fd->value, &v))
		return v;
	record(c, key, "neither true nor false");
	return preset;
}

static const char *decode(struct config *c, const char *key, struct field *fd)
{
	struct buf text = BUF_INIT;

	if (fd->str)
		return fd->str;
	if (!json_get_str(fd->value, &text)) {
		record(c, key, "not a string");
		buf_release(&text);
		return "";
	}
	buf_cstr(&text);
	return fd->str = buf_detach(&text);
}

const char *config_str_or(struct config *c, const char *key, const char *preset)
{
	struct field *fd = take(c, key);

	return fd ? decode(c, key, fd) : preset;
}

const char *config_str(struct config *c, const char *key)
{
	struct field *fd = take(c, key);

	if (fd)
		return decode(c, key, fd);
	record(c, key, "this field is missing");
	return "";
}

struct config *config_object(struct config *c, const char *key)
{
	struct field *fd = take(c, key);

	if (!fd)
		return NULL;
	if (fd->object)
		return fd->object;
	if (json_kind(fd->value) != '{') {
		record(c, key, "not an object");
		return NULL;
	}
	char *where = xasprintf("%s%s.", c == c->root ? "" : c->where, key);
	fd->object = config_new(c->root, fd->value, where);
	free(where);
	return fd->object;
}

bool config_nums(struct config *c, const char *key, double *out, size_t n, bool longer_is_fine)
{
	const struct field *fd = take(c, key);
	struct json_span v;
	size_t i = 0;

	if (!fd)
		return false;
	if (json_kind(fd->value) != '[') {
		record(c, key, "not an array");
		return false;
	}
	for (struct json_cursor at = json_iterate(fd->value); json_next_element(&at, &v); i++) {
		if (i < n && (!json_get_num(v, &out[i]) || !isfinite(out[i]))) {
			config_refuse(c, key, "element %zu is not a number", i);
			return false;
		}
	}
	if (i < n || (i > n && !longer_is_fine)) {
		config_refuse(c, key, "has %zu elements where %zu are needed", i, n);
		return false;
	}
	return true;
}

static struct json_span element(struct field *fd, size_t want)
{
	struct json_cursor at = json_iterate(fd->value);
	struct json_span v;

	for (size_t i = 0; json_next_element(&at, &v); i++)
		if (i == want)
			return v;
	return (struct json_span) { NULL, 0 };
}

size_t config_array_count(struct config *c, const char *key)
{
	const struct field *fd = take(c, key);
	struct json_span v;
	size_t n = 0;

	if (!fd)
		return 0;
	if (json_kind(fd->value) != '[') {
		record(c, key, "not an array");
		return 0;
	}
	for (struct json_cursor at = json_iterate(fd->value); json_next_element(&at, &v);)
		n++;
	return n;
}

const char *config_array_str(struct config *c, const char *key, size_t i)
{
	struct field *fd = take(c, key);
	struct config *root = c->root;
	struct buf text = BUF_INIT;

	if (!fd || !json_get_str(element(fd, i), &text)) {
		config_refuse(c, key, "element %zu is not a string", i);
		buf_release(&text);
		return "";
	}
	buf_cstr(&text);
	root->strings = xreallocarray(root->strings, root->n_strings + 1, sizeof *root->strings);
	return root->strings[root->n_strings++] = buf_detach(&text);
}

int config_status(const struct config *c, struct fault *f)
{
	const struct fault *first = &c->root->fault;

	return first->err ? fault_set(f, first->err, "%s", first->text) : 0;
}

static bool is_off(struct json_span v)
{
	struct json_cursor at;
	struct json_span key, value;
	bool on;

	switch (json_kind(v)) {
	case 'n': return true;
	case 'f': return json_get_bool(v, &on) && !on;
	case '[': at = json_iterate(v); return !json_next_element(&at, &value);
	case '{': at = json_iterate(v); return !json_next_member(&at, &key, &value);
	}
	return false;
}

static void refuse_unknown(struct config *c)
{
	for (size_t i = 0; i < c->n_fields; i++) {
		const struct field *fd = &c->fields[i];
		if (fd->object)
			refuse_unknown(fd->object);
		else if (!fd->understood && !is_off(fd->value) && !config_is_neutral(fd->key))
			record(c, fd->key,
				"this field is not understood here and could change the result");
	}
}

int config_finish(struct config *c, struct fault *f)
{
	if (!c->root->fault.err)
		refuse_unknown(c);
	return config_status(c, f);
}
