/* test_confine.c - each thing a confined process must not do is tried, in a child. */
#include "worker/confine.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(confine, .timeout = 30);

static bool is_unavailable(void)
{
	if (confine_possible(CONFINE_STRICT) == CONFINE_STRICT)
		return false;
	cr_skip_test("a build with sanitizers cannot be confined");
	return true;
}

/* What fn returns in a child of its own; 0 = as it should be. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(fn());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static void *open_socket(void *errno_out)
{
	*(int *)errno_out = socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
	return NULL;
}

static pthread_barrier_t barrier;
static void *open_socket_later(void *errno_out)
{
	pthread_barrier_wait(&barrier);
	return open_socket(errno_out);
}

static int try_calls(void)
{
	char *argv[] = { (char[]) { "true" }, NULL };
	int pipes[2], early = 0, late = 0;
	pthread_t before, after;
	struct fault f;
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&before, NULL, open_socket_later, &early);
	if (confine_calls(&f) < 0)
		return 1;
	pthread_barrier_wait(&barrier);
	pthread_join(before, NULL);
	if (early != EPERM)
		return 2;
	if (connect(0, &(struct sockaddr) { .sa_family = AF_UNIX }, 2) == 0 || errno != EPERM)
		return 3;
	if (execv("/bin/true", argv) == 0 || errno != EPERM)
		return 4;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 || errno != EPERM)
		return 5;
	if (truncate("/dev/null", 0) == 0 || errno != EPERM)
		return 9;
	if (chmod("/dev/null", 0666) == 0 || errno != EPERM)
		return 10;
	static const long by_number[] = { 452, 463, 466, 469 }; /* fchmodat2, setxattrat … */
	for (size_t i = 0; i < sizeof by_number / sizeof *by_number; i++)
		if (syscall(by_number[i], AT_FDCWD, "/dev/null", 0, 0) == 0 || errno != EPERM)
			return 11;
	/* What a worker lives by still works. */
	if (pthread_create(&after, NULL, open_socket, &late) || pthread_join(after, NULL))
		return 6;
	if (late != EPERM)
		return 7;
	return pipe(pipes) == 0 && malloc(1 << 20) ? 0 : 8;
}

Test(confine, sockets_programs_ptrace_and_changes_of_files_are_refused_in_every_thread)
{
	if (!is_unavailable())
		cr_assert_eq(in_child(try_calls), 0);
}

static int is_denied(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == EACCES;
}

static int try_files(void)
{
	const char *const roots[] = { "tests/data", "/nonexistent" };
	struct fault f;
	if (confine_files(roots, 2, &f) < 0)
		return 1;
	int fd = open("tests/data/README.md", O_RDONLY);
	if (fd < 0)
		return 2;
	if (!is_denied("README.md", O_RDONLY) || !is_denied("/etc/passwd", O_RDONLY))
		return 3;
	if (!is_denied("tests/data/../../README.md", O_RDONLY))
		return 4;
	if (!is_denied("tests/data/README.md", O_WRONLY))
		return 5;
	if (!is_denied("tests/data/made-by-a-test", O_WRONLY | O_CREAT))
		return 6;
	return is_denied("/tmp/made-by-a-test", O_WRONLY | O_CREAT) ? 0 : 7;
}

Test(confine, only_files_below_the_roots_are_read_and_none_is_written)
{
	if (!is_unavailable())
		cr_assert_eq(in_child(try_files), 0);
}

Test(confine, its_names_are_parsed_and_no_others)
{
	enum confinement c;
	cr_assert(confine_parse("strict", &c) && c == CONFINE_STRICT);
	cr_assert(confine_parse("basic", &c) && c == CONFINE_BASIC);
	cr_assert(confine_parse("off", &c) && c == CONFINE_OFF);
	cr_assert_not(confine_parse("tight", &c));
}
