/* rerun_compare.c - two transcripts, the same or not. */
#include "controller/rerun.h"
#include "protocol/err.h"
#include <string.h>

/* Members that only measure, wherever they stand. */
static bool is_measure(struct json_span key)
{
	static const char *const names[] = { "started_at", "timings", "load_ms", "uptime",
		"tokens_per_second", "time_to_first_token", "total_time", "memory_usage",
		"shared_bytes", "cached_tokens", "pid", "content", "retry_after_ms", "depth",
		"stderr_tail", "restarts", "bundle" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (json_str_is(key, names[i]))
			return true;
	return false;
}

static bool is_same(struct json_span a, struct json_span b);

/* Each of a's members is b's, too. */
static bool is_within(struct json_span a, struct json_span b)
{
	struct json_cursor c = json_iterate(a);
	struct json_span key, value;
	while (json_next_member(&c, &key, &value)) {
		struct json_cursor d = json_iterate(b);
		struct json_span other_key, other;
		bool is_there = is_measure(key);
		while (!is_there && json_next_member(&d, &other_key, &other))
			if (other_key.n == key.n && !memcmp(other_key.at, key.at, key.n))
				is_there = is_same(value, other);
		if (!is_there)
			return false;
	}
	return true;
}

static bool is_same_list(struct json_span a, struct json_span b)
{
	struct json_cursor c = json_iterate(a), d = json_iterate(b);
	struct json_span one, other;
	while (json_next_element(&c, &one))
		if (!json_next_element(&d, &other) || !is_same(one, other))
			return false;
	return !json_next_element(&d, &other);
}

/* Does a text of which this was the end go on, given more time? */
static bool is_cut_short(struct json_span finish_reason)
{
	static const char *const why[] = { "cancelled", "timeout", "slow_consumer", "error" };
	for (size_t i = 0; i < sizeof why / sizeof why[0]; i++)
		if (json_str_is(finish_reason, why[i]))
			return true;
	return false;
}

/* Strings without their closing quotes. */
static bool text_begins_alike(struct json_span a, struct json_span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	return n == 0 || !memcmp(a.at, b.at, n - 1);
}

static bool list_begins_alike(struct json_span a, struct json_span b)
{
	struct json_cursor c = json_iterate(a), d = json_iterate(b);
	struct json_span one, other;
	while (json_next_element(&c, &one) && json_next_element(&d, &other))
		if (!is_same(one, other))
			return false;
	return true;
}

static bool is_same_object(struct json_span a, struct json_span b)
{
	struct json_span end = json_find(a, "finish_reason"), other = json_find(b, "finish_reason");
	if (end.at && other.at && (is_cut_short(end) || is_cut_short(other)))
		return text_begins_alike(json_find(a, "text"), json_find(b, "text")) &&
		       list_begins_alike(json_find(a, "tokens"), json_find(b, "tokens"));
	return is_within(a, b) && is_within(b, a);
}

/* Both were written by us, so that equal values are equal bytes. */
static bool is_same(struct json_span a, struct json_span b)
{
	if (json_kind(a) != json_kind(b))
		return false;
	if (json_kind(a) == '{')
		return is_same_object(a, b);
	if (json_kind(a) == '[')
		return is_same_list(a, b);
	return a.n == b.n && !memcmp(a.at, b.at, a.n);
}

/* -- answers ---------------------------------------------------------------------------- */

static int64_t code_of(const struct told_answer *a)
{
	int64_t code = 0;
	if (a->error.at)
		json_get_int(json_find(a->error, "code"), &code);
	return code;
}

/* Refused or ended for lack of time or room: another run has them otherwise. */
static bool is_circumstance(int64_t code)
{
	static const int errors[] = { ERR_OVERLOADED, ERR_TIMEOUT, ERR_SHUTTING_DOWN,
		ERR_CANCELLED };
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (code == err_info(errors[i])->code)
			return true;
	return false;
}

static bool tells_of_the_process(const struct rerun_sides *s, const char *key)
{
	const struct rerun_asked *asked;
	HASH_FIND_STR(s->asked, key, asked);
	return asked && asked->method &&
	       (asked->method->cls == METHOD_LOCAL || asked->method->cls == METHOD_CANCEL);
}

/* Returns whether it is a difference. */
static bool compare_answer(
	const struct rerun_sides *s, const struct told_answer *a, struct buf *lines)
{
	const struct told_answer *b;
	HASH_FIND_STR(s->fresh->answers, a->key, b);
	int64_t code = code_of(a), new_code = b ? code_of(b) : 0;
	int n_id = (int)(strrchr(a->key, '#') - a->key);
	if (!b)
		buf_addf(lines, "id %.*s: not answered\n", n_id, a->key);
	else if (code != new_code)
		buf_addf(lines, "id %.*s: code %lld, was %lld\n", n_id, a->key, (long long)new_code,
			(long long)code);
	else if (a->result.at && !tells_of_the_process(s, a->key) && !is_same(a->result, b->result))
		buf_addf(lines, "id %.*s: another result\n", n_id, a->key);
	else
		return false;
	return true;
}

/* -- streams ---------------------------------------------------------------------------- */

static bool was_cut(const struct told_stream *s)
{
	return !s->event || is_cut_short(json_find(s->event_params, "finish_reason"));
}

static bool begins_alike(const struct buf *a, const struct buf *b)
{
	size_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
	return n == 0 || !memcmp(a->data, b->data, n);
}

static bool compare_stream(
	const struct rerun_sides *s, const struct told_stream *a, struct buf *lines)
{
	const struct told_stream *b;
	HASH_FIND(hh, s->fresh->streams, a->id, strlen(a->id), b);
	if (!b) {
		buf_addf(lines, "stream %s: not there\n", a->id);
		return true;
	}
	bool is_cut = was_cut(a) || was_cut(b);
	if (!begins_alike(&a->tokens, &b->tokens) ||
		(!is_cut && a->tokens.n_bytes != b->tokens.n_bytes))
		buf_addf(lines, "stream %s: other tokens\n", a->id);
	else if (!begins_alike(&a->text, &b->text) ||
		 (!is_cut && a->text.n_bytes != b->text.n_bytes))
		buf_addf(lines, "stream %s: another text\n", a->id);
	else if (a->event && !b->event)
		buf_addf(lines, "stream %s: no end\n", a->id);
	else if (!is_cut && !is_same(a->event_params, b->event_params))
		buf_addf(lines, "stream %s: another end\n", a->id);
	else
		return false;
	return true;
}

size_t rerun_compare(const struct rerun_sides *s, struct buf *lines, size_t *n_skipped)
{
	size_t n = 0;
	*n_skipped = 0;
	for (const struct told_answer *a = s->recorded->answers; a; a = a->hh.next) {
		if (is_circumstance(code_of(a)))
			++*n_skipped;
		else
			n += compare_answer(s, a, lines);
	}
	for (const struct told_stream *x = s->recorded->streams; x; x = x->hh.next)
		n += compare_stream(s, x, lines);
	for (const struct told_answer *a = s->fresh->answers; a; a = a->hh.next) {
		const struct told_answer *was;
		HASH_FIND_STR(s->recorded->answers, a->key, was);
		if (was || !s->recording->is_whole || s->recording->n_lost)
			continue;
		buf_addf(lines, "id %.*s: an answer that the record has not\n",
			(int)(strrchr(a->key, '#') - a->key), a->key);
		n++;
	}
	return n;
}
