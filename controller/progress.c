/* progress.c - steps of long requests, each told once. */
#include "controller/progress.h"
#include "protocol/limits.h"
#include "protocol/mem.h"
#include <string.h>

struct progress {
	bool has_begun, is_silent;
	double at; /* the furthest that was told */
	size_t n;
	char token[]; /* its kind, since "7" is not 7; then itself, decoded if it is a string */
};

/* The key of a token, or 0 bytes: no token, or one beyond any reason. */
static size_t read_token(struct json_span v, char *out, size_t cap)
{
	const char kind = json_kind(v);
	if (!v.at || (kind != '"' && kind != '0') || cap < 2)
		return 0;
	out[0] = kind;
	if (kind == '"')
		return json_copy_str(v, out + 1, cap - 1) ? 1 + strlen(out + 1) : 0;
	if (v.n > cap - 1)
		return 0;
	memcpy(out + 1, v.at, v.n);
	return 1 + v.n;
}

struct progress *progress_of(struct json_span params)
{
	char token[4 * LIMIT_STREAM_ID];
	size_t n = read_token(
		json_find(json_find(params, "_meta"), "progressToken"), token, sizeof token);
	if (n == 0)
		n = read_token(json_find(params, "workDoneToken"), token, sizeof token);
	if (n == 0)
		return NULL;
	struct progress *p = xcalloc(1, sizeof *p + n);
	memcpy(p->token, token, n);
	p->n = n;
	return p;
}

void progress_silence(struct progress *p)
{
	if (p)
		p->is_silent = true;
}

static struct progress *find(struct registry *r, const char *token, size_t n)
{
	const struct call *call;
	TAILQ_FOREACH (call, registry_live(r), live) {
		struct progress *p = call->progress;
		if (p && p->n == n && memcmp(p->token, token, n) == 0)
			return p;
	}
	return NULL;
}

static bool rises(struct progress *p, struct json_span value)
{
	double at;
	if (!json_get_num(value, &at) || (p->has_begun && at <= p->at))
		return false;
	p->at = at;
	p->has_begun = true;
	return true;
}

bool progress_is_news(struct registry *r, bool is_lsp, struct json_span params)
{
	char token[4 * LIMIT_STREAM_ID];
	const size_t n = read_token(
		json_find(params, is_lsp ? "token" : "progressToken"), token, sizeof token);
	struct progress *p = n ? find(r, token, n) : NULL;
	if (!p)
		return true;
	if (p->is_silent)
		return false;
	if (!is_lsp)
		return rises(p, json_find(params, "progress"));
	struct json_span value = json_find(params, "value");
	return json_str_is(json_find(value, "kind"), "end") ||
	       rises(p, json_find(value, "percentage"));
}
