#include "protocol/buf.h"
#include "protocol/json_scan.h"
#include "protocol/utf8.h"
#include <criterion/criterion.h>
#include <float.h>
#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct buf b;

static void release(void)
{
	buf_release(&b);
}
TestSuite(buf, .fini = release);
TestSuite(jout, .fini = release);

Test(buf, needs_no_call_to_be_a_string)
{
	cr_assert_str_eq(buf_cstr(&b), "");
	buf_adds(&b, "ab");
	buf_addc(&b, 'c');
	buf_add(&b, "", 0);
	buf_addf(&b, "-%d", 42);
	cr_assert_str_eq(buf_cstr(&b), "abc-42");
	cr_assert_eq(b.n_bytes, 6);
}

Test(buf, grows_through_every_size_and_formats_beyond_its_room)
{
	for (size_t i = 0; i < 5000; i++)
		buf_addc(&b, (char)('a' + i % 26));
	for (size_t i = 0; i < 5000; i++)
		cr_assert_eq(b.data[i], (char)('a' + i % 26));
	buf_clear(&b);
	buf_addf(&b, "%0*d", 100000, 7);
	cr_assert_eq(b.n_bytes, 100000);
	cr_assert_eq(strlen(buf_cstr(&b)), 100000);
}

Test(buf, consumes_from_the_front)
{
	buf_adds(&b, "hello world");
	buf_consume(&b, 6);
	cr_assert_str_eq(buf_cstr(&b), "world");
	buf_consume(&b, 99);
	cr_assert_eq(b.n_bytes, 0);
}

Test(buf, detaching_leaves_it_empty_and_usable)
{
	char *none = buf_detach(&b);
	cr_assert_str_eq(none, "");
	buf_adds(&b, "mine");
	char *mine = buf_detach(&b);
	cr_assert_str_eq(mine, "mine");
	cr_assert_eq(b.n_bytes, 0);
	buf_adds(&b, "again");
	cr_assert_str_eq(buf_cstr(&b), "again");
	free(none);
	free(mine);
}

static void expect(const char *json)
{
	cr_assert_str_eq(buf_cstr(&b), json);
	buf_clear(&b);
}

Test(jout, every_single_character_reads_back_as_itself)
{
	for (uint32_t cp = 0; cp <= 0x10ffff; cp += cp < 0x3000 ? 1 : 97) {
		char c[4];
		if (cp >= 0xd800 && cp <= 0xdfff)
			continue;
		size_t n = (size_t)utf8_encode(cp, c);
		buf_clear(&b);
		jout_str(&b, c, n);
		cr_assert_eq(json_scan(b.data, b.n_bytes, NULL), 0, "U+%04X", cp);
		struct buf back = BUF_INIT;
		json_get_str((struct json_span) { b.data, b.n_bytes }, &back);
		cr_assert(back.n_bytes == n && memcmp(back.data, c, n) == 0, "U+%04X", cp);
		buf_release(&back);
	}
}

Test(jout, escapes_are_the_short_ones_where_json_has_them)
{
	jout_cstr(&b, "\"\\\b\f\n\r\t/");
	expect("\"\\\"\\\\\\b\\f\\n\\r\\t/\"");
	jout_str(&b, "\0\x01\x1f\x7f", 4);
	expect("\"\\u0000\\u0001\\u001f\\u007f\"");
}

Test(jout, line_ends_of_other_languages_are_escaped)
{
	jout_cstr(&b, "a\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\xc2\xa0");
	expect("\"a\\u0085\\u2028\\u2029\xe2\x80\xaa\xc2\xa0\"");
}

Test(jout, bytes_that_are_not_utf8_become_replacement_characters)
{
	jout_cstr(&b, "a\xff"
		      "b\xe2\x82");
	expect("\"a\xef\xbf\xbd"
	       "b\xef\xbf\xbd\xef\xbf\xbd\"");
	jout_cstr(&b, "\xed\xa0\x80");
	expect("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

Test(jout, random_bytes_always_make_a_valid_string)
{
	unsigned seed = 12345;
	for (int round = 0; round < 20000; round++) {
		char bytes[24];
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
		buf_clear(&b);
		jout_str(&b, bytes, sizeof bytes);
		cr_assert_eq(json_scan(b.data, b.n_bytes, NULL), 0, "round %d", round);
	}
}

Test(jout, integers_print_whole_at_both_ends)
{
	jout_int(&b, INT64_MIN);
	expect("-9223372036854775808");
	jout_int(&b, INT64_MAX);
	expect("9223372036854775807");
	jout_uint(&b, UINT64_MAX);
	expect("18446744073709551615");
	jout_int(&b, 0);
	expect("0");
}

Test(jout, numbers_are_short_and_read_back_exactly)
{
	static const double values[] = { 0, 0.1, 1, -1.5, 1e300, DBL_MIN, DBL_MAX, 4.9e-324,
		1.0 / 3, 0.1 + 0.2, 123456789.125, 1e15, 9007199254740993.0 };
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		buf_clear(&b);
		jout_num(&b, values[i]);
		cr_assert_eq(strtod(buf_cstr(&b), NULL), values[i], "%s", buf_cstr(&b));
		cr_assert_eq(json_scan(b.data, b.n_bytes, NULL), 0, "%s", buf_cstr(&b));
	}
	buf_clear(&b);
	jout_num(&b, 0.1);
	expect("0.1");
	jout_float(&b, 0.1f);
	expect("0.1");
	jout_float(&b, 16777216.0f);
	expect("16777216");
}

Test(jout, floats_read_back_as_the_same_float)
{
	uint32_t seed = 1;
	for (int i = 0; i < 100000; i++) {
		float v;
		seed = seed * 1664525u + 1013904223u;
		memcpy(&v, &seed, sizeof v);
		if (!isfinite(v))
			continue;
		buf_clear(&b);
		jout_float(&b, v);
		cr_assert_eq(strtof(buf_cstr(&b), NULL), v, "%s", buf_cstr(&b));
	}
}

Test(jout, what_json_cannot_say_is_null)
{
	jout_num(&b, NAN);
	buf_addc(&b, ' ');
	jout_num(&b, INFINITY);
	buf_addc(&b, ' ');
	jout_num(&b, -INFINITY);
	buf_addc(&b, ' ');
	jout_float(&b, -INFINITY);
	buf_addc(&b, ' ');
	jout_float(&b, NAN);
	buf_addc(&b, ' ');
	jout_cstr(&b, NULL);
	expect("null null null null null null");
}

Test(jout, commas_place_themselves)
{
	buf_addc(&b, '{');
	jout_key_int(&b, "a", 1);
	jout_key_cstr(&b, "b", "{");
	jout_key_bool(&b, "c", false);
	jout_key(&b, "d");
	buf_addc(&b, '[');
	jout_sep(&b);
	jout_int(&b, 1);
	jout_sep(&b);
	jout_bool(&b, true);
	buf_addc(&b, ']');
	jout_key_raw(&b, "e", "{}", 2);
	jout_key_num(&b, "f", 0.5);
	jout_key_str(&b, "g", "xyz", 2);
	buf_addc(&b, '}');
	expect("{\"a\":1,\"b\":\"{\",\"c\":false,\"d\":[1,true],\"e\":{},\"f\":0.5,\"g\":\"xy\"}");
}
