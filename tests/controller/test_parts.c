/* test_parts.c - the small parts: splice, tail, metrics, options, spawn. */
#include "controller/metrics.h"
#include "controller/options.h"
#include "controller/run_options.h"
#include "controller/spawn.h"
#include "controller/splice.h"
#include "controller/tail.h"
#include "controller/words.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* -- splice ----------------------------------------------------------------------------- */

static void assert_set(const char *object, const char *key, const char *value, const char *want)
{
	struct buf out = BUF_INIT;
	splice_set(&out, (struct json_span) { object, strlen(object) }, key,
		(struct json_span) { value, strlen(value) });
	cr_assert_str_eq(buf_cstr(&out), want);
	buf_release(&out);
}

Test(splice, sets_replaces_and_leaves_the_rest_as_it_was_written)
{
	assert_set("{}", "a", "1", "{\"a\":1}");
	assert_set("{\"b\":1.0e2}", "a", "[1]", "{\"b\":1.0e2,\"a\":[1]}");
	assert_set("{\"a\":{\"a\":2}, \"b\" : \"}\"}", "a", "3", "{\"b\":\"}\",\"a\":3}");
	assert_set("{\"\\u0061\":null}", "a", "3", "{\"a\":3}");
}

/* -- tail ------------------------------------------------------------------------------- */

static int n_said;

static void said(void *arg, const char *line)
{
	snprintf(arg, TAIL_LINE_BYTES, "%s", line);
	n_said++;
}

Test(tail, cuts_lines_whatever_the_reads_and_keeps_the_last_twenty)
{
	struct tail t = { .n_lines = 0 };
	char last[TAIL_LINE_BYTES] = "";
	tail_feed(&t, "a\r\n\nb", 5, said, last);
	cr_assert_eq(n_said, 1);
	tail_finish(&t, said, last);
	cr_assert_str_eq(last, "b");
	for (int i = 0; i < 50; i++)
		tail_feed(&t, "line\n", 5, said, last);
	struct buf out = BUF_INIT;
	tail_write(&t, &out);
	cr_assert_eq(out.n_bytes, 1 + 20 * strlen("\"line\",") - 1 + 1);
	buf_release(&out);
}

Test(tail, a_line_without_end_is_cut_and_bytes_that_are_no_text_stay_json)
{
	struct tail t = { .n_lines = 0 };
	char last[TAIL_LINE_BYTES], noise[5000];
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (char)(i % 255 + 1);
	for (size_t i = 0; i < sizeof noise; i++)
		if (noise[i] == '\n')
			noise[i] = 'x';
	tail_feed(&t, noise, sizeof noise, said, last);
	tail_feed(&t, "\n", 1, said, last);
	cr_assert_eq(strlen(last), TAIL_LINE_BYTES - 1);
	struct buf out = BUF_INIT;
	tail_write(&t, &out);
	struct fault f;
	cr_assert_eq(json_scan(out.data, out.n_bytes, &f), 0, "%s", f.text);
	buf_release(&out);
}

/* -- words ------------------------------------------------------------------------------ */

Test(words, a_command_is_cut_as_a_shell_would_and_nothing_in_it_is_expanded)
{
	char **w = words_split("  ssh -o 'A B'  host\t\"t \\\" \\n\" a\\ b''c $HOME;`x`|*");
	const char *want[] = { "ssh", "-o", "A B", "host", "t \" \\n", "a bc", "$HOME;`x`|*",
		NULL };
	for (int i = 0; want[i]; i++)
		cr_assert_str_eq(w[i], want[i]);
	cr_assert_null(w[7]);
	words_free(w);
}

Test(words, a_line_without_words_or_with_an_open_quote_is_none)
{
	const char *bad[] = { "", "  ", "a 'b", "a \"b", "a \\", "'' x" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_null(words_split(bad[i]), "%s", bad[i]);
}

/* -- metrics ---------------------------------------------------------------------------- */

Test(metrics, quantiles_are_within_a_bucket_of_the_truth)
{
	struct histogram h = { .n = 0 };
	for (uint64_t i = 1; i <= 10000; i++)
		histogram_add(&h, i);
	double qs[] = { 0.5, 0.95, 0.99, 1 };
	for (int i = 0; i < 4; i++) {
		double got = (double)histogram_quantile(&h, qs[i]), want = qs[i] * 10000;
		cr_assert(got >= want && got <= want * 1.13, "p%g = %g", qs[i] * 100, got);
	}
	cr_assert_eq(histogram_quantile(&h, 0), 1);
}

Test(metrics, any_value_has_a_bucket)
{
	struct histogram h = { .n = 0 };
	uint64_t values[] = { 0, 1, 7, 8, 15, 16, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX };
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		histogram_add(&h, values[i]);
		cr_assert_eq(histogram_at_most(&h, UINT64_MAX), i + 1);
	}
	cr_assert_eq(histogram_at_most(&h, 7), 3);
}

Test(metrics, both_forms_can_be_read)
{
	struct metrics *m = calloc(1, sizeof *m);
	struct buf json = BUF_INIT, text = BUF_INIT;
	struct metrics_gauge gauges[] = { { "up", "worker=\"0\"", 1 },
		{ "up", "worker=\"1\"", 0 } };
	metrics_answered(m, "tokenize", 0);
	metrics_answered(m, "tokenize", 0);
	metrics_answered(m, "tokenize", -32602);
	histogram_add(&m->times[METRICS_CALL], 120);
	buf_addc(&json, '{');
	metrics_write_json(m, &json);
	buf_addc(&json, '}');
	cr_assert_eq(json_scan(json.data, json.n_bytes, NULL), 0);
	cr_assert(strstr(buf_cstr(&json), "{\"method\":\"tokenize\",\"code\":0,\"count\":2}"));
	metrics_write_prometheus(m, gauges, 2, &text);
	cr_assert(strstr(
		buf_cstr(&text), "tandem_requests_total{method=\"tokenize\",code=\"-32602\"} 1\n"));
	cr_assert(strstr(buf_cstr(&text),
		"# TYPE tandem_up gauge\ntandem_up{worker=\"0\"} 1\ntandem_up{worker=\"1\"} 0\n"));
	cr_assert(strstr(buf_cstr(&text), "tandem_call_seconds_bucket{le=\"+Inf\"} 1\n"));
	metrics_release(m);
	buf_release(&json);
	buf_release(&text);
	free(m);
}

/* -- options ---------------------------------------------------------------------------- */

static int parse(struct options *o, int argc, char **argv)
{
	struct fault f;
	return options_parse(o, argc, argv, &f);
}

Test(options, a_bad_line_is_refused)
{
	char *lines[][3] = { { "tandem", "--nonsense", NULL }, { "tandem", "--workers=many", NULL },
		{ "tandem", "--workers=0", NULL }, { "tandem", "--workers=65", NULL },
		{ "tandem", "--drain-ms=-1", NULL }, { "tandem", "--framing=xml", NULL },
		{ "tandem", "--worker", NULL }, { "tandem", "--threads=1x", NULL } };
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct options o;
		cr_assert_lt(parse(&o, 2, lines[i]), 0, "%s", lines[i][1]);
		options_release(&o);
	}
}

Test(options, a_script_path_is_tolerated_and_what_follows_two_dashes_goes_to_workers)
{
	char *argv[] = { "tandem", "runtime.py", "--workers=2", "--threads=3", "--worker", "w",
		"--", "--kv-bytes=1M", NULL };
	struct options o;
	cr_assert_eq(parse(&o, 8, argv), 0);
	cr_assert_eq(o.n_workers, 2);
	cr_assert_str_eq(o.worker_argv[0], "w");
	cr_assert_str_eq(o.worker_argv[1], "--threads=3");
	cr_assert_str_eq(o.worker_argv[2], "--ack-window=256");
	cr_assert_str_eq(o.worker_argv[3], "--kv-bytes=1M");
	cr_assert_null(o.worker_argv[4]);
	options_release(&o);
}

Test(options, commands_stand_for_the_workers_path_in_turns_and_get_what_workers_get)
{
	char *argv[] = { "tandem", "--worker-command", "ssh a tandem-worker", "--models=x",
		"--worker-command=ssh b tandem-worker", "--", "--kv-bytes=1M", NULL };
	struct options o;
	cr_assert_eq(parse(&o, 7, argv), 0);
	cr_assert_eq(o.n_workers, 2, "one for each command");
	char **c = options_worker_command(&o, 3);
	const char *want[] = { "ssh", "b", "tandem-worker", "--models=x", "--ack-window=256",
		"--kv-bytes=1M" };
	for (int i = 0; i < 6; i++)
		cr_assert_str_eq(c[i], want[i]);
	cr_assert_null(c[6], "our processors' number is none of theirs");
	free(c);
	options_release(&o);
}

Test(options, run_needs_a_model_and_a_prompt_and_numbers_that_are_numbers)
{
	char *lines[][6] = { { "run" }, { "run", "-m" }, { "run", "-m", "x" },
		{ "run", "--nonsense" }, { "run", "-m", "x", "-p", "y", "--seed=z" },
		{ "run", "-m", "x", "-p", "y", "stray" },
		{ "run", "-m", "x", "-p", "y", "--workers=many" } };
	int counts[] = { 1, 2, 3, 2, 6, 6, 6 };
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		struct run_options o;
		struct fault f = { 0 };
		cr_assert_lt(run_options_parse(&o, counts[i], lines[i], &f), 0, "line %zu", i);
		cr_assert(f.text[0]);
		run_options_release(&o);
	}
}

/* -- spawn ------------------------------------------------------------------------------ */

Test(spawn, the_child_leads_its_own_group_and_holds_no_descriptor_of_ours, .timeout = 20)
{
	char *argv[] = { "/bin/sh", "-c",
		"read -r line < /proc/$$/stat; set -- $line; echo $5; test -e /proc/$$/fd/77 && "
		"echo leak",
		NULL };
	struct spawned s;
	struct fault f;
	char bytes[128] = "", want[32];
	int status;
	cr_assert_eq(dup2(2, 77), 77);
	cr_assert_eq(spawn_process(argv, NULL, &s, &f), 0);
	cr_assert_eq(waitpid(s.pid, &status, 0), s.pid);
	cr_assert_gt(read(s.out_fd, bytes, sizeof bytes - 1), 0);
	snprintf(want, sizeof want, "%d\n", (int)s.pid);
	cr_assert_str_eq(bytes, want);
}

Test(spawn, a_program_that_is_not_there_says_so_and_exits_69, .timeout = 20)
{
	char *argv[] = { "/nonexistent/worker", NULL };
	struct spawned s;
	struct fault f;
	char bytes[256] = "";
	int status;
	cr_assert_eq(spawn_process(argv, NULL, &s, &f), 0);
	cr_assert_eq(waitpid(s.pid, &status, 0), s.pid);
	cr_assert_eq(WEXITSTATUS(status), 69);
	cr_assert_gt(read(s.err_fd, bytes, sizeof bytes - 1), 0);
	cr_assert(strstr(bytes, "/nonexistent/worker"));
}
