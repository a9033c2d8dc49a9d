/* progress.h - progress of one request, to a host that asked for it.
 *
 * MCP hosts put a token in _meta.progressToken and hear notifications/progress; LSP hosts
 * put one in workDoneToken and hear $/progress begin, report, end. At most ten a second
 * beside the first and the last, always rising, and none after the answer. */
#ifndef WORKER_PROGRESS_H
#define WORKER_PROGRESS_H
#include "worker/outbox.h"
#include "worker/reply.h"
#include <json-c/json.h>

struct progress {
	char *token; /* JSON text; NULL = the host did not ask */
	bool is_lsp;
	bool begun, ended;
	double fraction, sent_at;
};

void progress_init(struct progress *p, struct json_object *params); /* params may be NULL */
/* load_model's own `progress: true`: the request's id is the token, unless one was given. */
void progress_use_id(struct progress *p, const struct reply *r);
void progress_release(struct progress *p);
/* fraction 0..1; message a few words. now: clock_now(). */
void progress_report(
	struct progress *p, struct outbox *o, double fraction, const char *message, double now);
void progress_end(struct progress *p, struct outbox *o, const char *message);
#endif
