#include "protocol/json_scan.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fault f;

static int scan(const char *text)
{
	return json_scan(text, strlen(text), &f);
}

static void accepts(const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(scan(texts[i]), 0, "%s: %s", texts[i], f.text);
}

static void refuses(const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(scan(texts[i]), ERR_PARSE, "accepted: %s", texts[i]);
}
#define LIST(...)                              \
	(const char *const[]) { __VA_ARGS__ }, \
		sizeof((const char *[]) { __VA_ARGS__ }) / sizeof(char *)

Test(json_scan, accepts_every_kind_of_value_with_space_around_it)
{
	accepts(LIST("{}", "[]", " \t\r\n1 \t\r\n", "\"\"", "true", "false", "null", "[{}]",
		"{\"a\":[1,2,{\"b\":null}]}", " { \"a\" : 1 , \"b\" : [ ] } ", "[[],[[]],{}]",
		"{\"\":0}"));
}

Test(json_scan, accepts_numbers_as_rfc_8259_writes_them)
{
	accepts(LIST("0", "-0", "0.0", "-0.1e-10", "1E+2", "1e400", "10", "1.000",
		"123456789012345678901234567890", "0e0", "1e-400"));
}

Test(json_scan, refuses_numbers_of_other_languages)
{
	refuses(LIST("01", "-01", "+1", "1.", "2.e3", ".5", "-.123", "-", "1e", "1e+", "0x10",
		"1_0", "NaN", "-NaN", "Infinity", "-Infinity", "nan", "1.2.3", "--1", "1-", "0e",
		"[1 2]", "1e1.5", "[-]", "[0.e1]", "[1.e]"));
}

/* The files of nst/JSONTestSuite that json-c 0.16 accepts even when strict, by content. */
Test(json_scan, refuses_what_json_c_lets_through)
{
	refuses(LIST("[NaN]", "[-NaN]", "[Infinity]", "[-Infinity]", "[-01]", "[-012]", "[-.123]",
		"[-1.]", "[-2.]", "[1.]", "[2.e3]", "[2.e+3]", "[2.e-3]", "[0.e1]", "{'a':0}",
		"['a']", "[\"a\nb\"]", "[\"\t\"]", "[\"new\nline\"]", "[\"tab\there\"]"));
	cr_assert_eq(json_scan("[\"a\0a\"]", 7, &f), ERR_PARSE);
}

Test(json_scan, refuses_broken_structure)
{
	refuses(LIST("", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]",
		"{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":1 \"b\":2}",
		"{1:1}", "{a:1}", "{\"a\":1]", "[1}", "[1]]", "{}}", "1 2", "{} []", "tru", "truex",
		"nul", "fals", "True", "[true false]", "// c\n1", "/* c */1", "1//", "#1",
		"{\"a\"::1}", "{\"a\":1,,\"b\":2}", "[\"a\",\n4\n,1,", "{\"a\":\"a\" 123}",
		"[\"x\"\"y\"]", "[\"x\":1]", "\f1", "\v1", "\u00a01"));
	cr_assert_eq(json_scan("1\0", 2, &f), ERR_PARSE);
	cr_assert_eq(json_scan("\0", 1, &f), ERR_PARSE);
	cr_assert_eq(json_scan(NULL, 0, &f), ERR_PARSE);
}

Test(json_scan, every_prefix_of_a_text_is_refused)
{
	static const char text[] =
		"{\"a\":[1.5e3,\"x\\u00e9\\ud83d\\ude00\",true,null,{\"b\":{}}]}";
	for (size_t n = 0; n + 1 < sizeof text; n++) {
		/* From the heap, so that reading past the end is seen. */
		char *copy = memcpy(malloc(n ? n : 1), text, n);
		cr_assert_eq(json_scan(copy, n, &f), ERR_PARSE, "%zu bytes", n);
		free(copy);
	}
	cr_assert_eq(scan(text), 0);
}

Test(json_scan, strings_hold_any_utf8_and_every_escape)
{
	accepts(LIST("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"\\u0000\"", "\"\\uD83D\\uDE00\"", "\"\\ud83d\\ude00\"", "\"\x7f\"",
		"\"\\uFFFF\"", "\"\xf4\x8f\xbf\xbf\"", "\"\xe2\x80\xa8\""));
	refuses(LIST("\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u123g\"", "\"\\U1234\"",
		"\"\\'\"", "\"\\", "\"\\u", "\"\x1f\"", "\"\n\"", "\"\\ud83d\"", "\"\\ude00\"",
		"\"\\ud83dx\"", "\"\\ud83d\\n\"", "\"\\ud83d\\ud83d\"", "\"\\ude00\\ud83d\"",
		"\"\\ud83d\\u0041\"", "\"\\u+123\"", "\"\\u 123\""));
}

Test(json_scan, bytes_that_are_not_utf8_are_refused_wherever_they_stand)
{
	static const char *const bad[] = { "\xff", "\x80", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x82",
		"\xf4\x90\x80\x80" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		for (int pad = 0; pad < 20; pad++) {
			char text[64];
			snprintf(text, sizeof text, "\"%.*s%s%.*s\"", pad, "aaaaaaaaaaaaaaaaaaaa",
				bad[i], 20 - pad, "bbbbbbbbbbbbbbbbbbbb");
			cr_assert_eq(scan(text), ERR_PARSE, "case %zu after %d", i, pad);
		}
	}
	refuses(LIST("\xef\xbb\xbf{}", "[\xff]", "{\"\xff\":1}"));
}

/* Eight bytes are passed at a time: each special byte must be seen at each place. */
Test(json_scan, a_control_character_is_seen_at_every_offset)
{
	for (size_t at = 1; at < 40; at++) {
		for (int c = 0; c < 0x20; c++) {
			char text[41];
			memset(text, '~', sizeof text);
			text[0] = text[40] = '"';
			text[at] = (char)c;
			cr_assert_eq(
				json_scan(text, sizeof text, &f), ERR_PARSE, "%02x at %zu", c, at);
		}
	}
}

Test(json_scan, nesting_is_bounded_without_recursion)
{
	char text[2 * 300 + 1];
	for (size_t depth = 255; depth <= 257; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		cr_assert_eq(
			json_scan(text, 2 * depth, &f), depth <= 256 ? 0 : ERR_PARSE, "%zu", depth);
	}
	size_t n = (size_t)64 << 20;
	char *deep = malloc(n);
	memset(deep, '[', n);
	cr_assert_eq(json_scan(deep, n, &f), ERR_PARSE);
	cr_assert_str_eq(f.text, "Parse error: nesting deeper than 256 levels at byte 256");
	free(deep);
}

Test(json_scan, duplicate_keys_are_refused_however_they_are_spelt)
{
	refuses(LIST("{\"a\":1,\"a\":2}", "{\"a\":1,\"b\":{},\"a\":2}", "{\"a\":1,\"\\u0061\":2}",
		"{\"\\u0061\":1,\"a\":2}", "{\"x\":{\"k\":1,\"k\":1}}", "{\"\":1,\"\":2}",
		"{\"\\/\":1,\"/\":2}", "{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}"));
	accepts(LIST("{\"a\":1,\"A\":2}", "{\"a\":{\"a\":{\"a\":1}}}", "[{\"a\":1},{\"a\":1}]",
		"{\"a\":1,\"b\":{\"a\":1},\"c\":1}", "{\"a\":{\"b\":1},\"b\":{\"a\":1}}",
		"{\"a\\u005c\":1,\"a\":2}"));
}

Test(json_scan, a_key_with_nul_in_it_is_refused)
{
	refuses(LIST("{\"a\\u0000b\":1}", "{\"\\u0000\":1}"));
	accepts(LIST("{\"a\":\"\\u0000\"}"));
}

/* n keys k0..; the one at `again` is k0 once more. */
static struct buf many_keys(size_t n, size_t again)
{
	struct buf b = BUF_INIT;
	buf_addc(&b, '{');
	for (size_t i = 0; i < n; i++) {
		char key[24];
		snprintf(key, sizeof key, "k%zu", i == again ? 0 : i);
		jout_key_int(&b, key, 1);
	}
	buf_addc(&b, '}');
	return b;
}

Test(json_scan, a_duplicate_is_found_in_objects_of_every_size)
{
	for (size_t n = 2; n < 70; n++) {
		struct buf good = many_keys(n, SIZE_MAX), bad = many_keys(n, n - 1);
		cr_assert_eq(json_scan(good.data, good.n_bytes, &f), 0, "%zu: %s", n, f.text);
		cr_assert_eq(json_scan(bad.data, bad.n_bytes, &f), ERR_PARSE, "%zu", n);
		buf_release(&good);
		buf_release(&bad);
	}
}

Test(json_scan, a_million_keys_are_no_trouble, .timeout = 60)
{
	struct buf good = many_keys(1000000, SIZE_MAX), bad = many_keys(1000000, 999999);
	cr_assert_eq(json_scan(good.data, good.n_bytes, &f), 0);
	cr_assert_eq(json_scan(bad.data, bad.n_bytes, &f), ERR_PARSE);
	buf_release(&good);
	buf_release(&bad);
}

Test(json_scan, says_what_is_wrong_and_where)
{
	cr_assert_eq(scan("{\"a\":1,\n\"b\":tru}"), ERR_PARSE);
	cr_assert_str_eq(f.text, "Parse error: not a JSON value at byte 12");
	cr_assert_str_eq(f.data, "\"offset\":12");
	cr_assert_eq(scan("{\"a\":1,\"a\":2}"), ERR_PARSE);
	cr_assert_str_eq(f.text, "Parse error: a key that its object already has at byte 7");
	cr_assert_eq(json_scan("]", 1, NULL), ERR_PARSE, "nobody needs to read it");
}
