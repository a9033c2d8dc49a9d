#include "protocol/json_scan.h"
#include "worker/telemetry.h"
#include <criterion/criterion.h>
#include <string.h>

static struct telemetry t;
static const struct telemetry_now now = { .uptime = 2, .streams = 3, .models = 1, .rss = 4096 };

Test(telemetry, quantiles_lie_in_the_bucket_of_what_was_added)
{
	struct histogram h = { 0 };
	cr_assert_eq(histogram_quantile(&h, 0.5), 0);
	for (int i = 0; i < 90; i++)
		histogram_add(&h, 0.003);
	for (int i = 0; i < 10; i++)
		histogram_add(&h, 7);
	const double p50 = histogram_quantile(&h, 0.5), p99 = histogram_quantile(&h, 0.99);
	cr_assert(p50 > 0.002 && p50 <= 0.005);
	cr_assert(p99 > 5 && p99 <= 10);
	cr_assert(histogram_quantile(&h, 0.9) <= 0.005);
	histogram_add(&h, 1e9);
	cr_assert(histogram_quantile(&h, 1) >= 500);
	cr_assert_eq(h.count, 101);
}

Test(telemetry, answers_are_counted_by_method_and_kind)
{
	struct buf out = BUF_INIT;
	struct fault f = { 0 };
	telemetry_answer(&t, method_find("tokenize"), 0, 0.001);
	telemetry_answer(&t, method_find("tokenize"), 0, 0.001);
	telemetry_answer(&t, method_find("tokenize"), ERR_INVALID_PARAMS, 0.001);
	telemetry_answer(&t, NULL, ERR_METHOD_NOT_FOUND, 0.001);
	telemetry_write_json(&out, &t, &now);
	cr_assert_eq(json_scan(out.data, out.n_bytes, &f), 0, "%s", f.text);
	cr_assert(strstr(buf_cstr(&out), "\"tokenize\":{\"ok\":2,\"invalid_params\":1}"));
	cr_assert(strstr(buf_cstr(&out), "\"unknown_methods\":1"));
	buf_release(&out);
}

Test(telemetry, the_prometheus_form_has_cumulative_buckets_that_end_in_the_count)
{
	struct buf out = BUF_INIT;
	const struct job_result r = { .finish = FINISH_STOP,
		.prompt_tokens = 5,
		.completion_tokens = 3,
		.ttft_ms = 40,
		.total_ms = 90,
		.decode_ms = 50 };
	telemetry_generation(&t, &r);
	telemetry_generation(&t, &r);
	telemetry_write_prometheus(&out, &t, &now);
	const char *text = buf_cstr(&out);
	cr_assert(strstr(text, "# TYPE tandem_time_to_first_token_seconds histogram\n"));
	cr_assert(strstr(text, "tandem_time_to_first_token_seconds_bucket{le=\"0.02\"} 0\n"));
	cr_assert(strstr(text, "tandem_time_to_first_token_seconds_bucket{le=\"0.05\"} 2\n"));
	cr_assert(strstr(text, "tandem_time_to_first_token_seconds_bucket{le=\"+Inf\"} 2\n"));
	cr_assert(strstr(text, "tandem_time_to_first_token_seconds_count 2\n"));
	cr_assert(strstr(text, "tandem_completion_tokens_total 6\n"));
	cr_assert(strstr(text, "tandem_active_streams 3\n"));
	buf_release(&out);
}
