#include "protocol/err.h"
#include "protocol/utf8.h"
#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

Test(err, every_wire_code_leads_back_to_its_error)
{
	for (int e = ERR_PARSE; e >= ERR_CANCELLED; e--) {
		cr_assert_eq(err_from_code(err_info(e)->code), e, "%d", e);
		cr_assert_not_null(err_info(e)->type);
	}
	cr_assert_eq(err_from_code(-1), ERR_RUNTIME);
	cr_assert_eq(err_from_code(0), ERR_RUNTIME);
}

Test(err, codes_are_those_of_the_protocol)
{
	static const struct {
		int err, code;
		const char *type;
	} rows[] = { { ERR_PARSE, -32700, "parse_error" }, { ERR_INVALID_REQUEST, -32600, NULL },
		{ ERR_METHOD_NOT_FOUND, -32601, NULL }, { ERR_INVALID_PARAMS, -32602, NULL },
		{ ERR_INTERNAL, -32603, "internal" }, { ERR_MODEL_LOAD, -32001, "model_load" },
		{ ERR_GENERATION, -32002, "generation" }, { ERR_TOKENIZER, -32003, "tokenizer" },
		{ ERR_GUIDANCE, -32004, "guidance" },
		{ ERR_MODEL_NOT_LOADED, -32005, "model_not_loaded" },
		{ ERR_OVERLOADED, -32006, "overloaded" },
		{ ERR_CONTEXT_OVERFLOW, -32007, "context_overflow" },
		{ ERR_TIMEOUT, -32008, "timeout" },
		{ ERR_WORKER_CRASHED, -32009, "worker_crashed" },
		{ ERR_SHUTTING_DOWN, -32010, "shutting_down" },
		{ ERR_MODEL_BUSY, -32011, "model_busy" }, { ERR_NOMEM, -32012, "out_of_memory" },
		{ ERR_DRAFT_INCOMPATIBLE, -32013, "draft_incompatible" },
		{ ERR_RUNTIME, -32099, "runtime" }, { ERR_CANCELLED, -32800, "cancelled" } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		cr_assert_eq(err_info(rows[i].err)->code, rows[i].code, "row %zu", i);
		if (rows[i].type)
			cr_assert_str_eq(err_info(rows[i].err)->type, rows[i].type);
	}
}

Test(err, any_integer_has_a_row)
{
	static const int odd[] = { 1, 99, INT_MAX, INT_MIN, ERR_LAST - 1, ERR_IO, ERR_AGAIN };
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
		cr_assert_eq(err_info(odd[i])->code, -32603, "%d", odd[i]);
}

Test(fault, set_returns_its_error_and_forgets_the_data_of_the_last)
{
	struct fault f = { 0 };
	cr_assert_eq(fault_set(&f, ERR_IO, "first"), ERR_IO);
	fault_add_int(&f, "n", 1);
	cr_assert_eq(fault_set(&f, ERR_MODEL_LOAD, "layer %d: %s", 3, f.text), ERR_MODEL_LOAD);
	cr_assert_str_eq(f.text, "layer 3: first");
	cr_assert_str_eq(f.data, "");
	cr_assert_eq(fault_set(NULL, ERR_IO, "nobody reads this"), ERR_IO);
}

Test(fault, text_is_cut_between_characters_and_always_utf8)
{
	char text[2 * FAULT_TEXT_MAX];
	for (size_t pad = 0; pad < 4; pad++) {
		struct fault f;
		memset(text, 'a', pad);
		for (size_t i = pad; i + 4 < sizeof text; i += 4)
			memcpy(text + i, "\xf0\x9f\x98\x80", 5);
		fault_set(&f, ERR_IO, "%s", text);
		cr_assert_geq(strlen(f.text), FAULT_TEXT_MAX - 5);
		cr_assert(utf8_is_valid(f.text, strlen(f.text)));
	}
	struct fault f;
	fault_set(&f, ERR_IO, "a\xff%s", "b\xe2\x82");
	cr_assert_str_eq(f.text, "a?b??");
}

Test(fault, members_are_escaped_and_joined)
{
	struct fault f;
	fault_set(&f, ERR_IO, "x");
	fault_add_str(&f, "path", "a\"b\n");
	fault_add_int(&f, "n", -5);
	fault_add_bool(&f, "ok", true);
	fault_add_json(&f, "list", "[1,2]");
	fault_add_str(&f, "none", NULL);
	cr_assert_str_eq(
		f.data, "\"path\":\"a\\\"b\\n\",\"n\":-5,\"ok\":true,\"list\":[1,2],\"none\":null");
	fault_add_int(NULL, "n", 1);
	fault_add_str(NULL, "n", "");
	fault_add_bool(NULL, "n", true);
	fault_add_json(NULL, "n", "1");
}

Test(fault, a_member_that_does_not_fit_is_left_out_whole)
{
	struct fault f;
	char big[FAULT_DATA_MAX];
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	fault_set(&f, ERR_IO, "x");
	fault_add_int(&f, "a", 1);
	fault_add_str(&f, "big", big);
	fault_add_int(&f, "b", 2);
	cr_assert_str_eq(f.data, "\"a\":1,\"b\":2");
	for (int i = 0; i < 1000; i++)
		fault_add_int(&f, "member", i);
	cr_assert_lt(strlen(f.data), FAULT_DATA_MAX);
	cr_assert_eq(f.data[strlen(f.data) - 1] >= '0', 1, "ends with a whole member");
}
