#include "worker/model/mapped_file.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/tandem-mapped-XXXXXX";

static void write_page(void)
{
	char page[8192];
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	memset(page, 'x', sizeof page);
	cr_assert_eq(write(fd, page, sizeof page), (ssize_t)sizeof page);
	close(fd);
}

static void remove_page(void)
{
	unlink(path);
}

TestSuite(mapped_file, .init = write_page, .fini = remove_page);

Test(mapped_file, holds_the_whole_file)
{
	struct mapped_file m;
	struct fault f = { 0 };

	cr_assert_eq(mapped_file_open(&m, path, &f), 0, "%s", f.text);
	cr_assert(m.n_bytes == 8192 && m.data[0] == 'x' && m.data[8191] == 'x');
	mapped_file_close(&m);
	cr_assert(m.data == NULL && m.n_bytes == 0);
}

Test(mapped_file, an_empty_file_is_empty)
{
	struct mapped_file m;
	struct fault f = { 0 };

	cr_assert_eq(truncate(path, 0), 0);
	cr_assert_eq(mapped_file_open(&m, path, &f), 0, "%s", f.text);
	cr_assert_eq(m.n_bytes, 0);
	mapped_file_close(&m);
}

Test(mapped_file, a_fifo_is_refused_without_waiting_for_its_writer, .timeout = 10)
{
	struct mapped_file m;
	struct fault f = { 0 };

	unlink(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(mapped_file_open(&m, path, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "not a regular file"), "%s", f.text);
}

/* In a child of its own, whose last words are read from its stderr. */
static _Noreturn void read_what_is_gone(int to)
{
	struct mapped_file m;

	dup2(to, STDERR_FILENO);
	mapped_file_name_truncation();
	if (mapped_file_open(&m, path, NULL) < 0 || truncate(path, 4096) < 0)
		_exit(1);
	_exit(((const volatile uint8_t *)m.data)[5000]);
}

Test(mapped_file, a_file_cut_short_while_mapped_ends_the_process_with_a_named_reason, .timeout = 10)
{
	char words[512] = { 0 };
	int fds[2], status;

	cr_assert_eq(pipe(fds), 0);
	pid_t child = fork();
	if (child == 0)
		read_what_is_gone(fds[1]);
	close(fds[1]);
	for (size_t at = 0; at < sizeof words - 1;) {
		ssize_t n = read(fds[0], words + at, sizeof words - 1 - at);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "status %x", status);
	cr_assert(
		strstr(words, path) && strstr(words, "truncated while it was mapped"), "%s", words);
	close(fds[0]);
}
