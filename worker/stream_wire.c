/* stream_wire.c - a stream's frames as text. */
#include "worker/stream_wire.h"
#include "protocol/jsonrpc.h"
#include "worker/model/model.h"
#include "worker/text/tokenizer.h"
#include <math.h>

void stream_write_handshake(const struct stream *s, struct buf *out, double started_at)
{
	buf_addc(out, '{');
	jout_key_cstr(out, "stream_id", s->call.stream_id);
	jout_key_fixed(out, "started_at", started_at, 6);
	jout_key_int(out, "seed", (int64_t)s->seed);
	buf_addc(out, '}');
}

void stream_write_token_text(struct buf *out, const struct model_ref *m, int32_t id)
{
	struct buf text = BUF_INIT;
	if (tokenizer_decode(model_tokenizer(model_ref_model(m)), &id, 1, false, &text, NULL) != 0)
		buf_clear(&text);
	jout_str(out, text.data ? text.data : "", text.n_bytes);
	buf_release(&text);
}

static void write_logprobs(const struct stream *s, struct buf *out, const struct stream_token *t)
{
	if (!s->wire.logprobs)
		return;
	/* A number or nothing: old hosts do not accept null. */
	if (isfinite(t->logprob)) {
		jout_key(out, "logprob");
		jout_float(out, t->logprob);
	}
	if (s->wire.top_logprobs == 0)
		return;
	jout_key(out, "top_logprobs");
	buf_addc(out, '[');
	for (int i = 0; i < t->n_top; i++) {
		const struct token_logprob *top = &s->tops[t->top_at + (size_t)i];
		if (!isfinite(top->logprob))
			continue;
		jout_sep(out);
		buf_addc(out, '{');
		jout_key_int(out, "token_id", top->id);
		jout_key(out, "token");
		stream_write_token_text(out, s->model, top->id);
		jout_key(out, "logprob");
		jout_float(out, top->logprob);
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
}

/* The members that a token has in both forms, into an open object. */
static void write_token(const struct stream *s, struct buf *out, const struct stream_token *t)
{
	jout_key_str(out, "token", s->text.data ? s->text.data + t->text_at : "", t->n_text);
	jout_key_int(out, "token_id", t->id);
	jout_key_int(out, "index", (int64_t)t->index);
	if (s->n_choices > 1)
		jout_key_int(out, "choice", t->choice);
	if (t->from_draft)
		jout_key_bool(out, "from_draft", true);
	write_logprobs(s, out, t);
}

static void note_written(struct stream *s, const struct stream_token *t)
{
	struct stream_choice *c = &s->choices[t->choice];
	c->last_id = t->id;
	c->last_index = t->index;
	c->n_written++;
	if (s->wire.cumulative_text || !s->wire.stream)
		buf_add(&c->text, s->text.data ? s->text.data + t->text_at : "", t->n_text);
}

static void write_cumulative(const struct stream *s, struct buf *out, int choice)
{
	const struct buf *text = &s->choices[choice].text;
	if (s->wire.cumulative_text)
		jout_key_str(out, "cumulative_text", text->data ? text->data : "", text->n_bytes);
}

void stream_write_chunk(struct stream *s, struct buf *out, size_t from, size_t n)
{
	buf_addc(out, '{');
	jout_key_cstr(out, "stream_id", s->call.stream_id);
	if (n == 1) {
		const struct stream_token *t = &s->tokens[from];
		note_written(s, t);
		write_token(s, out, t);
		jout_key_bool(out, "is_final", false);
		write_cumulative(s, out, t->choice);
		buf_addc(out, '}');
		return;
	}
	jout_key(out, "tokens");
	buf_addc(out, '[');
	for (size_t i = from; i < from + n; i++) {
		jout_sep(out);
		buf_addc(out, '{');
		note_written(s, &s->tokens[i]);
		write_token(s, out, &s->tokens[i]);
		write_cumulative(s, out, s->tokens[i].choice);
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
	jout_key_int(out, "batch_size", (int64_t)n);
	jout_key_bool(out, "is_batch", true);
	jout_key_bool(out, "is_final", false);
	buf_addc(out, '}');
}

void stream_write_tail(struct stream *s, struct buf *out, int choice)
{
	struct stream_choice *c = &s->choices[choice];
	const struct buf *tail = &s->tails[choice];
	buf_add(&c->text, tail->data, tail->n_bytes);
	buf_addc(out, '{');
	jout_key_cstr(out, "stream_id", s->call.stream_id);
	jout_key_str(out, "token", tail->data, tail->n_bytes);
	jout_key_int(out, "token_id", c->last_id);
	jout_key_int(out, "index", (int64_t)c->last_index);
	if (s->n_choices > 1)
		jout_key_int(out, "choice", choice);
	jout_key_bool(out, "is_tail", true);
	jout_key_bool(out, "is_final", false);
	write_cumulative(s, out, choice);
	buf_addc(out, '}');
}

void stream_write_usage(struct buf *out, const struct job_result *r, size_t n_draft)
{
	size_t n_completion = r->completion_tokens;
	jout_key(out, "usage");
	buf_addc(out, '{');
	jout_key_int(out, "prompt_tokens", (int64_t)r->prompt_tokens);
	jout_key_int(out, "completion_tokens", (int64_t)n_completion);
	jout_key_int(out, "total_tokens", (int64_t)(r->prompt_tokens + n_completion));
	jout_key_int(out, "cached_tokens", (int64_t)r->cached_tokens);
	jout_key_int(out, "draft_tokens", (int64_t)n_draft);
	jout_key_int(out, "accepted_draft_tokens", (int64_t)r->accepted);
	if (r->truncated_tokens)
		jout_key_int(out, "truncated_tokens", (int64_t)r->truncated_tokens);
	buf_addc(out, '}');
}

/* Of each position in a draft, as far as any reached: how many drafts had a token there, or
 * had one that held. */
static void write_positions(struct buf *out, const char *key, const struct draft_counts *c,
	const uint32_t counts[LIMIT_DRAFT])
{
	jout_key(out, key);
	buf_addc(out, '[');
	for (size_t i = 0; i < LIMIT_DRAFT && c->drafted[i] > 0; i++) {
		jout_sep(out);
		jout_uint(out, counts[i]);
	}
	buf_addc(out, ']');
}

void stream_write_timings(struct buf *out, const struct job_result *r)
{
	const struct draft_counts *c = &r->by_position;
	jout_key(out, "timings");
	buf_addc(out, '{');
	jout_key_fixed(out, "queue_ms", r->queue_ms, 3);
	jout_key_fixed(out, "prefill_ms", r->prefill_ms, 3);
	jout_key_fixed(out, "decode_ms", r->decode_ms, 3);
	jout_key_fixed(out, "ttft_ms", r->ttft_ms, 3);
	jout_key_fixed(out, "total_ms", r->total_ms, 3);
	jout_key_fixed(out, "batch_mates", r->batch_mates, 3);
	jout_key_int(out, "cached_tokens", (int64_t)r->cached_tokens);
	if (r->n_drafted > 0) {
		jout_key_int(out, "draft_tokens", (int64_t)r->n_drafted);
		jout_key_int(out, "accepted_draft_tokens", (int64_t)r->accepted);
		jout_key_fixed(out, "draft_ms", r->draft_ms, 3);
		write_positions(out, "drafted_by_position", c, c->drafted);
		write_positions(out, "accepted_by_position", c, c->accepted);
	}
	buf_addc(out, '}');
}

static void add_drafts(struct job_result *all, const struct job_result *r)
{
	all->completion_tokens += r->completion_tokens;
	all->n_drafted += r->n_drafted;
	all->accepted += r->accepted;
	all->draft_ms += r->draft_ms;
	for (size_t i = 0; i < LIMIT_DRAFT; i++) {
		all->by_position.drafted[i] += r->by_position.drafted[i];
		all->by_position.accepted[i] += r->by_position.accepted[i];
	}
}

/* Of n parallel choices the one that ended last tells the times, all together the tokens. */
static struct job_result joint_result(const struct stream *s)
{
	const struct job_result *last = &s->choices[0].result;
	struct job_result all = { 0 };
	for (int i = 0; i < s->n_choices; i++) {
		const struct job_result *r = &s->choices[i].result;
		add_drafts(&all, r);
		if (r->total_ms > last->total_ms)
			last = r;
	}
	struct job_result joint = *last;
	joint.completion_tokens = all.completion_tokens;
	joint.n_drafted = all.n_drafted;
	joint.accepted = all.accepted;
	joint.draft_ms = all.draft_ms;
	joint.by_position = all.by_position;
	return joint;
}

void stream_write_stats(const struct stream *s, struct buf *out)
{
	const struct job_result joint = joint_result(s), *r = &joint;
	const size_t n = joint.completion_tokens;
	const double after_first = (r->total_ms - r->ttft_ms) / 1e3;
	const size_t n_after = n > (size_t)s->n_choices ? n - (size_t)s->n_choices : 0;
	buf_addc(out, '{');
	jout_key_cstr(out, "stream_id", s->call.stream_id);
	jout_key_int(out, "tokens_generated", (int64_t)n);
	jout_key_fixed(out, "tokens_per_second",
		n_after && after_first > 0 ? (double)n_after / after_first : 0, 3);
	jout_key_fixed(out, "time_to_first_token", r->ttft_ms / 1e3, 6);
	jout_key_fixed(out, "total_time", r->total_ms / 1e3, 6);
	if (s->wire.include_usage)
		stream_write_usage(out, r, r->n_drafted);
	stream_write_timings(out, r);
	jout_key_int(out, "seed", (int64_t)s->seed);
	buf_addc(out, '}');
}

static void write_finish(struct buf *out, const struct job_result *r)
{
	jout_key_cstr(out, "finish_reason", finish_name(r->finish));
	jout_key_cstr(out, "stop_detail", stop_detail_name(r->stop_detail));
}

void stream_write_event(const struct stream *s, struct buf *out)
{
	buf_addc(out, '{');
	jout_key_cstr(out, "stream_id", s->call.stream_id);
	jout_key_cstr(out, "event", "completed");
	write_finish(out, &s->choices[0].result);
	if (s->n_choices > 1) {
		jout_key(out, "choices");
		buf_addc(out, '[');
		for (int i = 0; i < s->n_choices; i++) {
			jout_sep(out);
			buf_addc(out, '{');
			jout_key_int(out, "index", i);
			write_finish(out, &s->choices[i].result);
			buf_addc(out, '}');
		}
		buf_addc(out, ']');
	}
	jout_key_bool(out, "is_final", true);
	buf_addc(out, '}');
}

void stream_write_error(const struct stream *s, struct buf *out, const struct fault *f)
{
	struct buf object = BUF_INIT;
	rpc_write_error_object(&object, f);
	const struct json_span all = { object.data, object.n_bytes };
	const struct json_span code = json_find(all, "code"), data = json_find(all, "data");
	buf_addc(out, '{');
	jout_key_cstr(out, "stream_id", s->call.stream_id);
	jout_key_cstr(out, "event", "error");
	jout_key_cstr(out, "error", f->text);
	jout_key_raw(out, "code", code.at, code.n);
	if (data.at)
		jout_key_raw(out, "data", data.at, data.n);
	jout_key_cstr(out, "finish_reason", "error");
	jout_key_bool(out, "is_final", true);
	buf_addc(out, '}');
	buf_release(&object);
}

/* text, tokens, finish, logprobs of one choice, into an open object. */
static void write_choice(struct stream *s, struct buf *out, int choice)
{
	struct stream_choice *c = &s->choices[choice];
	buf_add(&c->text, s->tails[choice].data ? s->tails[choice].data : "",
		s->tails[choice].n_bytes);
	jout_key_str(out, "text", c->text.data ? c->text.data : "", c->text.n_bytes);
	jout_key(out, "tokens");
	buf_addc(out, '[');
	for (size_t i = 0; i < s->n_tokens; i++)
		if (s->tokens[i].choice == choice) {
			jout_sep(out);
			jout_int(out, s->tokens[i].id);
		}
	buf_addc(out, ']');
	write_finish(out, &c->result);
	if (!s->wire.logprobs)
		return;
	jout_key(out, "logprobs");
	buf_addc(out, '[');
	for (size_t i = 0; i < s->n_tokens; i++)
		if (s->tokens[i].choice == choice) {
			jout_sep(out);
			buf_addc(out, '{');
			write_token(s, out, &s->tokens[i]);
			buf_addc(out, '}');
		}
	buf_addc(out, ']');
}

void stream_write_whole(struct stream *s, struct buf *out)
{
	const struct job_result joint = joint_result(s), *r = &joint;
	for (size_t i = 0; i < s->n_tokens; i++)
		note_written(s, &s->tokens[i]);
	buf_addc(out, '{');
	jout_key_cstr(out, "stream_id", s->call.stream_id);
	write_choice(s, out, 0);
	if (s->n_choices > 1) {
		jout_key(out, "choices");
		buf_addc(out, '[');
		for (int i = 0; i < s->n_choices; i++) {
			jout_sep(out);
			buf_addc(out, '{');
			jout_key_int(out, "index", i);
			if (i == 0)
				buf_clear(&s->tails[0]); /* written above already */
			write_choice(s, out, i);
			buf_addc(out, '}');
		}
		buf_addc(out, ']');
	}
	stream_write_usage(out, r, r->n_drafted);
	stream_write_timings(out, r);
	jout_key_int(out, "seed", (int64_t)s->seed);
	if (r->truncated_tokens)
		jout_key_int(out, "truncated_tokens", (int64_t)r->truncated_tokens);
	buf_addc(out, '}');
}
