/* methods_check.c - parameters against their row: every value honoured or refused. */
#include "protocol/limits.h"
#include "protocol/methods.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PARAMS_MAX   64
#define PATH_LONGEST 192

/* A range this wide is told whole, whichever side was passed. */
#define WIDE_RANGE 1e6

/* Above this a double no longer holds every integer. */
#define EXACT_MAX 9007199254740992.0

/* The names that the reference's hosts know from their own messages. */
static const char *type_name(struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_null: return "NoneType";
	case json_type_boolean: return "bool";
	case json_type_double: return "float";
	case json_type_int: return "int";
	case json_type_object: return "dict";
	case json_type_array: return "list";
	case json_type_string: return "str";
	}
	return "?";
}

static int at_path(struct fault *f, const char *path, int rc)
{
	fault_add_str(f, "path", path);
	return rc;
}

static int wrong_type(const char *path, const char *wanted, struct json_object *v, struct fault *f)
{
	return at_path(f, path,
		fault_set(f, ERR_INVALID_PARAMS, "%s must be %s, got %s", path, wanted,
			type_name(v)));
}

static bool is_bounded(const struct param *p)
{
	return p->min != 0 || p->max != 0;
}

/* -- numbers ---------------------------------------------------------------------------- */

static bool get_number(struct json_object *v, double *out)
{
	json_type type = json_object_get_type(v);
	if (type != json_type_int && type != json_type_double)
		return false;
	/* An integer over int64 is a uint64 inside; the double conversion knows that. */
	*out = json_object_get_double(v);
	return true;
}

static bool in_bounds(const struct param *p, double x)
{
	if (!is_bounded(p))
		return fabs(x) <= (p->type == PARAM_NUMBER ? INFINITY : EXACT_MAX);
	return (p->min_open ? x > p->min : x >= p->min) && x <= p->max;
}

/* The sentence that fits the bounds best: a half-open range and one around zero are told
 * whole, an ordinary one by the side that was passed. */
static int out_of_bounds(const struct param *p, const char *path, double x, struct fault *f)
{
	const int e = ERR_INVALID_PARAMS;
	int rc;
	if (!is_bounded(p) || p->max > WIDE_RANGE)
		rc = fault_set(f, e, "%s out of range (%.0f to %.0f)", path,
			is_bounded(p) ? p->min : -EXACT_MAX, is_bounded(p) ? p->max : EXACT_MAX);
	else if (p->min_open)
		rc = fault_set(f, e, "%s must be in (%g, %g], got %g", path, p->min, p->max, x);
	else if (p->min < 0 && p->type == PARAM_NUMBER)
		rc = fault_set(f, e, "%s must be in [%.1f, %.1f], got %g", path, p->min, p->max, x);
	else if (p->min < 0)
		rc = fault_set(
			f, e, "%s must be in [%.0f, %.0f], got %.0f", path, p->min, p->max, x);
	else if (x > p->max)
		rc = fault_set(f, e, "%s too large (%.9g, max %.9g)", path, x, p->max);
	else if (p->min == 1)
		rc = fault_set(f, e, "%s must be positive, got %.9g", path, x);
	else if (p->min == 0)
		rc = fault_set(f, e, "%s must be non-negative, got %.9g", path, x);
	else
		rc = fault_set(f, e, "%s too small (%.9g, min %.9g)", path, x, p->min);
	return at_path(f, path, rc);
}

static int check_number(
	const struct param *p, struct json_object *v, const char *path, struct fault *f)
{
	double x;
	bool is_int = p->type != PARAM_NUMBER;
	if (!get_number(v, &x) || (is_int && isfinite(x) && x != floor(x)))
		return wrong_type(path, is_int ? "an integer" : "numeric", v, f);
	if (!isfinite(x) || !in_bounds(p, x))
		return out_of_bounds(p, path, x, f);
	return 0;
}

/* -- strings ---------------------------------------------------------------------------- */

static size_t count_chars(const char *s, size_t n)
{
	size_t chars = 0;
	for (size_t i = 0; i < n; i++)
		chars += ((unsigned char)s[i] & 0xc0) != 0x80;
	return chars;
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	if (strchr(word, ' '))
		return false;
	for (const char *p = list; n && (p = strstr(p, word)) != NULL; p++)
		if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	return false;
}

static int wrong_choice(const struct param *p, const char *path, struct fault *f)
{
	char list[256];
	size_t n = 0;
	for (const char *c = p->choices; *c && n + 3 < sizeof list; c++) {
		if (*c == ' ')
			list[n++] = ',';
		list[n++] = *c;
	}
	list[n] = '\0';
	return at_path(f, path,
		fault_set(f, ERR_INVALID_PARAMS,
			strchr(p->choices, ' ') ? "%s must be one of %s" : "%s must be %s", path,
			list));
}

/* min..max characters, both 0 = any. */
static int check_chars(
	struct json_object *v, double min, double max, const char *path, struct fault *f)
{
	const char *s = json_object_get_string(v);
	size_t n_bytes = (size_t)json_object_get_string_len(v);
	size_t n = count_chars(s, n_bytes);
	int rc = 0;
	if (max == 0)
		return 0;
	if ((double)n > max)
		rc = fault_set(
			f, ERR_INVALID_PARAMS, "%s too long (%zu chars, max %.0f)", path, n, max);
	else if ((double)n < min)
		rc = fault_set(f, ERR_INVALID_PARAMS, "%s must not be empty", path);
	else if (memchr(s, '\0', n_bytes))
		rc = fault_set(f, ERR_INVALID_PARAMS, "%s must not contain a NUL character", path);
	return rc < 0 ? at_path(f, path, rc) : 0;
}

static int check_string(
	const struct param *p, struct json_object *v, const char *path, struct fault *f)
{
	if (!json_object_is_type(v, json_type_string))
		return wrong_type(path, "a string", v, f);
	const char *s = json_object_get_string(v);
	bool is_cut = strlen(s) != (size_t)json_object_get_string_len(v);
	if (p->choices && (is_cut || !has_word(p->choices, s)))
		return wrong_choice(p, path, f);
	return check_chars(v, p->min, p->max, path, f);
}

static int check_model_id(struct json_object *v, const char *path, struct fault *f)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_-./@:";
	if (!json_object_is_type(v, json_type_string))
		return wrong_type(path, "a string", v, f);
	const char *s = json_object_get_string(v);
	size_t n = (size_t)json_object_get_string_len(v);
	if (check_chars(v, 1, LIMIT_MODEL_ID, path, f) < 0)
		return ERR_INVALID_PARAMS;
	if (strspn(s, allowed) == n && !strstr(s, ".."))
		return 0;
	return at_path(f, path,
		fault_set(f, ERR_INVALID_PARAMS,
			"%s contains invalid characters or path traversal attempts", path));
}

/* -- lists and objects ------------------------------------------------------------------ */

static int check_count(const struct param *p, size_t n, const char *path, struct fault *f)
{
	int rc = 0;
	if (p->max && (double)n > p->max)
		rc = fault_set(
			f, ERR_INVALID_PARAMS, "too many %s (%zu, max %.0f)", path, n, p->max);
	else if ((double)n < p->min)
		rc = fault_set(f, ERR_INVALID_PARAMS, "%s must not be empty", path);
	return rc < 0 ? at_path(f, path, rc) : 0;
}

static int check_item(
	const struct param *p, struct json_object *v, const char *path, struct fault *f)
{
	static const struct param token = { .type = PARAM_INT, .max = LIMIT_TOKEN_ID };
	double id;
	if (p->type != PARAM_TOKENS) {
		if (!json_object_is_type(v, json_type_string))
			return wrong_type(path, "a string", v, f);
		return check_chars(v, 1, p->item_max, path, f);
	}
	if (get_number(v, &id) && !in_bounds(&token, id))
		return at_path(f, path,
			fault_set(f, ERR_INVALID_PARAMS, "%s out of range (0 to %d)", path,
				LIMIT_TOKEN_ID));
	return check_number(&token, v, path, f);
}

static void make_int(struct json_object *list, size_t i, struct json_object *v)
{
	if (json_object_is_type(v, json_type_double))
		json_object_array_put_idx(
			list, i, json_object_new_int64((int64_t)json_object_get_double(v)));
}

static int check_list(
	const struct param *p, struct json_object *v, const char *path, struct fault *f)
{
	if (!json_object_is_type(v, json_type_array))
		return wrong_type(path, "a list", v, f);
	size_t n = json_object_array_length(v);
	if (check_count(p, n, path, f) < 0)
		return ERR_INVALID_PARAMS;
	for (size_t i = 0; i < n && p->type != PARAM_OBJECTS; i++) {
		struct json_object *item = json_object_array_get_idx(v, i);
		char where[PATH_LONGEST + 24];
		/* Only a bad item needs its path; printing one for each of a million does not pay.
		 */
		if (check_item(p, item, "", NULL) < 0) {
			snprintf(where, sizeof where, "%s[%zu]", path, i);
			return check_item(p, item, where, f);
		}
		if (p->type == PARAM_TOKENS)
			make_int(v, i, item);
	}
	return 0;
}

static int check_members(const struct param *rows, size_t n, struct json_object *object,
	const char *prefix, struct fault *f);

static int check_object(
	const struct param *p, struct json_object *v, const char *path, struct fault *f)
{
	char prefix[PATH_LONGEST + 2];
	if (!json_object_is_type(v, json_type_object))
		return wrong_type(path, "an object", v, f);
	if (check_count(p, (size_t)json_object_object_length(v), path, f) < 0)
		return ERR_INVALID_PARAMS;
	if (!p->fields)
		return 0;
	snprintf(prefix, sizeof prefix, "%s.", path);
	return check_members(p->fields, p->n_fields, v, prefix, f);
}

static int check_value(
	const struct param *p, struct json_object *v, const char *path, struct fault *f)
{
	json_type type = json_object_get_type(v);
	switch (p->type) {
	case PARAM_STRING: return check_string(p, v, path, f);
	case PARAM_MODEL_ID: return check_model_id(v, path, f);
	case PARAM_INT:
	case PARAM_NUMBER: return check_number(p, v, path, f);
	case PARAM_BOOL: return type == json_type_boolean ? 0 : wrong_type(path, "a boolean", v, f);
	case PARAM_BOOL_OR_INT: return type == json_type_boolean ? 0 : check_number(p, v, path, f);
	case PARAM_OBJECT: return check_object(p, v, path, f);
	case PARAM_STRINGS:
	case PARAM_TOKENS:
	case PARAM_OBJECTS: return check_list(p, v, path, f);
	case PARAM_STRING_OR_STRINGS:
		return type == json_type_string ? check_chars(v, 1, p->item_max, path, f)
						: check_list(p, v, path, f);
	case PARAM_TOKEN_VALUE:
		return type == json_type_string || type == json_type_int
			       ? 0
			       : wrong_type(path, "a string or an integer", v, f);
	case PARAM_ANY: return 0;
	}
	return 0;
}

/* -- all parameters --------------------------------------------------------------------- */

struct given {
	const char *key; /* as the host spelt it; NULL = not given */
	struct json_object *value;
};

/* Members every method takes: MCP's object and LSP's tokens. */
static bool is_reserved(const char *key)
{
	return has_word("_meta workDoneToken partialResultToken", key);
}

static int check_token(struct json_object *v, const char *path, struct fault *f)
{
	json_type type = json_object_get_type(v);
	if (type == json_type_null || type == json_type_string || type == json_type_int)
		return 0;
	return wrong_type(path, "a string or an integer", v, f);
}

static int check_reserved(const char *key, struct json_object *v, struct fault *f)
{
	if (strcmp(key, "_meta") != 0)
		return check_token(v, key, f);
	if (v && !json_object_is_type(v, json_type_object))
		return wrong_type(key, "an object", v, f);
	return check_token(json_object_object_get(v, "progressToken"), "_meta.progressToken", f);
}

static const struct param *find_row(const struct param *rows, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].name, key) == 0 ||
			(rows[i].aliases && has_word(rows[i].aliases, key)))
			return &rows[i];
	return NULL;
}

static int unknown(const struct param *rows, size_t n, const char *path, struct fault *f)
{
	const char *names[PARAMS_MAX];
	const char *key = strrchr(path, '.');
	for (size_t i = 0; i < n; i++)
		names[i] = rows[i].name;
	fault_set(f, ERR_INVALID_PARAMS, "unknown parameter: %s", path);
	fault_add_str(f, "path", path);
	const char *near = method_nearest(key ? key + 1 : path, names, n);
	if (near)
		fault_add_str(f, "did_you_mean", near);
	return ERR_INVALID_PARAMS;
}

/* Without printf, which costs as much as the rest of the check and is needed for each parameter. */
static void write_path(char path[PATH_LONGEST], const char *prefix, const char *key)
{
	size_t n = strlen(prefix), n_key = strlen(key);
	if (n > PATH_LONGEST - 1)
		n = PATH_LONGEST - 1;
	if (n_key > PATH_LONGEST - 1 - n)
		n_key = PATH_LONGEST - 1 - n;
	memcpy(path, prefix, n);
	memcpy(path + n, key, n_key);
	path[n + n_key] = '\0';
}

static int collect(const struct param *rows, size_t n, struct json_object *object,
	const char *prefix, struct given *given, struct fault *f)
{
	char path[PATH_LONGEST];
	json_object_object_foreach(object, key, value)
	{
		const struct param *row = find_row(rows, n, key);
		if (!row && is_reserved(key)) {
			int rc = check_reserved(key, value, f);
			if (rc < 0)
				return rc;
			continue;
		}
		struct given *g = row ? &given[row - rows] : NULL;
		if (!g || g->key)
			write_path(path, prefix, key);
		if (!g)
			return unknown(rows, n, path, f);
		if (g->key)
			return at_path(f, path,
				fault_set(f, ERR_INVALID_PARAMS,
					"%s and %s are two names of one parameter", g->key, key));
		*g = (struct given) { key, value };
	}
	return 0;
}

/* A value of a parameter that is not there yet, but which asks for nothing. */
static bool means_off(const struct param *p, struct json_object *v)
{
	if (!v || (json_object_is_type(v, json_type_boolean) && !json_object_get_boolean(v)))
		return true;
	return p->choices &&
	       has_word(p->choices, json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN));
}

static int refuse(const struct param *p, const char *path, struct fault *f)
{
	return at_path(f, path, fault_set(f, ERR_INVALID_PARAMS, "%s", p->refused));
}

/* Put the value under its canonical name, integers as integers. */
static void settle(const struct param *p, struct json_object *object, struct given g)
{
	bool to_int = json_object_is_type(g.value, json_type_double) &&
		      (p->type == PARAM_INT || p->type == PARAM_BOOL_OR_INT);
	if (!to_int && strcmp(g.key, p->name) == 0)
		return;
	struct json_object *v =
		to_int ? json_object_new_int64((int64_t)json_object_get_double(g.value))
		       : json_object_get(g.value);
	json_object_object_del(object, g.key);
	json_object_object_add(object, p->name, v);
}

static int check_one(const struct param *p, struct json_object *object, struct given g,
	const char *prefix, struct fault *f)
{
	char path[PATH_LONGEST];
	if (!g.key && !p->required)
		return 0;
	write_path(path, prefix, g.key ? g.key : p->name);
	if (!g.key || (!g.value && p->required && p->type != PARAM_ANY))
		return p->required
			       ? at_path(f, path,
					 fault_set(f, ERR_INVALID_PARAMS, "%s is required", path))
			       : 0;
	if (p->refused && !means_off(p, g.value))
		return refuse(p, path, f);
	if (p->refused || (!g.value && p->nullable)) {
		json_object_object_del(object, g.key);
		return 0;
	}
	if (check_value(p, g.value, path, f) < 0)
		return ERR_INVALID_PARAMS;
	settle(p, object, g);
	return 0;
}

static int check_members(const struct param *rows, size_t n, struct json_object *object,
	const char *prefix, struct fault *f)
{
	struct given given[PARAMS_MAX] = { 0 };
	if (object && collect(rows, n, object, prefix, given, f) < 0)
		return ERR_INVALID_PARAMS;
	for (size_t i = 0; i < n; i++)
		if (check_one(&rows[i], object, given[i], prefix, f) < 0)
			return ERR_INVALID_PARAMS;
	return 0;
}

int method_check(const struct method *m, struct json_object *params, struct fault *f)
{
	if (m->refused)
		return fault_set(f, ERR_INVALID_PARAMS, "%s", m->refused);
	if (params && !json_object_is_type(params, json_type_object))
		return fault_set(f, ERR_INVALID_PARAMS, "params of %s must be an object", m->name);
	if (m->cls != METHOD_BATCH)
		return check_members(m->params, m->n_params, params, "", f);
	struct json_object *requests = NULL;
	if (json_object_object_get_ex(params, "requests", &requests) &&
		!json_object_is_type(requests, json_type_array))
		return at_path(f, "requests",
			fault_set(f, ERR_INVALID_PARAMS, "%s expects 'requests' to be a list",
				m->name));
	return check_members(m->params, m->n_params, params, "", f);
}
