/* progress.c - progress notifications in the two dialects. */
#include "worker/progress.h"
#include "protocol/jsonrpc.h"
#include "protocol/mem.h"
#include "worker/params.h"
#include <stdlib.h>

#define SECONDS_BETWEEN 0.1

static bool is_token(struct json_object *v)
{
	return json_object_is_type(v, json_type_string) || json_object_is_type(v, json_type_int);
}

void progress_init(struct progress *p, struct json_object *params)
{
	struct json_object *meta = params_get(params, "_meta");
	struct json_object *mcp = json_object_is_type(meta, json_type_object)
					  ? params_get(meta, "progressToken")
					  : NULL;
	struct json_object *lsp = params_get(params, "workDoneToken");
	*p = (struct progress) { 0 };
	p->is_lsp = !is_token(mcp) && is_token(lsp);
	if (p->is_lsp || is_token(mcp))
		p->token = xstrdup(json_object_to_json_string_ext(
			p->is_lsp ? lsp : mcp, JSON_C_TO_STRING_PLAIN));
}

void progress_use_id(struct progress *p, const struct reply *r)
{
	size_t n;
	const char *id = reply_id(r, &n);
	if (id && !p->token)
		p->token = xstrndup(id, n);
}

void progress_release(struct progress *p)
{
	free(p->token);
	p->token = NULL;
}

static void write_lsp(struct buf *b, const char *kind, double fraction, const char *message)
{
	jout_key(b, "value");
	buf_addc(b, '{');
	jout_key_cstr(b, "kind", kind);
	if (kind[0] == 'b')
		jout_key_cstr(b, "title", message);
	else
		jout_key_cstr(b, "message", message);
	if (kind[0] != 'e')
		jout_key_int(b, "percentage", (int64_t)(fraction * 100));
	buf_adds(b, "}}");
}

static void send(struct progress *p, struct outbox *o, const char *kind, const char *message)
{
	struct buf params = BUF_INIT, frame = BUF_INIT;
	buf_addc(&params, '{');
	jout_key(&params, p->is_lsp ? "token" : "progressToken");
	buf_adds(&params, p->token);
	if (p->is_lsp) {
		write_lsp(&params, kind, p->fraction, message);
	} else {
		jout_key_num(&params, "progress", p->fraction);
		jout_key_int(&params, "total", 1);
		jout_key_cstr(&params, "message", message);
		buf_addc(&params, '}');
	}
	rpc_write_notification(&frame, p->is_lsp ? "$/progress" : "notifications/progress",
		params.data, params.n_bytes);
	outbox_put(o, frame.data, frame.n_bytes);
	buf_release(&params);
	buf_release(&frame);
}

void progress_report(
	struct progress *p, struct outbox *o, double fraction, const char *message, double now)
{
	if (!p->token || p->ended || fraction >= 1)
		return;
	if (p->begun && (fraction <= p->fraction || now - p->sent_at < SECONDS_BETWEEN))
		return;
	p->fraction = fraction > 0 ? fraction : 0;
	p->sent_at = now;
	send(p, o, p->begun ? "report" : "begin", message);
	p->begun = true;
}

void progress_end(struct progress *p, struct outbox *o, const char *message)
{
	if (!p->token || p->ended)
		return;
	if (!p->begun)
		progress_report(p, o, 0, message, 0);
	p->ended = true;
	p->fraction = 1;
	send(p, o, "end", message);
}
