/* mcp.c - tools/list and tools/call: admit.c's calls in other words. */
#include "controller/mcp.h"
#include "controller/admit.h"
#include "controller/group.h"
#include "controller/splice.h"
#include <string.h>

#define NAME_BYTES 128
/* A longer result is not repeated as text. Escaping at most doubles JSON text, so that with
 * this both copies stay below the limit of a frame. */
#define REPEATED_BYTES ((size_t)1 << 20)

const char mcp_instructions[] =
	"Language models on this machine. list_models tells which there are, load_model loads one; "
	"then generate, tokenize, check_draft and the others take its model_id.";

/* -- initialize ------------------------------------------------------------------------- */

static bool is_date(struct json_span version)
{
	static const char form[] = "\"0000-00-00\"";
	if (version.n != sizeof form - 1)
		return false;
	for (size_t i = 0; i < version.n; i++) {
		bool is_digit = version.at[i] >= '0' && version.at[i] <= '9';
		if (form[i] == '0' ? !is_digit : version.at[i] != form[i])
			return false;
	}
	return true;
}

/* MCP demands three members, and has clients try versions that are no dates ("1.0.0"). */
static bool is_mcp(struct json_span params, struct json_span version)
{
	if (is_date(version))
		return true;
	return json_kind(version) == '"' && !json_str_is(version, "1") &&
	       !json_str_is(version, "1.0") &&
	       json_kind(json_find(params, "capabilities")) == '{' &&
	       json_kind(json_find(params, "clientInfo")) == '{';
}

const char *mcp_negotiate(struct json_span params)
{
	static const char *const known[] = { "2025-11-25", "2025-06-18", "2025-03-26",
		"2024-11-05" };
	struct json_span version = json_find(params, "protocolVersion");
	if (!is_mcp(params, version))
		return NULL;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (json_str_is(version, known[i]))
			return known[i];
	return known[0];
}

/* -- tools/list, tools/call ------------------------------------------------------------- */

void mcp_list(struct controller *c, struct call *call)
{
	struct buf out = BUF_INIT;
	struct fault f;
	if (json_kind(json_find(call->params, "cursor")) == '"') {
		fault_set(&f, ERR_INVALID_PARAMS, "there is no such cursor: the list has one page");
		fault_add_str(&f, "path", "cursor");
		registry_fail(c->registry, call, &f);
		return;
	}
	method_write_tools(&out);
	registry_finish(
		c->registry, call, ANSWER_RESULT, (struct json_span) { out.data, out.n_bytes });
	buf_release(&out);
}

static const struct method *find_tool(struct json_span params, struct fault *f)
{
	char name[NAME_BYTES] = "";
	json_copy_str(json_find(params, "name"), name, sizeof name);
	const struct method *m = method_find(name), *near;
	if (m && method_is_tool(m))
		return m;
	const char *tools[64];
	size_t n = 0;
	for (size_t i = 0; (near = method_at(i)) != NULL && n < 64; i++)
		if (method_is_tool(near))
			tools[n++] = near->name;
	fault_set(f, ERR_INVALID_PARAMS, "Unknown tool: %s", name);
	fault_add_str(f, "path", "name");
	const char *meant = method_nearest(name, tools, n);
	if (meant)
		fault_add_str(f, "did_you_mean", meant);
	return NULL;
}

/* The method's params: the tool's arguments, the request's _meta, and for what could stream
 * the wish for one answer. */
static void write_params(struct buf *out, const struct method *m, struct json_span params)
{
	static const char *const ours[] = { "_meta", NULL };
	struct json_span arguments = json_find(params, "arguments");
	struct json_span meta = json_find(params, "_meta");
	if (json_kind(arguments) != '{')
		arguments = (struct json_span) { "{}", 2 };
	splice_without(out, arguments, ours);
	if (json_kind(meta) == '{')
		jout_key_raw(out, "_meta", meta.at, meta.n);
	if (m->cls == METHOD_STREAM && !json_find(arguments, "stream").at &&
		!json_find(arguments, "streaming").at)
		jout_key_bool(out, "stream", false);
	buf_addc(out, '}');
}

static bool asks_for_stream(const struct method *m, struct json_span params)
{
	static const char *const names[] = { "stream", "streaming" };
	struct json_span arguments = json_find(params, "arguments");
	if (m->cls != METHOD_STREAM || json_kind(arguments) != '{')
		return false;
	for (int i = 0; i < 2; i++) {
		char kind = json_kind(json_find(arguments, names[i]));
		if (kind == 't' || kind == 'n')
			return true;
	}
	return false;
}

void mcp_call(struct controller *c, struct call *call)
{
	struct fault f = { 0 };
	const struct method *m = NULL;
	if (admit_check(call->method, call->params, &f) == 0)
		m = find_tool(call->params, &f);
	if (!m) {
		registry_fail(c->registry, call, &f);
		return;
	}
	struct json_span none = { NULL, 0 };
	struct buf params = BUF_INIT;
	call->owner = CALL_HELD;
	call->leads = group_new_tool(call);
	struct call_seat seat = { call->leads, 0 };
	/* From here the call may be answered, and gone, at any moment. */
	write_params(&params, m, call->params);
	if (asks_for_stream(m, call->params)) {
		fault_set(&f, ERR_INVALID_PARAMS,
			"a tool answers once: leave stream out, or give false");
		fault_add_str(&f, "path", "stream");
		registry_refuse(c->registry, none, seat, &f);
	} else {
		admit_call(c, m, none, (struct json_span) { params.data, params.n_bytes }, seat);
	}
	buf_release(&params);
}

/* -- the result ------------------------------------------------------------------------- */

static void write_text(struct buf *out, const char *text, size_t n)
{
	buf_adds(out, "{\"type\":\"text\",\"text\":");
	jout_str(out, text, n);
	buf_addc(out, '}');
}

/* What a model or a person is shown: the text a method gave, or else its whole result. */
static void write_content(struct buf *out, struct json_span body)
{
	struct json_span text = json_find(body, "text");
	jout_key(out, "content");
	buf_addc(out, '[');
	if (body.n > REPEATED_BYTES) {
		static const char note[] = "The result is long: see structuredContent.";
		write_text(out, note, sizeof note - 1);
	} else if (json_kind(text) == '"') {
		buf_adds(out, "{\"type\":\"text\",\"text\":");
		buf_add(out, text.at, text.n);
		buf_addc(out, '}');
	} else {
		write_text(out, body.at, body.n);
	}
	buf_addc(out, ']');
}

static void write_error(struct buf *out, struct json_span error)
{
	struct json_span message = json_find(error, "message");
	buf_adds(out, "\"content\":[{\"type\":\"text\",\"text\":");
	buf_add(out, message.at, message.n);
	buf_adds(out, "}],\"isError\":true,\"_meta\":{\"tandem/error\":");
	buf_add(out, error.at, error.n);
	buf_addc(out, '}');
}

bool mcp_write_result(struct buf *out, enum answer a, struct json_span body)
{
	int64_t code = 0;
	if (a == ANSWER_ERROR && json_get_int(json_find(body, "code"), &code) &&
		code == err_info(ERR_CANCELLED)->code)
		return false;
	buf_addc(out, '{');
	if (a == ANSWER_RESULT) {
		write_content(out, body);
		jout_key_raw(out, "structuredContent", body.at, body.n);
		jout_key_bool(out, "isError", false);
	} else {
		write_error(out, body);
	}
	buf_addc(out, '}');
	return true;
}
