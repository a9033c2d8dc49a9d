#include "protocol/json_scan.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct json_span span(const char *text)
{
	struct fault f;
	cr_assert_eq(json_scan(text, strlen(text), &f), 0, "%s", f.text);
	return (struct json_span) { text, strlen(text) };
}

static bool is(struct json_span s, const char *text)
{
	return s.at && s.n == strlen(text) && memcmp(s.at, text, s.n) == 0;
}

static const struct json_span absent;

Test(json_cursor, kinds_are_told_by_the_first_byte)
{
	cr_assert_eq(json_kind(span("{}")), '{');
	cr_assert_eq(json_kind(span("[]")), '[');
	cr_assert_eq(json_kind(span("\"x\"")), '"');
	cr_assert_eq(json_kind(span("true")), 't');
	cr_assert_eq(json_kind(span("false")), 'f');
	cr_assert_eq(json_kind(span("null")), 'n');
	cr_assert_eq(json_kind(span("-1")), '0');
	cr_assert_eq(json_kind(span("7")), '0');
	cr_assert_eq(json_kind(absent), 0);
}

Test(json_cursor, walks_members_whatever_stands_between_them)
{
	struct json_cursor c =
		json_iterate(span("{ \"a\" : [1,\"]}\",{\"x\":\"\\\"}\"}] "
				  ",\n\"b\\n\":-1.5e3\t,\"c\":{}, \"d\":\"\\\\\" }"));
	struct json_span k, v;
	cr_assert(json_next_member(&c, &k, &v));
	cr_assert(is(k, "\"a\"") && is(v, "[1,\"]}\",{\"x\":\"\\\"}\"}]"));
	cr_assert(json_next_member(&c, &k, &v));
	cr_assert(is(k, "\"b\\n\"") && is(v, "-1.5e3"));
	cr_assert(json_next_member(&c, &k, &v));
	cr_assert(is(k, "\"c\"") && is(v, "{}"));
	cr_assert(json_next_member(&c, &k, &v));
	cr_assert(is(k, "\"d\"") && is(v, "\"\\\\\""));
	cr_assert_not(json_next_member(&c, &k, &v));
	cr_assert_not(json_next_member(&c, &k, &v), "the end stays the end");
}

Test(json_cursor, walks_elements)
{
	struct json_cursor c = json_iterate(span("[ 1 , [ ] ,null,\"a,b\"]"));
	struct json_span v;
	cr_assert(json_next_element(&c, &v) && is(v, "1"));
	cr_assert(json_next_element(&c, &v) && is(v, "[ ]"));
	cr_assert(json_next_element(&c, &v) && is(v, "null"));
	cr_assert(json_next_element(&c, &v) && is(v, "\"a,b\""));
	cr_assert_not(json_next_element(&c, &v));
}

Test(json_cursor, objects_of_a_list_are_stepped_into_and_left)
{
	struct json_cursor c = json_iterate(
		span("[ {\"a\":[{\"b\":\"}]\"}],\"c\":2} , {},{ \"d\" : 3 } ,4,{\"e\":5}]"));
	struct json_cursor inside;
	struct json_span k, v;
	cr_assert(json_enter(&c, &inside));
	cr_assert(json_next_member(&inside, &k, &v));
	cr_assert(is(k, "\"a\"") && is(v, "[{\"b\":\"}]\"}]"));
	cr_assert(json_next_member(&inside, &k, &v) && is(k, "\"c\"") && is(v, "2"));
	cr_assert_not(json_next_member(&inside, &k, &v));
	json_leave(&c, &inside);
	cr_assert(json_enter(&c, &inside));
	cr_assert_not(json_next_member(&inside, &k, &v));
	json_leave(&c, &inside);
	cr_assert(json_enter(&c, &inside));
	cr_assert(json_next_member(&inside, &k, &v) && is(k, "\"d\"") && is(v, "3"));
	cr_assert_not(json_next_member(&inside, &k, &v));
	json_leave(&c, &inside);
	cr_assert_not(json_enter(&c, &inside));
	cr_assert(json_next_element(&c, &v) && is(v, "4"));
	cr_assert(json_next_element(&c, &v) && is(v, "{\"e\":5}"));
	cr_assert_not(json_enter(&c, &inside));
	c = json_iterate(absent);
	cr_assert_not(json_enter(&c, &inside));
}

Test(json_cursor, brackets_are_seen_wherever_they_stand_in_a_word)
{
	char text[64];
	for (size_t before = 0; before < 20; before++) {
		for (const char *mark = "[]{}x"; *mark; mark++) {
			struct json_span all, v;
			snprintf(text, sizeof text, "[[%*s1,[],{},\"%c\"],2]", (int)before, "",
				*mark);
			all = span(text);
			struct json_cursor c = json_iterate(all);
			cr_assert(json_next_element(&c, &v));
			cr_assert_eq(v.n, all.n - 4, "%s", text);
			cr_assert(json_next_element(&c, &v) && is(v, "2"));
		}
	}
}

Test(json_cursor, empty_and_absent_containers_have_nothing)
{
	static const char *const none[] = { "{}", "[]", "{ }", "[ \n ]" };
	struct json_span k, v;
	for (size_t i = 0; i < 4; i++) {
		struct json_cursor c = json_iterate(span(none[i]));
		cr_assert_not(json_next_element(&c, &v));
	}
	struct json_cursor c = json_iterate(absent);
	cr_assert_not(json_next_member(&c, &k, &v));
	c = json_iterate(span("12"));
	cr_assert_not(json_next_element(&c, &v));
}

Test(json_cursor, finds_a_member_of_this_object_only)
{
	struct json_span o = span("{\"x\":{\"id\":1},\"\\u0069d\":2,\"idx\":3}");
	cr_assert(is(json_find(o, "id"), "2"), "compared after unescaping");
	cr_assert(is(json_find(json_find(o, "x"), "id"), "1"));
	cr_assert_null(json_find(o, "i").at);
	cr_assert_null(json_find(o, "none").at);
	cr_assert_null(json_find(absent, "x").at);
	cr_assert_null(json_find(span("[\"id\",1]"), "id").at);
}

Test(json_cursor, strings_are_decoded)
{
	struct buf b = BUF_INIT;
	cr_assert(json_get_str(
		span("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00\xc3\xa9\""), &b));
	cr_assert_str_eq(
		buf_cstr(&b), "a\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa9");
	buf_clear(&b);
	cr_assert(json_get_str(span("\"a\\u0000b\""), &b));
	cr_assert(b.n_bytes == 3 && memcmp(b.data, "a\0b", 3) == 0);
	cr_assert(json_get_str(span("\"\""), &b));
	cr_assert_eq(b.n_bytes, 3, "appended");
	cr_assert_not(json_get_str(span("1"), &b));
	cr_assert_not(json_get_str(absent, &b));
	buf_release(&b);
}

Test(json_cursor, a_string_is_copied_only_if_it_fits_as_one)
{
	char out[4];
	cr_assert(json_copy_str(span("\"abc\""), out, sizeof out));
	cr_assert_str_eq(out, "abc");
	cr_assert(json_copy_str(span("\"\\u0061\\u0062\\u0063\""), out, sizeof out));
	cr_assert_str_eq(out, "abc");
	cr_assert(json_copy_str(span("\"\""), out, sizeof out));
	cr_assert_str_eq(out, "");
	cr_assert_not(json_copy_str(span("\"abcd\""), out, sizeof out));
	cr_assert_not(json_copy_str(span("\"a\\u0000\""), out, sizeof out));
	cr_assert_not(json_copy_str(span("1"), out, sizeof out));
	cr_assert_not(json_copy_str(span("\"\""), out, 0));
}

Test(json_cursor, strings_compare_after_unescaping)
{
	cr_assert(json_str_is(span("\"2.0\""), "2.0"));
	cr_assert(json_str_is(span("\"\\u0032.0\""), "2.0"));
	cr_assert_not(json_str_is(span("\"2.0\\u0000\""), "2.0"));
	cr_assert_not(json_str_is(span("\"2.00\""), "2.0"));
	cr_assert_not(json_str_is(span("\"\""), "2.0"));
	cr_assert_not(json_str_is(span("2.0"), "2.0"));
}

Test(json_cursor, a_string_is_found_among_names)
{
	static const char *const names[] = { "id", "ids", "model_id" };
	cr_assert_eq(json_str_among(span("\"id\""), names, 3), 0);
	cr_assert_eq(json_str_among(span("\"ids\""), names, 3), 1);
	cr_assert_eq(json_str_among(span("\"\\u006dodel_id\""), names, 3), 2);
	cr_assert_eq(json_str_among(span("\"i\""), names, 3), 3);
	cr_assert_eq(json_str_among(span("\"\""), names, 3), 3);
	cr_assert_eq(json_str_among(span("1"), names, 3), 3);
	cr_assert_eq(json_str_among(absent, names, 3), 3);
}

Test(json_cursor, integers_are_exact_or_refused)
{
	static const struct {
		const char *text;
		int64_t value;
	} good[] = { { "0", 0 }, { "-0", 0 }, { "0.0", 0 }, { "0e999999999999", 0 }, { "1e2", 100 },
		{ "1.0", 1 }, { "1.50e1", 15 }, { "-12.5e+1", -125 }, { "1200e-2", 12 },
		{ "9223372036854775807", INT64_MAX }, { "-9223372036854775808", INT64_MIN },
		{ "9223372036854775807.000", INT64_MAX }, { "0.0000000000000000001e19", 1 },
		{ "9.223372036854775807e18", INT64_MAX }, { "100000000000000000000000e-23", 1 },
		{ "1e18", 1000000000000000000 } };
	static const char *const bad[] = { "1.5", "1e-1", "9223372036854775808",
		"-9223372036854775809", "18446744073709551616", "1e19", "1e400",
		"1e99999999999999999999", "123456789012345678901234567890", "\"1\"", "true", "null",
		"[]", "0.1e0", "1e-99999999999999999999" };
	int64_t v;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		cr_assert(json_get_int(span(good[i].text), &v), "%s", good[i].text);
		cr_assert_eq(v, good[i].value, "%s", good[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_not(json_get_int(span(bad[i]), &v), "%s", bad[i]);
	cr_assert_not(json_get_int(absent, &v));
}

Test(json_cursor, numbers_and_booleans)
{
	double d;
	bool b;
	cr_assert(json_get_num(span("-1.5e3"), &d) && d == -1500);
	cr_assert(json_get_num(span("1e-400"), &d) && d == 0);
	cr_assert_not(json_get_num(span("1e400"), &d), "infinity is no JSON number");
	cr_assert_not(json_get_num(span("\"1\""), &d));
	cr_assert(json_get_bool(span("true"), &b) && b);
	cr_assert(json_get_bool(span("false"), &b) && !b);
	cr_assert_not(json_get_bool(span("0"), &b));
	/* The span ends inside a longer run of digits. */
	cr_assert(json_get_num((struct json_span) { "12345", 2 }, &d) && d == 12);
}
