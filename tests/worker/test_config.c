#include "worker/model/config.h"
#include <criterion/criterion.h>
#include <string.h>

static struct config *parse(const char *json)
{
	struct config *c = NULL;
	struct fault f = { 0 };

	cr_assert_eq(config_parse(json, strlen(json), "c.json", &c, &f), 0, "%s", f.text);
	return c;
}

static void says(struct config *c, const char *text)
{
	struct fault f = { 0 };

	cr_assert_eq(config_finish(c, &f), ERR_MODEL_LOAD);
	cr_assert_str_eq(f.text, text);
	config_free(c);
}

Test(config, fields_are_read_and_presets_stand_in_for_absent_ones)
{
	struct config *c =
		parse("{\"a\":3,\"b\":1.5,\"c\":true,\"d\":\"x\\u0041\",\"e\":null,\"g\":1e2}\n");
	struct fault f = { 0 };

	cr_assert_eq(config_size(c, "a"), 3);
	cr_assert_eq(config_num(c, "b"), 1.5);
	cr_assert(config_bool_or(c, "c", false));
	cr_assert_str_eq(config_str(c, "d"), "xA");
	cr_assert_eq(config_size_or(c, "e", 9), 9);
	cr_assert_eq(config_count_or(c, "f", 0), 0);
	cr_assert_eq(config_size(c, "g"), 100);
	cr_assert(config_is_null(c, "e") && !config_is_null(c, "f") && !config_has(c, "e"));
	cr_assert_eq(config_finish(c, &f), 0, "%s", f.text);
	config_free(c);
}

Test(config, a_missing_field_is_named)
{
	struct config *c = parse("{}");

	cr_assert_eq(config_size(c, "hidden_size"), 1, "a value to go on with");
	says(c, "c.json: hidden_size: this field is missing");
}

Test(config, the_first_error_is_kept)
{
	struct config *c = parse("{\"a\":\"x\",\"b\":-1}");

	config_size(c, "a");
	config_size(c, "b");
	says(c, "c.json: a: not an integer");
}

Test(config, values_of_the_wrong_type_or_size_are_named)
{
	struct config *c;

	c = parse("{\"a\":-1}");
	config_size(c, "a");
	says(c, "c.json: a: -1 is out of range");
	c = parse("{\"a\":0}");
	config_size_or(c, "a", 4);
	says(c, "c.json: a: 0 is out of range");
	c = parse("{\"a\":2147483648}");
	config_size(c, "a");
	says(c, "c.json: a: 2147483648 is out of range");
	c = parse("{\"a\":1.5}");
	config_size(c, "a");
	says(c, "c.json: a: not an integer");
	c = parse("{\"a\":[]}");
	config_num(c, "a");
	says(c, "c.json: a: not a number");
	c = parse("{\"a\":1}");
	config_bool_or(c, "a", false);
	says(c, "c.json: a: neither true nor false");
	c = parse("{\"a\":1}");
	config_str(c, "a");
	says(c, "c.json: a: not a string");
	c = parse("{\"a\":1}");
	config_object(c, "a");
	says(c, "c.json: a: not an object");
}

Test(config, a_field_nobody_asked_for_is_refused_by_name)
{
	says(parse("{\"secret_scaling\":2}"), "c.json: secret_scaling: this field is not "
					      "understood here and could change the result");
}

Test(config, a_field_of_a_nested_object_is_named_with_its_path)
{
	struct config *c = parse("{\"rope\":{\"factor\":2,\"twist\":1}}");

	cr_assert_eq(config_num(config_object(c, "rope"), "factor"), 2);
	says(c, "c.json: rope.twist: this field is not understood here and could change the "
		"result");
}

Test(config, neutral_and_switched_off_fields_pass)
{
	struct config *c =
		parse("{\"architectures\":[\"X\"],\"_anything\":1,\"use_cache\":true,"
		      "\"torch_dtype\":\"bfloat16\",\"odd\":null,\"odder\":false,\"oddest\":[],"
		      "\"last\":{}}");
	struct fault f = { 0 };

	cr_assert_eq(config_finish(c, &f), 0, "%s", f.text);
	config_free(c);
}

Test(config, arrays_are_read_whole_or_refused)
{
	struct config *c = parse("{\"a\":[1,2,3],\"s\":[\"x\",\"y\"]}");
	double v[3];

	cr_assert(config_nums(c, "a", v, 3, false) && v[0] == 1 && v[2] == 3);
	cr_assert_eq(config_array_count(c, "s"), 2);
	cr_assert_str_eq(config_array_str(c, "s", 1), "y");
	cr_assert_not(config_nums(c, "absent", v, 3, false));
	cr_assert_not(config_nums(c, "a", v, 2, false));
	says(c, "c.json: a: has 3 elements where 2 are needed");
	c = parse("{\"a\":[1,\"x\"]}");
	cr_assert_not(config_nums(c, "a", v, 2, false));
	says(c, "c.json: a: element 1 is not a number");
}

Test(config, text_that_is_not_an_object_is_refused)
{
	static const char *const BAD[] = { "", "[]", "3", "{\"a\":NaN}", "{\"a\":1,\"a\":2}", "{" };

	for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
		struct config *c = NULL;
		struct fault f = { 0 };
		cr_expect_eq(config_parse(BAD[i], strlen(BAD[i]), "c.json", &c, &f), ERR_MODEL_LOAD,
			"%s", BAD[i]);
		cr_expect(strstr(f.text, "c.json: ") == f.text, "%s", f.text);
	}
}
