/* test_record.c - what is recorded comes back, and what cannot be kept is counted. */
#include "controller/controller.h"
#include "controller/record.h"
#include "controller/recording.h"
#include "controller/rerun.h"
#include "protocol/log.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct event_base *base;
static struct fault f;
static char path[] = "/tmp/record-XXXXXX";

static void begin(void)
{
	log_init("test", LOG_ERROR);
	base = controller_event_base();
	close(mkstemp(path));
}

static void end(void)
{
	event_base_free(base);
	unlink(path);
}
TestSuite(record, .init = begin, .fini = end, .timeout = 60);

static struct record *open_record(size_t max_bytes)
{
	static char *const options[] = { "--workers=2", "--", "--verbose", NULL };
	struct record *r = record_open(base, path, max_bytes, options, &f);
	cr_assert_not_null(r, "%s", f.text);
	return r;
}

static void put(struct record *r, enum record_dir dir, const char *text)
{
	record_frame(r, dir, text, strlen(text));
}

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");
	cr_assert(file && fputs(text, file) >= 0);
	fclose(file);
}

Test(record, every_frame_comes_back_byte_for_byte_whatever_it_was)
{
	static const struct {
		enum record_dir dir;
		const char *text;
		bool is_json;
	} frames[] = {
		{ RECORD_IN, "{\"id\": 1 ,\"method\":\"ping\"}", true },
		{ RECORD_OUT, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", true },
		{ RECORD_IN, "{\"id\":2,\n\"method\":\"ping\"}", true },
		{ RECORD_IN, "{broken \"\\", false },
		{ RECORD_IN, "{\"a\":\"\xff\"}", false },
		{ RECORD_IN, "[]", true },
	};
	struct recording got;
	struct stat st;
	size_t n = sizeof frames / sizeof frames[0];
	int there = open(path, O_WRONLY | O_CREAT, 0644);
	cr_assert(there >= 0 && close(there) == 0);
	struct record *r = open_record(RECORD_FILE_BYTES);
	for (size_t i = 0; i < n; i++)
		put(r, frames[i].dir, frames[i].text);
	record_close(r);
	cr_assert_eq(recording_open(&got, path, &f), 0, "%s", f.text);
	cr_assert_eq(got.n_frames, n);
	for (size_t i = 0; i < n; i++) {
		const struct recorded *x = &got.frames[i];
		cr_assert_eq(x->dir, frames[i].dir);
		cr_assert_eq(x->is_json, frames[i].is_json, "%zu", i);
		cr_assert_eq(x->text.n, strlen(frames[i].text));
		cr_assert_eq(memcmp(x->text.at, frames[i].text, x->text.n), 0, "%zu", i);
	}
	cr_assert(got.is_whole && got.n_lost == 0);
	cr_assert_eq(got.n_options, 4);
	cr_assert_str_eq(got.options[1], "--workers=2");
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600, "prompts are the owner's");
	recording_release(&got);
}

Test(record, a_frame_as_deep_as_json_may_be_comes_back_too)
{
	char deep[2 * JSON_DEPTH_MAX + 1] = "";
	struct recording got;
	struct record *r = open_record(RECORD_FILE_BYTES);
	memset(deep, '[', JSON_DEPTH_MAX);
	memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	cr_assert_eq(json_scan(deep, strlen(deep), &f), 0, "%s", f.text);
	put(r, RECORD_IN, deep);
	record_close(r);
	cr_assert_eq(recording_open(&got, path, &f), 0, "%s", f.text);
	cr_assert(got.n_frames == 1 && got.frames[0].is_json);
	cr_assert_eq(memcmp(got.frames[0].text.at, deep, strlen(deep)), 0);
	recording_release(&got);
}

Test(record, a_full_file_ends_and_says_so)
{
	struct recording got;
	struct record *r = open_record(400);
	for (int i = 0; i < 100; i++)
		put(r, RECORD_IN, "{\"method\":\"ping\",\"params\":{}}");
	record_close(r);
	cr_assert_eq(recording_open(&got, path, &f), 0, "%s", f.text);
	cr_assert(got.n_frames > 0 && got.n_frames < 10, "%zu", got.n_frames);
	cr_assert_not(got.is_whole);
	recording_release(&got);
}

Test(record, a_message_that_was_too_long_counts_as_lost)
{
	struct recording got;
	struct record *r = open_record(RECORD_FILE_BYTES);
	record_unread(r);
	put(r, RECORD_OUT, "{\"id\":null}");
	record_close(r);
	cr_assert_eq(recording_open(&got, path, &f), 0, "%s", f.text);
	cr_assert_eq(got.n_lost, 1);
	cr_assert_eq(got.n_frames, 1);
	recording_release(&got);
}

/* Nobody reads the FIFO, so that the writing process stands still. */
Test(record, what_a_slow_file_does_not_take_is_left_out_and_the_wire_never_waits)
{
	static char frame[1 << 20], heard[1 << 20];
	size_t n_heard = 0;
	unlink(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	int reader = open(path, O_RDWR | O_NONBLOCK);
	struct record *r = open_record(RECORD_FILE_BYTES);
	memset(frame, ' ', sizeof frame);
	frame[0] = '{';
	frame[sizeof frame - 2] = '}';
	frame[sizeof frame - 1] = '\0';
	for (int i = 0; i < 20; i++) {
		put(r, RECORD_IN, frame);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	/* Now it is read, until a line tells of those left out. */
	for (bool is_told = false; !is_told;) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		ssize_t n = read(reader, heard, sizeof heard - 1);
		if (n <= 0) {
			put(r, RECORD_IN, "{}");
			continue;
		}
		n_heard += (size_t)n;
		is_told = memmem(heard, (size_t)n, "\"lost\":", 7) != NULL;
	}
	cr_assert_lt(n_heard, 20 * sizeof frame);
	close(reader);
	record_close(r);
}

Test(record, a_file_that_cannot_be_or_is_no_record_is_an_error)
{
	struct recording got;
	cr_assert_null(record_open(base, "/nonexistent/x", 1, NULL, &f));
	cr_assert(strstr(f.text, "/nonexistent/x"));
	static const char *const bad[] = { "", "{}\n", "no\n", "[1]\n",
		"{\"record\":2,\"options\":[]}\n", "{\"record\":1}\n",
		"{\"record\":1,\"options\":[]}\n{\"dir\":\"up\",\"frame\":{}}\n",
		"{\"record\":1,\"options\":[]}\n{\"dir\":\"in\"}\n",
		"{\"record\":1,\"options\":[]}\n{\"dir\":\"in\",\"hex\":\"0g\"}\n",
		"{\"record\":1,\"options\":[]}\n{\"dir\":\"in\",\"hex\":\"0\"}\n" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		write_file(bad[i]);
		cr_assert_lt(recording_open(&got, path, &f), 0, "%s", bad[i]);
		recording_release(&got);
	}
	cr_assert_lt(recording_open(&got, "/nonexistent/x", &f), 0);
	recording_release(&got);
}

Test(record, a_last_line_cut_short_is_left_out)
{
	struct recording got;
	write_file("{\"record\":1,\"options\":[]}\n{\"us\":1,\"dir\":\"in\",\"frame\":{}}\n{\"us\":"
		   "2,\"d");
	cr_assert_eq(recording_open(&got, path, &f), 0, "%s", f.text);
	cr_assert_eq(got.n_frames, 1);
	cr_assert_not(got.is_whole);
	recording_release(&got);
}

/* -- comparing -------------------------------------------------------------------------- */

static void add(struct transcript *t, const char *text)
{
	cr_assert_eq(json_scan(text, strlen(text), &f), 0, "%s: %s", text, f.text);
	transcript_add(t, (struct json_span) { text, strlen(text) });
}

#define ANSWER(id, result) "{\"id\":" id ",\"result\":" result "}"
#define ERROR(id, code)    "{\"id\":" id ",\"error\":{\"code\":" code ",\"message\":\"\"}}"
#define STREAM(what, more) \
	"{\"method\":\"stream." what "\",\"params\":{\"stream_id\":\"s\"," more "}}"
#define TOKEN(id, index, text) "\"token\":\"" text "\",\"token_id\":" id ",\"index\":" index
#define WHOLE(text, tokens, why) \
	"{\"text\":\"" text "\",\"tokens\":[" tokens "],\"finish_reason\":\"" why "\"}"
#define END(reason) STREAM("event", "\"event\":\"completed\",\"finish_reason\":\"" reason "\"")

Test(record, transcripts_differ_in_what_counts_and_not_in_what_measures)
{
	static const struct {
		const char *was[4], *is[4];
		size_t n, n_skipped;
	} cases[] = {
		{ { ANSWER("1", "{\"a\":[1,{\"b\":2}],\"load_ms\":1}") },
			{ ANSWER("1", "{\"load_ms\":2,\"a\":[1,{\"b\":2}]}") }, 0, 0 },
		{ { ANSWER("1", "{\"a\":1}") }, { ANSWER("1", "{\"a\":2}") }, 1, 0 },
		{ { ANSWER("1", "{\"a\":1}") }, { ANSWER("1", "{\"a\":1,\"b\":1}") }, 1, 0 },
		{ { ANSWER("1", "{\"a\":[1]}") }, { ANSWER("1", "{\"a\":[1,2]}") }, 1, 0 },
		{ { ANSWER("1", "{\"a\":[1,2]}") }, { ANSWER("1", "{\"a\":[1]}") }, 1, 0 },
		{ { ANSWER("1", "{}") }, { ERROR("1", "-32099") }, 1, 0 },
		{ { ERROR("1", "-32602") }, { ERROR("1", "-32602") }, 0, 0 },
		{ { ERROR("1", "-32006") }, { ANSWER("1", "{}") }, 0, 1 },
		{ { ANSWER("\"1\"", "{}") }, { ANSWER("1", "{}") }, 2, 0 },
		{ { ANSWER("1", "{}"), ANSWER("1", "{}") }, { ANSWER("1", "{}") }, 1, 0 },
		{ { ANSWER("1", "{}") }, { ANSWER("1", "{}"), ANSWER("1", "{}") }, 1, 0 },
		{ { STREAM("chunk", TOKEN("5", "0", "a")), STREAM("chunk", TOKEN("6", "1", "b")),
			  END("length") },
			{ STREAM("chunk", "\"tokens\":[{" TOKEN("5", "0", "a") "},{" TOKEN(
						  "6", "1", "b") "}]"),
				END("length") },
			0, 0 },
		{ { STREAM("chunk", TOKEN("5", "0", "a")), END("length") },
			{ STREAM("chunk", TOKEN("6", "0", "a")), END("length") }, 1, 0 },
		{ { STREAM("chunk", TOKEN("5", "0", "a")), END("length") },
			{ STREAM("chunk", TOKEN("5", "1", "a")), END("length") }, 1, 0 },
		{ { STREAM("chunk", TOKEN("5", "0", "a")), END("length") },
			{ STREAM("chunk", TOKEN("5", "0", "b")), END("length") }, 1, 0 },
		{ { STREAM("chunk", TOKEN("5", "0", "a")), END("length") },
			{ STREAM("chunk", TOKEN("5", "0", "a")), END("stop") }, 1, 0 },
		{ { STREAM("chunk", TOKEN("5", "0", "a")), END("length") },
			{ STREAM("chunk", TOKEN("5", "0", "a")) }, 1, 0 },
		{ { STREAM("chunk", TOKEN("5", "0", "a")), END("cancelled") },
			{ STREAM("chunk", TOKEN("5", "0", "a")),
				STREAM("chunk", TOKEN("6", "1", "b")), END("length") },
			0, 0 },
		{ { STREAM("chunk", TOKEN("5", "0", "a")), END("cancelled") },
			{ STREAM("chunk", TOKEN("6", "0", "b")), END("cancelled") }, 1, 0 },
		{ { END("length") }, { ANSWER("1", "{}") }, 2, 0 },
		{ { ANSWER("1", WHOLE("a b", "1,2", "timeout")) },
			{ ANSWER("1", WHOLE("a b c", "1,2,3", "length")) }, 0, 0 },
		{ { ANSWER("1", WHOLE("a b", "1,2", "cancelled")) },
			{ ANSWER("1", WHOLE("", "", "cancelled")) }, 0, 0 },
		{ { ANSWER("1", WHOLE("a b", "1,2", "timeout")) },
			{ ANSWER("1", WHOLE("a c d", "1,2", "length")) }, 1, 0 },
		{ { ANSWER("1", WHOLE("a b", "1,2", "timeout")) },
			{ ANSWER("1", WHOLE("a b", "1,21", "length")) }, 1, 0 },
		{ { ANSWER("1", WHOLE("a b", "1,2", "length")) },
			{ ANSWER("1", WHOLE("a b c", "1,2,3", "length")) }, 1, 0 },
	};
	const struct recording recording = { .is_whole = true };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct transcript was = { 0 }, is = { 0 };
		struct buf lines = BUF_INIT;
		size_t n_skipped;
		for (int k = 0; k < 4; k++) {
			if (cases[i].was[k])
				add(&was, cases[i].was[k]);
			if (cases[i].is[k])
				add(&is, cases[i].is[k]);
		}
		struct rerun_sides sides = { &recording, &was, &is, NULL };
		cr_assert_eq(rerun_compare(&sides, &lines, &n_skipped), cases[i].n, "%zu: %s", i,
			buf_cstr(&lines));
		cr_assert_eq(n_skipped, cases[i].n_skipped, "%zu", i);
		buf_release(&lines);
		transcript_release(&was);
		transcript_release(&is);
	}
}

static void expect_request(const char *answer, const char *frame, const char *sent)
{
	struct transcript told = { 0 };
	struct rerun_asked *asked = NULL, *a, *next;
	struct buf out = BUF_INIT;
	add(&told, answer);
	rerun_write_request(&out, (struct json_span) { frame, strlen(frame) }, &told, &asked);
	cr_assert_str_eq(buf_cstr(&out), sent);
	HASH_ITER (hh, asked, a, next) {
		HASH_DEL(asked, a);
		free(a->key);
		free(a);
	}
	buf_release(&out);
	transcript_release(&told);
}

Test(record, what_was_left_to_chance_is_asked_for_and_all_else_stays_as_it_was)
{
	expect_request(ANSWER("1", "{\"stream_id\":\"x\",\"seed\":7}"),
		"{\"id\":1,\"method\":\"generate\",\"params\":{\"model_id\":\"m\",\"seed\":null}}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{\"model_id\":"
		"\"m\",\"seed\":7,\"stream_id\":\"x\"}}");
	expect_request(ANSWER("1", "{\"stream_id\":\"x\",\"seed\":7}"),
		"{\"id\":1,\"method\":\"generate\",\"params\":{\"stream_id\":\"y\",\"seed\":9}}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{\"stream_id\":"
		"\"y\",\"seed\":9}}");
	expect_request(ANSWER("1", "{\"results\":[{\"result\":{\"seed\":3}},{\"result\":null}]}"),
		"[{\"id\":1,\"method\":\"batch_generate\",\"params\":{\"requests\":[{},{}]}}]",
		"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"batch_generate\",\"params\":{"
		"\"requests\":[{\"seed\":3},{}]}}]");
	expect_request(ANSWER("1", "{\"structuredContent\":{\"seed\":3}}"),
		"{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"generate\","
		"\"arguments\":{}}}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
		"\"generate\",\"arguments\":{\"seed\":3}}}");
	expect_request(ANSWER("1", "{}"), "{\"id\": 1,\"method\":\"ping\"}",
		"{\"id\": 1,\"method\":\"ping\"}");
	expect_request(ERROR("1", "-1"), "{\"id\": 1,\"method\":\"generate\"}",
		"{\"id\": 1,\"method\":\"generate\"}");
	expect_request(ANSWER("1", "{}"), "[1,{\"method\":\"exit\"}]", "[1,{\"method\":\"exit\"}]");
}
