#include "tests/worker/desk.h"
#include <criterion/criterion.h>

TestSuite(text_calls, .timeout = 600);

Test(text_calls, tokenize_gives_ids_pieces_and_their_count_as_asked)
{
	struct desk *d = desk_new_loaded();
	const char *a = desk_ask(d, "1", "tokenize",
		"{\"model_id\":\"m\",\"text\":\"It was a cold "
		"evening\",\"add_special_tokens\":false}");
	cr_assert(desk_is(a, "result.tokens", "[1073,316,263,1567,1431]"), "%s", a);
	cr_assert(desk_is(a, "result.count", "5"));
	const char *b = desk_ask(d, "2", "tokenize",
		"{\"model_id\":\"m\",\"text\":\"It was\",\"return_strings\":false}");
	cr_assert_not(strstr(b, "token_strings"));
	const char *c = desk_ask(
		d, "3", "tokenize", "{\"model_id\":\"m\",\"text\":\"It was\",\"count_only\":true}");
	cr_assert(desk_is(c, "result", "{\"count\":3}"));
	desk_free(d);
}

Test(text_calls, detokenize_is_the_way_back_and_checks_its_ids)
{
	struct desk *d = desk_new_loaded();
	const char *a = desk_ask(
		d, "1", "detokenize", "{\"model_id\":\"m\",\"tokens\":[1073,316,263,1567,1431]}");
	cr_assert(desk_is(a, "result.text", "\"It was a cold evening\""), "%s", a);
	const char *b = desk_ask(d, "2", "detokenize", "{\"model_id\":\"m\",\"tokens\":[1,99999]}");
	cr_assert(desk_is(b, "error.data.path", "\"tokens[1]\""), "%s", b);
	cr_assert(desk_is(desk_ask(d, "3", "detokenize", "{\"model_id\":\"m\",\"tokens\":[]}"),
		"result.text", "\"\""));
	desk_free(d);
}

Test(text_calls, a_result_larger_than_a_frame_says_how_to_ask_for_less)
{
	struct desk *d = desk_new_loaded();
	struct buf text = BUF_INIT;
	while (text.n_bytes < ((size_t)3 << 20))
		buf_adds(&text, "1 a ! ");
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tokenize\",\"params\":{\"model_id\":"
		"\"m\","
		"\"text\":\"%s\"}}",
		buf_cstr(&text));
	const char *a = desk_hear(d, "\"id\":1,");
	cr_assert(desk_is(a, "error.code", "-32602"));
	cr_assert(strstr(a, "count_only") && strstr(a, "return_strings"));
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tokenize\",\"params\":{\"model_id\":"
		"\"m\","
		"\"text\":\"%s\",\"count_only\":true}}",
		buf_cstr(&text));
	cr_assert(strstr(desk_hear(d, "\"id\":2,"), "\"count\":"));
	buf_release(&text);
	desk_free(d);
}

Test(text_calls, a_long_text_gives_the_same_ids_as_its_parts_and_does_not_hold_the_line)
{
	struct desk *d = desk_new_loaded();
	struct buf text = BUF_INIT;
	for (int i = 0; i < 12000; i++)
		buf_adds(&text, "the house and the garden\\n");
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tokenize\",\"params\":{\"model_id\":"
		"\"m\","
		"\"add_special_tokens\":false,\"count_only\":true,\"text\":\"%s\"}}",
		buf_cstr(&text));
	const char *part = desk_ask(d, "2", "tokenize",
		"{\"model_id\":\"m\",\"add_special_tokens\":false,\"count_only\":true,"
		"\"text\":\"the house and the garden\\n\"}");
	int64_t one = 0, all = 0;
	json_get_int(desk_find(part, "result.count"), &one);
	json_get_int(desk_find(desk_hear(d, "\"id\":1,"), "result.count"), &all);
	cr_assert_eq(all, 12000 * one);
	buf_release(&text);
	desk_free(d);
}

Test(text_calls, a_batch_keeps_the_order_and_a_bad_item_fails_alone)
{
	struct desk *d = desk_new_loaded();
	const char *a = desk_ask(d, "1", "batch_tokenize",
		"{\"requests\":[{\"model_id\":\"m\",\"text\":\"a\",\"count_only\":true},"
		"{\"model_id\":\"m\"},7,{\"model_id\":\"m\",\"text\":\"a b "
		"c\",\"count_only\":true}]}");
	struct json_cursor c = json_iterate(desk_find(a, "result.results"));
	struct json_span one[4];
	for (int i = 0; i < 4; i++)
		cr_assert(json_next_element(&c, &one[i]), "%s", a);
	cr_assert(json_find(json_find(one[0], "result"), "count").at[0] == '2');
	cr_assert(json_find(one[1], "success").at[0] == 'f');
	cr_assert(json_find(one[2], "success").at[0] == 'f');
	cr_assert(json_find(json_find(one[3], "result"), "count").at[0] == '4');
	desk_free(d);
}
