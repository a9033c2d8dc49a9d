/* fuzz_json.c - what json_scan() accepts, everything behind it can walk: json-c reads it
 * and agrees, the cursors stay inside it, the envelope and the method table take it. */
#include "protocol/json_tree.h"
#include "protocol/jsonrpc.h"
#include "protocol/methods.h"
#include "protocol/utf8.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool so)
{
	if (!so)
		abort();
}

static struct json_object *parse(struct json_span v)
{
	struct json_object *o = json_tree(v);
	must(o || json_kind(v) == 'n');
	return o;
}

/* The scalar behind v, read by us and by json-c. */
static void compare_scalar(struct json_span v, struct json_object *o)
{
	struct buf text = BUF_INIT;
	int64_t i = 0;
	double d = 0;
	bool b = false;
	switch (json_object_get_type(o)) {
	case json_type_string:
		must(json_get_str(v, &text) && utf8_is_valid(text.data, text.n_bytes));
		must(text.n_bytes == (size_t)json_object_get_string_len(o));
		must(memcmp(buf_cstr(&text), json_object_get_string(o), text.n_bytes) == 0);
		break;
	case json_type_int:
		if (json_get_int(v, &i))
			must(i == json_object_get_int64(o));
		break;
	case json_type_double:
		if (json_get_num(v, &d))
			must(d == json_object_get_double(o));
		break;
	case json_type_boolean:
		must(json_get_bool(v, &b) && b == json_object_get_boolean(o));
		break;
	case json_type_null: must(json_kind(v) == 'n'); break;
	case json_type_object:
	case json_type_array: must(false);
	}
	buf_release(&text);
}

/* Objects stepped into instead of skipped: the same elements, each with the same members. */
static void step_into(struct json_span array, struct json_object *o)
{
	struct json_cursor c = json_iterate(array), inside;
	struct json_span key, value;
	for (size_t i = 0, n = json_object_array_length(o); i < n; i++) {
		struct json_object *element = json_object_array_get_idx(o, i);
		int n_members = 0;
		if (!json_object_is_type(element, json_type_object)) {
			must(!json_enter(&c, &inside) && json_next_element(&c, &value));
			continue;
		}
		must(json_enter(&c, &inside));
		for (; json_next_member(&inside, &key, &value); n_members++)
			must(key.at[0] == '"');
		must(n_members == json_object_object_length(element));
		json_leave(&c, &inside);
	}
	must(!json_enter(&c, &inside) && !json_next_element(&c, &value));
}

static void compare(struct json_span v, struct json_object *o)
{
	struct json_cursor c = json_iterate(v);
	struct json_span key, value;
	size_t n = 0;
	if (json_kind(v) == '[') {
		for (; json_next_element(&c, &value); n++)
			compare(value, json_object_array_get_idx(o, n));
		must(n == json_object_array_length(o));
		step_into(v, o);
	} else if (json_kind(v) == '{') {
		struct buf name = BUF_INIT;
		for (; json_next_member(&c, &key, &value); n++) {
			struct json_object *member;
			buf_clear(&name);
			must(json_get_str(key, &name));
			must(json_object_object_get_ex(o, buf_cstr(&name), &member));
			compare(value, member);
		}
		must(n == (size_t)json_object_object_length(o));
		buf_release(&name);
	} else {
		compare_scalar(v, o);
	}
}

/* What a host would get back: valid JSON, whatever was sent. */
static void answer(struct json_span v)
{
	struct rpc_msg m;
	struct fault f = { 0 };
	struct buf out = BUF_INIT, named = BUF_INIT;
	rpc_parse(v, &m);
	const struct method *method = method_find(m.method);
	if (m.kind == RPC_INVALID) {
		rpc_write_error(&out, m.id, &m.fault);
	} else if (m.kind == RPC_ERROR) {
		rpc_read_error(m.error, &f);
		f.code = f.code ? f.code : -1;
		rpc_write_error(&out, m.id, &f);
	} else if (!method || !method_name_params(method, m.params, &named, &f)) {
		if (!method)
			method_unknown(m.method, &f);
		rpc_write_error(&out, m.id, &f);
	} else if (json_scan(buf_cstr(&named), named.n_bytes, &f) == 0) {
		struct json_object *params =
			parse((struct json_span) { named.data, named.n_bytes });
		if (method_check(method, params, &f) < 0)
			rpc_write_error(&out, m.id, &f);
		else
			must(method_check(method, params, &f) == 0);
		json_object_put(params);
	}
	must(out.n_bytes == 0 || json_scan(out.data, out.n_bytes, NULL) == 0);
	buf_release(&out);
	buf_release(&named);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_span v = { (const char *)data, size };
	struct fault f;
	if (json_scan(v.at, v.n, &f) < 0) {
		must(f.err == ERR_PARSE && f.text[0]);
		return 0;
	}
	while (v.n && strchr(" \t\r\n", v.at[0])) {
		v.at++;
		v.n--;
	}
	while (v.n && strchr(" \t\r\n", v.at[v.n - 1]))
		v.n--;
	struct json_object *o = parse(v);
	compare(v, o);
	json_object_put(o);
	answer(v);
	return 0;
}
