/* rerun_request.c - a recorded request, with what was left to chance then. */
#include "controller/rerun.h"
#include "controller/splice.h"
#include "protocol/jsonrpc.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>

static const struct json_span NOTHING = { NULL, 0 };

/* Params with the seed and stream_id of its result, unless it has its own. */
static void write_chosen(struct buf *out, struct json_span params, struct json_span result)
{
	static const char *const names[] = { "seed", "stream_id" };
	const char *without[3] = { NULL };
	struct json_span add[2] = { NOTHING, NOTHING };
	size_t n = 0;
	for (int i = 0; i < 2; i++) {
		char kind = json_kind(json_find(params, names[i]));
		if (kind && kind != 'n')
			continue;
		add[i] = json_find(result, names[i]);
		without[n++] = names[i];
	}
	splice_without(out, params, without);
	for (int i = 0; i < 2; i++)
		if (add[i].at)
			jout_key_raw(out, names[i], add[i].at, add[i].n);
	buf_addc(out, '}');
}

static void write_chosen_items(struct buf *out, struct json_span params, struct json_span result)
{
	static const char *const requests[] = { "requests", NULL };
	struct json_cursor ins = json_iterate(json_find(params, "requests"));
	struct json_cursor outs = json_iterate(json_find(result, "results"));
	struct json_span item, answer;
	splice_without(out, params, requests);
	jout_key(out, "requests");
	buf_addc(out, '[');
	while (json_next_element(&ins, &item)) {
		jout_sep(out);
		bool is_told = json_next_element(&outs, &answer);
		if (is_told && json_kind(item) == '{')
			write_chosen(out, item, json_find(answer, "result"));
		else
			buf_add(out, item.at, item.n);
	}
	buf_adds(out, "]}");
}

static void write_chosen_tool(struct buf *out, struct json_span params, struct json_span result)
{
	struct json_span arguments = json_find(params, "arguments");
	struct buf chosen = BUF_INIT;
	if (json_kind(arguments) != '{') {
		buf_add(out, params.at, params.n);
		return;
	}
	write_chosen(&chosen, arguments, json_find(result, "structuredContent"));
	splice_set(out, params, "arguments", (struct json_span) { chosen.data, chosen.n_bytes });
	buf_release(&chosen);
}

static void write_params(
	struct buf *out, const struct method *m, struct json_span params, struct json_span result)
{
	if (m->cls == METHOD_TOOL)
		write_chosen_tool(out, params, result);
	else if (m->cls == METHOD_BATCH && json_kind(json_find(params, "requests")) == '[')
		write_chosen_items(out, params, result);
	else
		write_chosen(out, params, result);
}

/* Whether the result may tell something that chance decided. */
static bool is_chancy(const struct method *m, struct json_span result)
{
	return m->cls == METHOD_TOOL || m->cls == METHOD_BATCH || json_find(result, "seed").at;
}

static const struct told_answer *note_asked(struct rerun_asked **asked, struct json_span id,
	const struct method *m, const struct transcript *recorded)
{
	struct rerun_asked *a = xcalloc(1, sizeof *a), *same;
	size_t n = 0;
	a->method = m;
	for (;; n++) {
		a->key = xasprintf("%.*s#%zu", (int)id.n, id.at, n);
		HASH_FIND_STR(*asked, a->key, same);
		if (!same)
			break;
		free(a->key);
	}
	HASH_ADD_KEYPTR(hh, *asked, a->key, strlen(a->key), a);
	return transcript_answer(recorded, id, n);
}

bool rerun_is_asked(const struct rerun_asked *asked, struct json_span id, size_t n)
{
	const struct rerun_asked *a;
	char *key = xasprintf("%.*s#%zu", (int)id.n, id.at, n);
	HASH_FIND_STR(asked, key, a);
	free(key);
	return a || json_kind(id) == 'n';
}

static void write_one(struct buf *out, struct json_span frame, const struct transcript *recorded,
	struct rerun_asked **asked)
{
	struct rpc_msg msg;
	struct buf named = BUF_INIT, params = BUF_INIT;
	struct fault f;
	rpc_parse(frame, &msg);
	const struct method *m = msg.kind == RPC_REQUEST ? method_find(msg.method) : NULL;
	const struct told_answer *told = NULL;
	if (msg.kind == RPC_REQUEST || msg.kind == RPC_INVALID)
		told = note_asked(asked, msg.id, m, recorded);
	if (!m || !told || !told->result.at || !is_chancy(m, told->result) ||
		!method_name_params(m, msg.params, &named, &f)) {
		buf_add(out, frame.at, frame.n);
	} else {
		write_params(
			&params, m, (struct json_span) { named.data, named.n_bytes }, told->result);
		rpc_write_request(out, msg.id.at, msg.id.n, m->name, params.data, params.n_bytes);
	}
	buf_release(&named);
	buf_release(&params);
}

void rerun_write_request(struct buf *out, struct json_span frame, const struct transcript *recorded,
	struct rerun_asked **asked)
{
	struct json_cursor c = json_iterate(frame);
	struct json_span one;
	if (json_kind(frame) != '[') {
		write_one(out, frame, recorded, asked);
		return;
	}
	buf_addc(out, '[');
	while (json_next_element(&c, &one)) {
		jout_sep(out);
		write_one(out, one, recorded, asked);
	}
	buf_addc(out, ']');
}
