/* test_stream.c - the order of a stream, and its single end. */
#include "controller/stream.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct streams ss;
static struct buf written;
static int n_ended;

static void on_write(void *arg, const char *text, size_t n)
{
	(void)arg;
	buf_add(&written, text, n);
	buf_addc(&written, ' ');
}

static void on_ended(void *arg, struct stream *s)
{
	(void)arg, (void)s;
	n_ended++;
}

static void start(void)
{
	ss.write = on_write;
	ss.ended = on_ended;
}

static void stop(void)
{
	buf_release(&written);
}
TestSuite(stream, .init = start, .fini = stop);

static bool pass(struct stream *s, enum stream_kind kind, const char *text)
{
	return stream_pass(&ss, s, kind, text, strlen(text));
}

Test(stream, an_id_is_unique_until_its_stream_is_over)
{
	struct stream *s = stream_reserve(&ss, "a");
	cr_assert_null(stream_reserve(&ss, "a"));
	stream_open(&ss, s);
	pass(s, STREAM_EVENT, "end");
	cr_assert_null(stream_find(&ss, "a"));
	s = stream_reserve(&ss, "a");
	cr_assert_not_null(s);
	stream_free(&ss, s);
	cr_assert_eq(n_ended, 2);
}

Test(stream, nothing_is_heard_before_the_handshake)
{
	struct stream *s = stream_reserve(&ss, "a");
	pass(s, STREAM_CHUNK, "one");
	pass(s, STREAM_CHUNK, "two");
	cr_assert_eq(written.n_bytes, 0);
	stream_open(&ss, s);
	pass(s, STREAM_CHUNK, "three");
	cr_assert_str_eq(buf_cstr(&written), "one two three ");
	stream_free(&ss, s);
}

Test(stream, one_that_ended_before_its_handshake_is_told_whole_and_then_gone)
{
	struct stream *s = stream_reserve(&ss, "a");
	pass(s, STREAM_CHUNK, "chunk");
	pass(s, STREAM_STATS, "stats");
	pass(s, STREAM_EVENT, "event");
	cr_assert_eq(n_ended, 0);
	stream_open(&ss, s);
	cr_assert_str_eq(buf_cstr(&written), "chunk stats event ");
	cr_assert_eq(n_ended, 1);
	cr_assert_eq(ss.n, 0);
}

Test(stream, what_comes_out_of_order_is_dropped_and_counted)
{
	struct stream *s = stream_reserve(&ss, "a");
	pass(s, STREAM_STATS, "stats");
	cr_assert_not(pass(s, STREAM_CHUNK, "late"));
	cr_assert_not(pass(s, STREAM_STATS, "again"));
	pass(s, STREAM_EVENT, "event");
	cr_assert_not(pass(s, STREAM_EVENT, "again"));
	cr_assert_eq(ss.n_stray, 3);
	stream_open(&ss, s);
	cr_assert_str_eq(buf_cstr(&written), "stats event ");
}

Test(stream, what_belongs_to_an_end_comes_with_it_or_not_at_all)
{
	struct stream *s = stream_reserve(&ss, "a");
	stream_open(&ss, s);
	pass(s, STREAM_CHUNK, "one");
	pass(s, STREAM_TAIL, "tail");
	cr_assert_not(pass(s, STREAM_CHUNK, "late"));
	pass(s, STREAM_STATS, "stats");
	cr_assert_str_eq(buf_cstr(&written), "one ");
	stream_rewind(s);
	cr_assert(pass(s, STREAM_CHUNK, "two"));
	pass(s, STREAM_TAIL, "first");
	pass(s, STREAM_TAIL, "second");
	pass(s, STREAM_STATS, "again");
	pass(s, STREAM_EVENT, "event");
	cr_assert_str_eq(buf_cstr(&written), "one two first second again event ");
	cr_assert_eq(n_ended, 1);
}

Test(stream, an_end_of_our_own_follows_what_there_was_of_the_workers)
{
	struct stream *s = stream_reserve(&ss, "a");
	stream_open(&ss, s);
	pass(s, STREAM_TAIL, "tail");
	pass(s, STREAM_STATS, "stats");
	stream_end(&ss, s, "cancelled", (struct json_span) { NULL, 0 });
	cr_assert_eq(strncmp(buf_cstr(&written), "tail stats {", 12), 0);
}

static struct json_span text(const char *json)
{
	return (struct json_span) { json, strlen(json) };
}

static void note(struct stream *s, int64_t choice, int64_t index, int64_t id)
{
	stream_note_token(s, &(struct stream_token) { id, index, choice });
}

Test(stream, tokens_are_logged_with_their_choices_and_a_gap_ends_the_log)
{
	struct stream *s = stream_reserve(&ss, "a");
	for (int64_t i = 0; i < 100; i++)
		note(s, 0, i, 7 * i);
	cr_assert_null(s->choices);
	for (int64_t i = 0; i < 100; i++)
		note(s, 1 + i % 2, i / 2, i);
	cr_assert_eq(s->n_tokens, 200);
	for (size_t i = 0; i < 200; i++) {
		cr_assert_eq(s->tokens[i], (int32_t)(i < 100 ? 7 * i : i - 100));
		cr_assert_eq(s->choices[i], i < 100 ? 0 : 1 + i % 2);
	}
	cr_assert_not(s->is_unloggable);
	note(s, 2, 51, 1);
	cr_assert(s->is_unloggable);
	stream_free(&ss, s);
}

Test(stream, what_no_log_can_hold_is_noticed)
{
	static const struct stream_token bad[] = { { -1, 0, 0 }, { 5, -1, 0 }, { 5, 1, 0 },
		{ 5, 0, -1 }, { 5, 0, LIMIT_N }, { (int64_t)INT32_MAX + 1, 0, 0 } };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct stream *s = stream_reserve(&ss, "a");
		stream_note_token(s, &bad[i]);
		cr_assert(s->is_unloggable, "case %zu", i);
		stream_free(&ss, s);
	}
}

Test(stream, one_that_its_host_resumes_counts_on_from_there)
{
	struct stream *s = stream_reserve(&ss, "a");
	stream_resume(s, text("[5,6,7]"), text("[0,1,1]"));
	cr_assert_eq(s->n_before, 3);
	note(s, 0, 1, 1);
	note(s, 1, 2, 1);
	cr_assert_not(s->is_unloggable);
	note(s, 0, 0, 1);
	cr_assert(s->is_unloggable);
	stream_free(&ss, s);
}

Test(stream, an_end_of_our_own_names_code_and_data)
{
	static const char error[] =
		"{\"code\":-32009,\"message\":\"Worker crashed\",\"data\":{\"x\":1}}";
	struct stream *s = stream_reserve(&ss, "a\"b");
	stream_open(&ss, s);
	stream_end(&ss, s, NULL, (struct json_span) { error, sizeof error - 1 });
	cr_assert_str_eq(buf_cstr(&written), "{\"jsonrpc\":\"2.0\",\"method\":\"stream.event\","
					     "\"params\":{\"stream_id\":\"a\\\"b\","
					     "\"event\":\"error\",\"error\":\"Worker "
					     "crashed\",\"code\":-32009,\"data\":{\"x\":1},"
					     "\"finish_reason\":\"error\",\"is_final\":true}} ");
	cr_assert_eq(n_ended, 1);
}

Test(stream, ids_of_our_own_avoid_those_in_use)
{
	char first[64], second[64], taken[64];
	stream_make_id(&ss, first, sizeof first);
	ss.n_made = 0;
	stream_reserve(&ss, first);
	stream_make_id(&ss, second, sizeof second);
	cr_assert_str_neq(first, second);
	snprintf(taken, sizeof taken, "%s", first);
	stream_free(&ss, stream_find(&ss, taken));
}
