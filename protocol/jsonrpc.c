/* jsonrpc.c - the JSON-RPC 2.0 envelope. Stop 4; next: methods.c */
#include "protocol/jsonrpc.h"
#include "protocol/log.h"
#include "protocol/utf8.h"
#include <string.h>

const struct json_span RPC_ID_NULL = { "null", 4 };

/* -- reading ---------------------------------------------------------------------------- */

struct members {
	struct json_span version, id, method, params, result, error;
};

static struct members read_members(struct json_span value)
{
	struct members m = { 0 };
	if (json_kind(value) != '{')
		return m;
	enum { N_NAMES = 6 };
	static const char *const names[N_NAMES] = { "jsonrpc", "id", "method", "params", "result",
		"error" };
	struct json_span *const slots[N_NAMES] = { &m.version, &m.id, &m.method, &m.params,
		&m.result, &m.error };
	struct json_cursor c = json_iterate(value);
	struct json_span key, member;
	while (json_next_member(&c, &key, &member)) {
		const size_t i = json_str_among(key, names, N_NAMES);
		if (i < N_NAMES)
			*slots[i] = member;
	}
	return m;
}

/* A name cut short or with a NUL in it must not turn into the name of a method: one that
 * fills the field is longer than any of ours, and the NUL becomes '?'. */
static void read_method(struct json_span method, char out[RPC_METHOD_MAX])
{
	struct buf name = BUF_INIT;
	json_get_str(method, &name);
	size_t n = name.n_bytes < RPC_METHOD_MAX - 1 ? name.n_bytes : RPC_METHOD_MAX - 1;
	n = utf8_whole_prefix(buf_cstr(&name), n);
	memcpy(out, name.data, n);
	out[n] = '\0';
	for (char *nul; (nul = memchr(out, '\0', n)) != NULL;)
		*nul = '?';
	buf_release(&name);
}

static bool is_id(struct json_span id)
{
	char kind = json_kind(id);
	return kind == '"' || kind == '0' || kind == 'n';
}

static const char *why_invalid(struct json_span value, const struct members *m)
{
	if (json_kind(value) != '{')
		return "a message must be a JSON object";
	if (m->id.at && !is_id(m->id))
		return "id must be a string, a number or null";
	if (m->version.at && !json_str_is(m->version, "2.0"))
		return "jsonrpc must be \"2.0\"";
	if (m->params.at && json_kind(m->params) != '{' && json_kind(m->params) != '[')
		return "params must be an object or an array";
	if (m->method.at)
		return json_kind(m->method) == '"' ? NULL : "method must be a string";
	if (!m->id.at || !m->result.at == !m->error.at)
		return "a message needs a method, or an id with either a result or an error";
	if (m->error.at && json_kind(m->error) != '{')
		return "error must be an object";
	return NULL;
}

void rpc_parse(struct json_span value, struct rpc_msg *m)
{
	struct members members = read_members(value);
	const char *wrong = why_invalid(value, &members);
	memset(m, 0, offsetof(struct rpc_msg, fault));
	m->fault.err = m->fault.code = 0;
	m->fault.text[0] = m->fault.data[0] = '\0';
	m->id = is_id(members.id) ? members.id : RPC_ID_NULL;
	m->params = members.params;
	m->result = members.result;
	m->error = members.error;
	if (wrong) {
		m->kind = RPC_INVALID;
		fault_set(&m->fault, ERR_INVALID_REQUEST, "Invalid request: %s", wrong);
		return;
	}
	if (members.method.at) {
		m->kind = members.id.at ? RPC_REQUEST : RPC_NOTIFICATION;
		read_method(members.method, m->method);
	} else {
		m->kind = members.result.at ? RPC_RESULT : RPC_ERROR;
	}
}

static void read_data(struct json_span data, struct fault *f)
{
	struct buf value = BUF_INIT, name = BUF_INIT;
	struct json_cursor c = json_iterate(data);
	struct json_span k, v;
	if (json_kind(data) != '{')
		c = (struct json_cursor) { NULL, NULL };
	while (json_next_member(&c, &k, &v)) {
		buf_clear(&name);
		buf_clear(&value);
		/* The key's text as it stands between its quotes is escaped already. */
		buf_add(&name, k.at + 1, k.n - 2);
		buf_add(&value, v.at, v.n);
		fault_add_json(f, buf_cstr(&name), buf_cstr(&value));
	}
	buf_release(&name);
	buf_release(&value);
}

void rpc_read_error(struct json_span error, struct fault *f)
{
	int64_t code = 0;
	struct buf message = BUF_INIT;
	bool known = json_get_int(json_find(error, "code"), &code) && code == (int)code;
	json_get_str(json_find(error, "message"), &message);
	fault_set(f, known ? err_from_code((int)code) : ERR_RUNTIME, "%s", buf_cstr(&message));
	f->code = known ? (int)code : 0;
	read_data(json_find(error, "data"), f);
	buf_release(&message);
}

/* -- writing ---------------------------------------------------------------------------- */

static void add_object(struct buf *out, const char *key, const char *json, size_t n)
{
	if (json)
		jout_key_raw(out, key, json, n);
	else
		jout_key_raw(out, key, "{}", 2);
}

static void open_message(struct buf *out)
{
	buf_adds(out, "{\"jsonrpc\":\"2.0\"");
}

void rpc_write_request(struct buf *out, const char *id, size_t n_id, const char *method,
	const char *params, size_t n_params)
{
	open_message(out);
	jout_key_raw(out, "id", id, n_id);
	jout_key_cstr(out, "method", method);
	add_object(out, "params", params, n_params);
	buf_addc(out, '}');
}

void rpc_write_notification(struct buf *out, const char *method, const char *params, size_t n)
{
	open_message(out);
	jout_key_cstr(out, "method", method);
	add_object(out, "params", params, n);
	buf_addc(out, '}');
}

static void open_answer(struct buf *out, struct json_span id)
{
	open_message(out);
	if (!id.at)
		id = RPC_ID_NULL;
	jout_key_raw(out, "id", id.at, id.n);
}

void rpc_write_result(struct buf *out, struct json_span id, const char *result, size_t n)
{
	open_answer(out, id);
	add_object(out, "result", result, n);
	buf_addc(out, '}');
}

void rpc_write_error(struct buf *out, struct json_span id, const struct fault *f)
{
	open_answer(out, id);
	jout_key(out, "error");
	rpc_write_error_object(out, f);
	buf_addc(out, '}');
}

/* data: the fault's own members, and type and retryable where it does not give them. */
static void write_data(struct buf *out, const struct err_info *info, const char *members)
{
	struct buf own = BUF_INIT;
	buf_addf(&own, "{%s}", members);
	struct json_span given = { own.data, own.n_bytes };
	jout_key(out, "data");
	buf_addc(out, '{');
	if (!json_find(given, "type").at)
		jout_key_cstr(out, "type", info->type);
	if (!json_find(given, "retryable").at)
		jout_key_bool(out, "retryable", info->retryable);
	if (members[0]) {
		jout_sep(out);
		buf_adds(out, members);
	}
	buf_addc(out, '}');
	buf_release(&own);
}

void rpc_write_error_object(struct buf *out, const struct fault *f)
{
	const struct err_info *info = err_info(f->err ? f->err : ERR_INTERNAL);
	const char *text = f->text;
	/* Details of our own faults are for us, not for whoever sent the request. */
	if (!f->code && info->code == err_info(ERR_INTERNAL)->code) {
		log_error("internal: %s", text);
		text = "An unexpected internal error occurred";
	}
	buf_addc(out, '{');
	jout_key_int(out, "code", f->code ? f->code : info->code);
	jout_key_cstr(out, "message", text);
	write_data(out, info, f->data);
	buf_addc(out, '}');
}

void rpc_write_error_raw(struct buf *out, struct json_span id, struct json_span error)
{
	open_answer(out, id);
	jout_key_raw(out, "error", error.at, error.n);
	buf_addc(out, '}');
}
