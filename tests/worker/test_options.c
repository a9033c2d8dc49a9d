#include "worker/options.h"
#include <criterion/criterion.h>
#include <string.h>

static struct worker_options o;

static enum options_outcome parse(const char *env, char *const argv[])
{
	int argc = 0;
	while (argv[argc])
		argc++;
	return options_parse(&o, argc, argv, env);
}
#define PARSE(env, ...) parse(env, (char *const[]) { "tandem-worker", __VA_ARGS__, NULL })

Test(options, have_defaults_that_serve)
{
	cr_assert_eq(
		options_parse(&o, 1, (char *const[]) { "tandem-worker", NULL }, NULL), OPTIONS_RUN);
	cr_assert_eq(o.framing, FRAMING_AUTO);
	cr_assert_eq(o.drain_ms, 1500);
	cr_assert_eq(o.max_frame, (size_t)64 << 20);
	cr_assert_geq(o.threads, 1);
	cr_assert_eq(o.n_roots, 0);
	options_release(&o);
}

Test(options, are_read_in_both_spellings)
{
	cr_assert_eq(
		PARSE(NULL, "--framing=lsp", "--threads", "3", "--kv-bytes=64M", "--max-frame=1k",
			"--drain-ms=0", "--max-running=5", "--chunk-tokens=16",
			"--dev-crash-after=7", "--dev-stall-ms=9", "--dev-garbage", "-v"),
		OPTIONS_RUN);
	cr_assert_eq(o.framing, FRAMING_LSP);
	cr_assert_eq(o.threads, 3);
	cr_assert_eq(o.kv_bytes, (size_t)64 << 20);
	cr_assert_eq(o.max_frame, 1024);
	cr_assert_eq(o.drain_ms, 0);
	cr_assert_eq(o.max_running, 5);
	cr_assert_eq(o.chunk_tokens, 16);
	cr_assert_eq(o.dev_crash_after, 7);
	cr_assert_eq(o.dev_stall_ms, 9);
	cr_assert(o.dev_garbage && o.verbose);
	options_release(&o);
}

Test(options, roots_come_from_the_line_and_then_from_the_environment)
{
	cr_assert_eq(PARSE("/c::/d", "--models", "/a", "--model-root=/b"), OPTIONS_RUN);
	static const char *const want[] = { "/a", "/b", "/c", "/d" };
	cr_assert_eq(o.n_roots, 4);
	for (size_t i = 0; i < 4; i++)
		cr_assert_str_eq(o.roots[i], want[i]);
	options_release(&o);
}

Test(options, one_script_path_of_an_old_host_is_ignored_and_two_are_not)
{
	cr_assert_eq(PARSE(NULL, "python/runtime.py"), OPTIONS_RUN);
	options_release(&o);
	cr_assert_eq(PARSE(NULL, "a", "b"), OPTIONS_BAD);
	cr_assert(strstr(o.complaint, "b"));
}

Test(options, what_cannot_be_is_refused_by_name)
{
	static const char *const bad[] = { "--threads=0", "--threads=x",
		"--threads=", "--kv-bytes=-1", "--kv-bytes=1T", "--kv-bytes=99999999999999999999",
		"--kv-bytes=1Gx", "--drain-ms=-1", "--framing=xml", "--max-frame=0", "--nonsense" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_assert_eq(PARSE(NULL, (char *)bad[i]), OPTIONS_BAD, "%s", bad[i]);
		cr_assert_gt(strlen(o.complaint), 10, "%s", bad[i]);
		options_release(&o);
	}
}

Test(options, help_and_version_win)
{
	cr_assert_eq(PARSE(NULL, "--help"), OPTIONS_HELP);
	cr_assert_eq(PARSE(NULL, "--version"), OPTIONS_VERSION);
}
