/* group.c - collecting answers that travel together. */
#include "controller/group.h"
#include "controller/mcp.h"
#include "protocol/frame.h"
#include "protocol/limits.h"
#include "protocol/mem.h"
#include <stdlib.h>

struct group {
	struct call *parent; /* NULL: a batch array */
	bool is_tool;
	enum answer answer; /* of a tool's parent */
	struct call *members;
	size_t n, n_done;
	size_t n_bytes;
	struct buf array; /* a batch array so far, without its last bracket; a tool's answer */
	char **items;     /* results: the text of each slot, NULL until answered */
};

struct group *group_new_array(size_t n)
{
	struct group *g = xcalloc(1, sizeof *g);
	g->n = n;
	buf_addc(&g->array, '[');
	return g;
}

struct group *group_new_results(size_t n, struct call *parent)
{
	struct group *g = xcalloc(1, sizeof *g);
	g->n = n;
	g->parent = parent;
	g->items = xcalloc(n, sizeof *g->items);
	return g;
}

struct group *group_new_tool(struct call *parent)
{
	struct group *g = xcalloc(1, sizeof *g);
	g->n = 1;
	g->parent = parent;
	g->is_tool = true;
	return g;
}

/* The reference's item: `error` is the bare message; code and data stand beside it. */
static void write_item(struct buf *out, enum answer a, struct json_span body)
{
	buf_addc(out, '{');
	jout_key_bool(out, "success", a == ANSWER_RESULT);
	if (a == ANSWER_RESULT) {
		jout_key_raw(out, "result", body.at, body.n);
		jout_key_raw(out, "error", "null", 4);
	} else {
		static const char *const from[] = { "message", "code", "data" };
		static const char *const to[] = { "error", "error_code", "error_data" };
		jout_key_raw(out, "result", "null", 4);
		for (int i = 0; i < 3; i++) {
			struct json_span v = json_find(body, from[i]);
			if (v.at)
				jout_key_raw(out, to[i], v.at, v.n);
		}
	}
	buf_addc(out, '}');
}

static void write_element(
	struct buf *out, enum answer a, struct json_span id, struct json_span body)
{
	jout_sep(out);
	if (a == ANSWER_RESULT)
		rpc_write_result(out, id, body.at, body.n);
	else
		rpc_write_error_raw(out, id, body);
}

/* Frames have a limit, and a group must not pass it: what no longer fits becomes an
 * error of its own. */
static bool fits(struct group *g, size_t n)
{
	if (n > FRAME_OUT_MAX - (size_t)LIMIT_BATCH * 256 - g->n_bytes)
		return false;
	g->n_bytes += n;
	return true;
}

bool group_put_raw(
	struct group *g, size_t slot, enum answer a, struct json_span id, struct json_span body)
{
	struct buf too_long = BUF_INIT;
	if (!fits(g, body.n)) {
		struct fault f;
		fault_set(&f, ERR_RUNTIME, "the answers of this batch exceed %zu bytes together",
			(size_t)FRAME_OUT_MAX);
		rpc_write_error_object(&too_long, &f);
		body = (struct json_span) { too_long.data, too_long.n_bytes };
		a = ANSWER_ERROR;
	}
	if (g->is_tool) {
		g->answer = ANSWER_RESULT;
		if (!mcp_write_result(&g->array, a, body)) {
			g->answer = a;
			buf_add(&g->array, body.at, body.n);
		}
	} else if (g->items) {
		struct buf item = BUF_INIT;
		write_item(&item, a, body);
		g->items[slot] = buf_detach(&item);
	} else if (id.at && body.at) {
		write_element(&g->array, a, id, body);
	}
	buf_release(&too_long);
	return ++g->n_done == g->n;
}

bool group_put(struct group *g, struct call *c, enum answer a, struct json_span body)
{
	c->next = g->members;
	g->members = c;
	return group_put_raw(g, c->seat.slot, a, c->id, body);
}

static void write_results(struct buf *text, struct group *g)
{
	buf_adds(text, "{\"results\":[");
	for (size_t i = 0; i < g->n; i++) {
		jout_sep(text);
		buf_adds(text, g->items[i]);
		free(g->items[i]);
	}
	buf_adds(text, "]}");
}

struct group_whole group_complete(struct group *g)
{
	struct group_whole whole = { g->parent, g->members, ANSWER_RESULT, BUF_INIT };
	if (g->items) {
		write_results(&whole.text, g);
	} else if (g->is_tool) {
		whole.answer = g->answer;
		buf_add(&whole.text, g->array.data, g->array.n_bytes);
	} else if (g->array.n_bytes > 1) {
		buf_add(&whole.text, g->array.data, g->array.n_bytes);
		buf_addc(&whole.text, ']');
	}
	buf_release(&g->array);
	free(g->items);
	free(g);
	return whole;
}
