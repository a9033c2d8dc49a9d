/* share.c - callers of one piece of work change places. */
#include "controller/share.h"
#include "controller/admit.h"
#include "controller/load.h"
#include "controller/progress.h"
#include "controller/splice.h"

bool share_is_wanted(const struct call *call)
{
	return call->once && call->once->first == call && !TAILQ_EMPTY(&call->once->waiters);
}

/* What the work asks for, within the other's time. */
static void write_params(struct buf *out, struct json_span work, struct json_span other)
{
	static const char *const names[] = { "timeout_ms", NULL };
	struct json_span limit = json_find(other, names[0]);
	splice_without(out, work, names);
	if (limit.at)
		jout_key_raw(out, names[0], limit.at, limit.n);
	buf_addc(out, '}');
}

struct call *share_leave(struct controller *c, struct call *call)
{
	struct buf params = BUF_INIT;
	if (!share_is_wanted(call))
		return call;
	struct call *other = TAILQ_FIRST(&call->once->waiters);
	write_params(&params, call->params, other->params);
	registry_trade(
		c->registry, call, other, (struct json_span) { params.data, params.n_bytes });
	buf_release(&params);
	admit_time(c, call);
	admit_time(c, other);
	/* The work tells its progress by the name that the one who left gave it. */
	progress_silence(call->progress);
	if (call->stream) {
		call->stream->deadline_us = call->deadline_us;
		stream_own(&c->streams, call->stream, call, call->id);
	}
	return other;
}

static bool is_out_of_time(enum answer a, struct json_span body)
{
	int64_t code;
	if (a == ANSWER_RESULT)
		return json_str_is(json_find(body, "finish_reason"), "timeout");
	return json_get_int(json_find(body, "code"), &code) && code == err_info(ERR_TIMEOUT)->code;
}

bool share_go_on(struct controller *c, struct call *call, enum answer a, struct json_span body)
{
	if (!share_is_wanted(call) || !is_out_of_time(a, body))
		return false;
	struct call *other = share_leave(c, call);
	once_leave(other);
	registry_finish(c->registry, other, a, body);
	if (call->stream)
		load_drop_stream(c, call->stream);
	call->owner = CALL_ADMITTED;
	admit_again(c, call);
	return true;
}
