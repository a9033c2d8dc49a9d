#include "tests/worker/desk.h"
#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(check_draft, .timeout = 600);

static bool is_refused(struct desk *d, const char *params, const char *word)
{
	const char *answer = desk_ask(d, "1", "check_draft", params);
	return desk_is(answer, "error.code", "-32602") && strstr(answer, word);
}

Test(check_draft, a_model_with_itself_is_compatible_but_no_gain)
{
	struct desk *d = desk_new_loaded();
	const char *a =
		desk_ask(d, "1", "check_draft", "{\"primary_id\":\"m\",\"draft_id\":\"m\"}");
	cr_assert(desk_is(a, "result.compatible", "true"), "%s", a);
	cr_assert(desk_is(a, "result.errors", "[]"));
	cr_assert(strstr(a, "6,951,168"));
	cr_assert(desk_is(a, "result.details.performance_estimate.expected_speedup", "\"1.00x\""));
	cr_assert(desk_is(a, "result.details.performance_estimate.size_ratio", "\"100.0%\""));
	cr_assert(desk_is(a, "result.details.performance_estimate.size_ratio_value", "1"));
	cr_assert(desk_is(a, "result.details.performance_estimate.recommendation",
		"\"May not provide significant speedup\""));
	desk_free(d);
}

Test(check_draft, mixed_or_missing_forms_are_refused_and_name_what_is_wrong)
{
	struct desk *d = desk_new_loaded();
	cr_assert(is_refused(d, "{}", "primary_id"));
	cr_assert(is_refused(d, "{\"primary_id\":\"m\"}", "draft_id"));
	cr_assert(is_refused(
		d, "{\"primary_id\":\"m\",\"draft_id\":\"m\",\"model_id\":\"m\"}", "one form"));
	cr_assert(is_refused(d, "{\"primary_id\":\"m\",\"draft_id\":\"m\",\"seed\":1}", "seed"));
	cr_assert(is_refused(d, "{\"model_id\":\"m\",\"prompt\":\"x\"}", "draft_tokens"));
	cr_assert(is_refused(d, "{\"model_id\":\"m\",\"prompt\":\"x\",\"draft_tokens\":[1,4096]}",
		"draft_tokens[1]"));
	cr_assert(is_refused(d, "{\"model_id\":\"m\",\"draft_tokens\":[1]}", "prompt"));
	cr_assert(is_refused(d,
		"{\"model_id\":\"m\",\"prompt\":\"x\",\"draft_tokens\":[],\"measure\":true}",
		"measure"));
	desk_free(d);
}

Test(check_draft, accepts_what_the_model_itself_would_have_written)
{
	struct desk *d = desk_new_loaded();
	char params[512];
	const char *whole = desk_ask(d, "1", "generate",
		"{\"model_id\":\"m\",\"prompt\":\"It was\",\"max_tokens\":9,\"temperature\":0,"
		"\"stream\":false}");
	const struct json_span ids = desk_find(whole, "result.tokens");
	int64_t last = 0;
	struct json_cursor c = json_iterate(ids);
	for (struct json_span one; json_next_element(&c, &one);)
		json_get_int(one, &last);
	/* All but the last are the draft; the last is then the bonus. */
	const char *comma = memrchr(ids.at, ',', ids.n);
	snprintf(params, sizeof params,
		"{\"model_id\":\"m\",\"prompt\":\"It "
		"was\",\"temperature\":0,\"draft_tokens\":%.*s]}",
		(int)(comma - ids.at), ids.at);
	const char *a = desk_ask(d, "2", "check_draft", params);
	int64_t next = -1;
	cr_assert(desk_is(a, "result.accepted", "8"), "%s", a);
	cr_assert(desk_is(a, "result.next_token.kind", "\"bonus\""));
	cr_assert(json_get_int(desk_find(a, "result.next_token.id"), &next) && next == last);
	cr_assert(desk_is(a, "result.stopped_by", "\"end\""));
	desk_free(d);
}

Test(check_draft, a_batch_mixes_both_forms_and_a_bad_item_fails_alone)
{
	struct desk *d = desk_new_loaded();
	const char *a = desk_ask(d, "1", "batch_check_draft",
		"{\"requests\":[{\"primary_id\":\"m\",\"draft_id\":\"m\"},"
		"{\"primary_id\":\"m\",\"draft_id\":\"gone\"},"
		"{\"model_id\":\"m\",\"prompt\":\"It "
		"was\",\"draft_tokens\":[],\"temperature\":0}]}");
	static const char *const success[] = { "true", "false", "true" };
	struct json_cursor c = json_iterate(desk_find(a, "result.results"));
	struct json_span one;
	size_t n = 0;
	for (; json_next_element(&c, &one); n++) {
		const struct json_span s = json_find(one, "success");
		cr_assert(n < 3 && s.n == strlen(success[n]) && !memcmp(s.at, success[n], s.n));
	}
	cr_assert_eq(n, 3);
	cr_assert(strstr(a, "Model not loaded: gone"));
	cr_assert(desk_is(desk_ask(d, "2", "batch_check_draft", "{\"requests\":[]}"),
		"result.results", "[]"));
	desk_free(d);
}

Test(check_draft, the_drafts_of_a_batch_are_judged_in_one_pass)
{
	struct desk *d = desk_new_loaded();
	struct buf params = BUF_INIT;
	buf_adds(&params, "{\"requests\":[");
	for (int i = 0; i < 12; i++)
		buf_addf(&params,
			"%s{\"model_id\":\"m\",\"prompt\":\"It was %d\",\"draft_tokens\":[300,%d],"
			"\"temperature\":0,\"cache_prompt\":%s}",
			i ? "," : "", i, 400 + i, i % 2 ? "true" : "false");
	buf_adds(&params, "]}");
	const char *a = desk_ask(d, "1", "batch_check_draft", buf_cstr(&params));
	struct json_cursor c = json_iterate(desk_find(a, "result.results"));
	size_t n = 0;
	for (struct json_span one; json_next_element(&c, &one); n++) {
		const struct json_span timings = json_find(json_find(one, "result"), "timings");
		int64_t mates = -1;
		cr_assert(json_get_int(json_find(timings, "batch_mates"), &mates), "%s", a);
		cr_assert_eq(mates, 11);
	}
	cr_assert_eq(n, 12);
	buf_release(&params);
	desk_free(d);
}

Test(check_draft, a_draft_for_a_stream_needs_one_that_runs_and_nothing_beside_it)
{
	struct desk *d = desk_new_loaded();
	cr_assert(is_refused(
		d, "{\"model_id\":\"m\",\"stream_id\":\"s\",\"draft_tokens\":[1]}", "running"));
	cr_assert(is_refused(d,
		"{\"model_id\":\"m\",\"prompt\":\"x\",\"index\":3,\"draft_tokens\":[1]}", "index"));
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"generate\",\"params\":{"
		    "\"model_id\":\"m\",\"prompt\":\"It was\",\"stream_id\":\"two\",\"n\":2,"
		    "\"max_tokens\":4}}");
	cr_assert(is_refused(
		d, "{\"model_id\":\"m\",\"stream_id\":\"two\",\"draft_tokens\":[1]}", "texts"));
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"generate\",\"params\":{"
		    "\"model_id\":\"m\",\"prompt\":\"It was\",\"stream_id\":\"s\","
		    "\"max_tokens\":4}}");
	cr_assert(is_refused(d,
		"{\"model_id\":\"m\",\"stream_id\":\"s\",\"prompt\":\"x\",\"draft_tokens\":[1]}",
		"prompt"));
	desk_free(d);
}

#define ESTIMATE "result.details.performance_estimate."

static double number(const char *answer, const char *path)
{
	double v = -1;
	cr_assert(json_get_num(desk_find(answer, path), &v), "%s of %s", path, answer);
	return v;
}

Test(check_draft, a_pair_is_measured_by_a_text_with_drafts_and_without)
{
	struct desk *d = desk_new_loaded();
	const char *a = desk_ask(d, "1", "check_draft",
		"{\"primary_id\":\"m\",\"draft_id\":\"m\",\"measure\":true}");
	cr_assert(desk_is(a, ESTIMATE "measured", "true"), "%s", a);
	cr_assert_eq(number(a, ESTIMATE "acceptance_rate"), 1, "it agrees with itself: %s", a);
	const double plain = number(a, ESTIMATE "tokens_per_second");
	const double drafted = number(a, ESTIMATE "tokens_per_second_drafted");
	cr_assert(plain > 0 && drafted > 0, "%s", a);
	cr_assert_float_eq(
		number(a, ESTIMATE "expected_speedup_value"), drafted / plain, 1e-3, "%s", a);
	const double best = number(a, ESTIMATE "best_draft_tokens");
	cr_assert(best >= 0 && best <= 16);
	cr_assert_eq(d->w.calls.n, 0);
	desk_free(d);
}

Test(check_draft, measuring_can_be_cancelled_and_has_a_time_limit)
{
	struct desk *d = desk_new_loaded();
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"check_draft\",\"params\":{"
		    "\"primary_id\":\"m\",\"draft_id\":\"m\",\"measure\":true}}");
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":5}}");
	const char *a = desk_hear(d, "\"id\":5,");
	cr_assert(desk_is(a, "error.code", "-32800"), "%s", a);
	a = desk_ask(d, "6", "check_draft",
		"{\"primary_id\":\"m\",\"draft_id\":\"m\",\"measure\":true,\"timeout_ms\":1}");
	cr_assert(desk_is(a, "error.code", "-32008"), "%s", a);
	desk_free(d);
}
