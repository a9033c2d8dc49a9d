#include "protocol/frame.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What came out, one line each: `text`, <too long> or <bad header>. */
static struct buf out;

static void release(void)
{
	buf_release(&out);
}
TestSuite(frame, .fini = release);

static void drain(struct frame_reader *r)
{
	const char *text;
	size_t n;
	for (;;) {
		switch (frame_next(r, &text, &n)) {
		case FRAME_NEED_MORE: return;
		case FRAME_TEXT: buf_add(&out, text, n); break;
		case FRAME_TOO_LONG: buf_adds(&out, "<too long>"); break;
		case FRAME_BAD_HEADER: buf_adds(&out, "<bad header>"); break;
		}
		buf_addc(&out, '\n');
	}
}

static void feed(struct frame_reader *r, const char *bytes, size_t n)
{
	char *to = frame_space(r, n);
	if (n)
		memcpy(to, bytes, n);
	frame_fed(r, n);
	drain(r);
}

struct input {
	enum framing framing;
	size_t max_bytes;
	const char *bytes;
	size_t n;
};

/* Feed in pieces cut at `cut`, or one by one if it is SIZE_MAX. */
static const char *run(struct input in, size_t cut)
{
	struct frame_reader r;
	buf_clear(&out);
	frame_reader_init(&r, in.framing, in.max_bytes);
	if (cut == SIZE_MAX) {
		for (size_t i = 0; i < in.n; i++)
			feed(&r, in.bytes + i, 1);
	} else {
		feed(&r, in.bytes, cut);
		feed(&r, in.bytes + cut, in.n - cut);
	}
	frame_eof(&r);
	drain(&r);
	frame_reader_release(&r);
	return buf_cstr(&out);
}

/* The same whatever the cut. */
static void expect(enum framing framing, size_t max, const char *bytes, const char *wanted)
{
	struct input in = { framing, max, bytes, strlen(bytes) };
	cr_assert_str_eq(run(in, SIZE_MAX), wanted, "byte by byte: %s", bytes);
	for (size_t cut = 0; cut <= in.n; cut++)
		cr_assert_str_eq(run(in, cut), wanted, "cut at %zu: %s", cut, bytes);
}

Test(frame, lines_are_messages_at_every_cut)
{
	expect(FRAMING_AUTO, 100, "{\"a\":1}\n[2]\n\"x\"\n", "{\"a\":1}\n[2]\n\"x\"\n");
	expect(FRAMING_NDJSON, 100, "Content\nx\n", "Content\nx\n");
}

Test(frame, blank_lines_and_carriage_returns_are_not_messages)
{
	expect(FRAMING_AUTO, 100, "\n \r\n\t\n{}\r\n\r\n\n[]\n \n", "{}\n[]\n");
}

Test(frame, a_last_line_needs_no_end)
{
	expect(FRAMING_AUTO, 100, "{}\n[1]", "{}\n[1]\n");
	expect(FRAMING_AUTO, 100, "{}\n   ", "{}\n");
	expect(FRAMING_AUTO, 100, "", "");
	expect(FRAMING_AUTO, 100, " \n ", "");
}

Test(frame, a_byte_order_mark_at_the_start_is_skipped)
{
	expect(FRAMING_AUTO, 100, "\xef\xbb\xbf{}\n", "{}\n");
	expect(FRAMING_AUTO, 100, "\n\xef\xbb\xbf \n{}\n", "{}\n");
	expect(FRAMING_AUTO, 100,
		"\xef\xbb\xbf"
		"Content-Length: 2\r\n\r\n{}",
		"{}\n");
	expect(FRAMING_AUTO, 100, "{}\n\xef\xbb\xbf{}\n", "{}\n\xef\xbb\xbf{}\n");
	expect(FRAMING_AUTO, 100, "\xef\xbb", "\xef\xbb\n");
}

Test(frame, the_first_byte_decides_for_the_session)
{
	struct frame_reader r;
	frame_reader_init(&r, FRAMING_AUTO, 100);
	feed(&r, "  \n", 3);
	cr_assert_eq(r.framing, FRAMING_AUTO);
	feed(&r, "c", 1);
	cr_assert_eq(r.framing, FRAMING_LSP);
	frame_reader_release(&r);
	frame_reader_init(&r, FRAMING_AUTO, 100);
	feed(&r, "", 1);
	cr_assert_eq(r.framing, FRAMING_NDJSON, "a NUL is a line that will not parse");
	frame_reader_release(&r);
	expect(FRAMING_AUTO, 100, "nonsense\n{}\n", "nonsense\n{}\n");
	expect(FRAMING_AUTO, 100, "{}\nContent-Length: 2\n", "{}\nContent-Length: 2\n");
}

Test(frame, an_over_long_line_costs_one_answer)
{
	expect(FRAMING_AUTO, 8, "12345678\n123456789\n12345678\r\n1\n",
		"12345678\n<too long>\n12345678\n1\n");
	expect(FRAMING_AUTO, 4, "[1234567890123456789012345678901]\n{}\n", "<too long>\n{}\n");
	expect(FRAMING_AUTO, 4, "[1234567890", "<too long>\n");
	expect(FRAMING_AUTO, 4, "12345\r\n1234\r\r\n1234\r\n", "<too long>\n<too long>\n1234\n");
	expect(FRAMING_AUTO, 4, "         \n{}\n", "{}\n");
}

Test(frame, an_over_long_line_is_not_kept)
{
	struct frame_reader r;
	static char chunk[1 << 16];
	memset(chunk, 'x', sizeof chunk);
	buf_clear(&out);
	frame_reader_init(&r, FRAMING_NDJSON, 1 << 20);
	for (int i = 0; i < 70 * 16; i++)
		feed(&r, chunk, sizeof chunk);
	cr_assert_lt(r.in.cap, (size_t)8 << 20, "70 MB went by");
	feed(&r, "\n{}\n", 4);
	cr_assert_str_eq(buf_cstr(&out), "<too long>\n{}\n");
	frame_reader_release(&r);
}

Test(frame, bad_lines_between_good_ones_stay_apart)
{
	struct buf in = BUF_INIT, wanted = BUF_INIT;
	for (int i = 0; i < 200; i++) {
		buf_addf(&in, "{\"id\":%d}\n{\"broken\":[[[\"\n", i);
		buf_addf(&wanted, "{\"id\":%d}\n{\"broken\":[[[\"\n", i);
	}
	struct input input = { FRAMING_AUTO, 100, buf_cstr(&in), in.n_bytes };
	cr_assert_str_eq(run(input, SIZE_MAX), buf_cstr(&wanted));
	cr_assert_str_eq(run(input, 0), buf_cstr(&wanted));
	buf_release(&in);
	buf_release(&wanted);
}

Test(frame, headers_are_read_at_every_cut)
{
	expect(FRAMING_AUTO, 100, "Content-Length: 2\r\n\r\n{}Content-Length: 3\r\n\r\n[1]",
		"{}\n[1]\n");
	expect(FRAMING_AUTO, 100,
		"content-type: application/vscode-jsonrpc; charset=utf8\r\n"
		"CONTENT-LENGTH:5\r\nX-Other: 1\r\n\r\n{\n\r\n}",
		"{\n\r\n}\n");
	expect(FRAMING_LSP, 100, "Content-Length: 2\n\n{}\r\n\r\nContent-Length:\t1 \r\n\r\n1",
		"{}\n1\n");
	expect(FRAMING_LSP, 100, "Content-Length: 0\r\n\r\nContent-Length: 1\r\n\r\n1", "\n1\n");
}

Test(frame, an_unfinished_body_at_the_end_is_no_message)
{
	expect(FRAMING_LSP, 100, "Content-Length: 5\r\n\r\n{}", "");
	expect(FRAMING_LSP, 100, "Content-Length: 5\r\n", "");
}

Test(frame, an_over_long_body_is_skipped_to_its_end)
{
	expect(FRAMING_LSP, 4, "Content-Length: 5\r\n\r\n12345Content-Length: 4\r\n\r\n1234",
		"<too long>\n1234\n");
}

Test(frame, a_bad_header_costs_one_answer_and_the_next_message_works)
{
	static const char *const bad[] = { "Content-Type: x\r\n\r\n", "Content-Length: x\r\n\r\n",
		"Content-Length: -1\r\n\r\n", "Content-Length: 1 2\r\n\r\n",
		"Content-Length\r\n\r\n", "Content-Length:\r\n\r\n",
		"Content-Length: 99999999999999999999999\r\n\r\n",
		"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", "Content-Lengthy: 2\r\n\r\n",
		"c\r\n\r\n" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char text[256];
		snprintf(text, sizeof text, "%sContent-Length: 2\r\n\r\n{}", bad[i]);
		expect(FRAMING_LSP, 100, text, "<bad header>\n{}\n");
	}
}

Test(frame, a_body_behind_a_bad_header_does_not_swallow_the_next_header)
{
	expect(FRAMING_LSP, 100,
		"Content-Length: two\r\n\r\n{\"id\":1}Content-Length: 2\r\n\r\n{}"
		"Content-Length: 2\r\n\r\n[]",
		"<bad header>\n{}\n[]\n");
}

Test(frame, bytes_without_end_are_one_bad_header)
{
	struct buf in = BUF_INIT;
	buf_adds(&in, "C");
	for (int i = 0; i < 3000; i++)
		buf_adds(&in, "garbage ");
	buf_adds(&in, "\r\n\r\nContent-Length: 2\r\n\r\n{}");
	struct input input = { FRAMING_AUTO, 100, buf_cstr(&in), in.n_bytes };
	char *whole = strdup(run(input, 0));
	cr_assert_eq(strncmp(whole, "<bad header>\n", 13), 0);
	cr_assert_str_eq(whole + strlen(whole) - 3, "{}\n");
	for (size_t cut = 0; cut < in.n_bytes; cut += 97)
		cr_assert_str_eq(run(input, cut), whole, "cut at %zu", cut);
	cr_assert_str_eq(run(input, SIZE_MAX), whole);
	free(whole);
	buf_release(&in);
}

Test(frame, what_is_written_is_read_back_in_both_framings)
{
	for (int framing = FRAMING_AUTO; framing <= FRAMING_LSP; framing++) {
		struct buf wire = BUF_INIT;
		frame_write(&wire, (enum framing)framing, "{\"id\":1}", 8);
		frame_write(&wire, (enum framing)framing, "[]", 2);
		struct input in = { FRAMING_AUTO, 100, buf_cstr(&wire), wire.n_bytes };
		cr_assert_str_eq(run(in, 3), "{\"id\":1}\n[]\n");
		buf_release(&wire);
	}
	struct buf wire = BUF_INIT;
	frame_write(&wire, FRAMING_LSP, "{}", 2);
	cr_assert_str_eq(buf_cstr(&wire), "Content-Length: 2\r\n\r\n{}");
	buf_release(&wire);
}

Test(frame, names_of_framings)
{
	enum framing f;
	cr_assert(frame_parse_name("lsp", &f) && f == FRAMING_LSP);
	cr_assert(frame_parse_name("ndjson", &f) && f == FRAMING_NDJSON);
	cr_assert(frame_parse_name("auto", &f) && f == FRAMING_AUTO);
	cr_assert_not(frame_parse_name("LSP", &f));
	cr_assert_not(frame_parse_name("", &f));
}
