/* json_tree() gives json-c's tree the same characters as json_get_str(). */
#include "protocol/json_tree.h"
#include "protocol/utf8.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct json_span text(const char *s)
{
	return (struct json_span) { s, strlen(s) };
}

static void is_string(const char *json, const char *expected)
{
	struct json_object *o = json_tree(text(json));
	cr_assert(json_object_is_type(o, json_type_string), "%s", json);
	cr_expect_str_eq(json_object_get_string(o), expected, "%s", json);
	json_object_put(o);
}

Test(json_tree, every_character_above_the_basic_plane_survives_its_escape)
{
	for (uint32_t cp = 0x10000; cp <= 0x10ffff; cp += 0x89) {
		char json[32], expected[5] = "";
		const uint32_t bits = cp - 0x10000;
		snprintf(json, sizeof json, "\"\\u%04x\\u%04X\"", 0xd800 + (bits >> 10),
			0xdc00 + (bits & 0x3ff));
		utf8_encode(cp, expected);
		is_string(json, expected);
	}
	is_string("\"\\ud837\\ude00\"", "\xf0\x9d\xb8\x80");
	is_string("\"a\\uD87A\\uDDEFb\\n\"", "a\xf0\xae\xa7\xaf"
					     "b\n");
}

Test(json_tree, an_escaped_backslash_before_a_pair_is_no_pair)
{
	is_string("\"\\\\ud837\\\\ude00\"", "\\ud837\\ude00");
	is_string("\"\\\\\\ud837\\ude00\"", "\\\xf0\x9d\xb8\x80");
}

Test(json_tree, keys_and_nested_values_are_read_too)
{
	struct json_object *o =
		json_tree(text("{\"\\ud837\\ude00\":[1,{\"x\":\"\\ud837\\ude01\"}]}"));
	struct json_object *list, *x;
	cr_assert(json_object_object_get_ex(o, "\xf0\x9d\xb8\x80", &list));
	cr_assert(json_object_object_get_ex(json_object_array_get_idx(list, 1), "x", &x));
	cr_expect_str_eq(json_object_get_string(x), "\xf0\x9d\xb8\x81");
	json_object_put(o);
}

Test(json_tree, a_bare_number_and_a_bare_word_are_whole_values)
{
	struct json_object *o = json_tree(text("12"));
	cr_expect_eq(json_object_get_int(o), 12);
	json_object_put(o);
	o = json_tree(text("true"));
	cr_expect(json_object_get_boolean(o));
	json_object_put(o);
	cr_expect_null(json_tree(text("null")));
	cr_expect_null(json_tree((struct json_span) { NULL, 0 }));
}
