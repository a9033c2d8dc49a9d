/* test_bundle.c - what is kept of a dead worker, and how much at most. */
#include "controller/bundle_folder.h"
#include "controller/lately.h"
#include "controller/tail.h"
#include "protocol/json_scan.h"
#include "protocol/log.h"
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char state[] = "/tmp/state-XXXXXX";
static struct rig r;
static struct fault f;

static void begin(void)
{
	cr_assert_not_null(mkdtemp(state));
	setenv("XDG_STATE_HOME", state, 1);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st, (void)kind, (void)where;
	return remove(path);
}

static void end(void)
{
	if (r.c)
		rig_close(&r);
	nftw(state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
TestSuite(bundle, .init = begin, .fini = end, .timeout = 60);

static size_t count_files(size_t *n_bytes)
{
	char path[PATH_MAX];
	size_t n = 0;
	struct stat st;
	snprintf(path, sizeof path, "%s/tandem", state);
	DIR *d = opendir(path);
	*n_bytes = 0;
	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		cr_assert_eq(fstatat(dirfd(d), e->d_name, &st, 0), 0);
		*n_bytes += (size_t)st.st_size;
		n++;
	}
	if (d)
		closedir(d);
	return n;
}

static int store(const char *name, size_t n, const struct bundle_limits *limits)
{
	char path[PATH_MAX];
	struct buf text = BUF_INIT;
	for (size_t i = 0; i < n; i++)
		buf_addc(&text, 'x');
	int rc = bundle_store(name, &text, limits, path, sizeof path, &f);
	cr_assert_eq(rc == 0, access(path, R_OK) == 0, "%s", f.text);
	buf_release(&text);
	return rc;
}

Test(bundle, the_oldest_go_when_there_are_too_many_or_they_are_too_large)
{
	const struct bundle_limits few = { 3, 1000 };
	size_t n_bytes;
	char name[64], other[PATH_MAX];
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "crash-%d.json", i);
		cr_assert_eq(store(name, 10, &few), 0, "%s", f.text);
	}
	cr_assert_eq(count_files(&n_bytes), 3);
	snprintf(other, sizeof other, "%s/tandem/crash-1.json", state);
	cr_assert_neq(access(other, F_OK), 0);
	snprintf(other, sizeof other, "%s/tandem/notes", state);
	fclose(fopen(other, "w"));
	cr_assert_eq(store("crash-5.json", 985, &few), 0);
	cr_assert_eq(count_files(&n_bytes), 3, "one old one, the new one, and what is not ours");
	cr_assert_leq(n_bytes, 1000);
	cr_assert_eq(access(other, F_OK), 0);
	cr_assert_lt(store("crash-6.json", 1001, &few), 0);
	cr_assert_lt(store("crash-5.json", 1, &few), 0, "what is there is not written over");
}

Test(bundle, without_a_folder_there_is_none_and_a_reason)
{
	const struct bundle_limits some = { 3, 1000 };
	setenv("XDG_STATE_HOME", "relative", 1);
	unsetenv("HOME");
	cr_assert_lt(store("crash-0.json", 1, &some), 0);
	cr_assert(strstr(f.text, "XDG_STATE_HOME"));
	setenv("HOME", "/proc/nowhere", 1);
	cr_assert_lt(store("crash-0.json", 1, &some), 0);
}

Test(bundle, the_last_frames_are_kept_by_their_beginnings)
{
	static struct lately l;
	struct buf out = BUF_INIT;
	char frame[3 * LATELY_BYTES];
	memset(frame, 'a', sizeof frame);
	/* A character of two bytes across the cut is left out. */
	memcpy(frame + LATELY_BYTES - 1, "\xc3\xa9", 2);
	for (size_t i = 0; i < LATELY_FRAMES + 5; i++)
		lately_note(&l, i % 2 ? LATELY_TO : LATELY_FROM, frame,
			i < LATELY_FRAMES ? i : sizeof frame, i);
	lately_write(&l, 1000, &out);
	cr_assert_eq(json_scan(out.data, out.n_bytes, &f), 0, "%s", f.text);
	struct json_cursor c = json_iterate((struct json_span) { out.data, out.n_bytes });
	struct json_span one, last = { NULL, 0 };
	size_t n = 0;
	for (; json_next_element(&c, &one); n++) {
		int64_t us = 0;
		cr_assert(json_get_int(json_find(one, "us"), &us));
		cr_assert_eq(us, (int64_t)n + 5 - 1000);
		last = one;
	}
	cr_assert_eq(n, LATELY_FRAMES);
	cr_assert_eq(json_find(last, "text").n, LATELY_BYTES - 1 + 2);
	buf_release(&out);
}

static void ignore(void *arg, const char *line)
{
	(void)arg, (void)line;
}

Test(bundle, a_backtrace_does_not_push_the_last_words_out)
{
	static struct tail t;
	struct buf out = BUF_INIT;
	static const char said[] =
		"first\n" LOG_BACKTRACE_BEGIN "\na(+0x1)\nb(+0x2)\n" LOG_BACKTRACE_END "\n";
	tail_feed(&t, said, sizeof said - 1, ignore, NULL);
	cr_assert_str_eq(tail_last(&t), "first");
	tail_write(&t, &out);
	tail_write_trace(&t, &out);
	cr_assert_str_eq(buf_cstr(&out), "[\"first\"][\"a(+0x1)\",\"b(+0x2)\"]");
	for (int i = 0; i < 1000; i++)
		tail_feed(&t, i ? "x\n" : LOG_BACKTRACE_BEGIN "\n",
			i ? 2 : sizeof LOG_BACKTRACE_BEGIN, ignore, NULL);
	buf_clear(&out);
	tail_write_trace(&t, &out);
	cr_assert_lt(out.n_bytes, 1000, "bounded, and begun anew");
	buf_release(&out);
}

Test(bundle, a_dead_workers_calls_and_streams_are_in_the_file_its_error_names)
{
	char path[PATH_MAX];
	rig_open(&r, ARGS("--workers=1", "--", "--die-on=deadly", "--token-ms=20"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":100000,\"resume\":\"error\""));
	rig_await(&r, "stream.chunk");
	rig_send(&r, TOKENIZE("2", "deadly"));
	const char *event = rig_await(&r, "stream.event");
	struct json_span params = json_find((struct json_span) { event, strlen(event) }, "params");
	cr_assert(json_copy_str(json_find(json_find(params, "data"), "bundle"), path, sizeof path));
	FILE *file = fopen(path, "r");
	static char text[1 << 18];
	size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
	cr_assert_eq(json_scan(text, n, &f), 0, "%s: %s", path, f.text);
	fclose(file);
	rig_assert_has(text, "\"signal\":\"SIGABRT\"");
	rig_assert_has(text, "fake: that word");
	rig_assert_has(text, "{\"id\":2,\"method\":\"tokenize\",\"params\":{\"model_id\":\"m\","
			     "\"text\":\"deadly\"}}");
	rig_assert_has(text, "{\"id\":1,\"method\":\"generate\"");
	rig_assert_has(text, "\"tokens_delivered\":");
	rig_assert_has(text, "\"dir\":\"to\"");
}

Test(bundle, none_is_written_when_none_is_wanted)
{
	size_t n_bytes;
	rig_open(&r, ARGS("--workers=1", "--bundles=0", "--restarts=0", "--", "--die-on=deadly"));
	rig_load(&r);
	rig_send(&r, TOKENIZE("2", "deadly"));
	const char *error = rig_await(&r, "\"id\":2,");
	rig_assert_has(error, "-32009");
	cr_assert_null(strstr(error, "\"bundle\""));
	cr_assert_eq(count_files(&n_bytes), 0);
}
