/* spawn.c - one worker process. */
#include "controller/spawn.h"
#include "protocol/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#define PIPE_BYTES (1 << 20)

struct pipes {
	int in[2], out[2], err[2];
};

static void close_pair(int *pair)
{
	for (int i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
}

static int open_pipes(struct pipes *p)
{
	*p = (struct pipes) { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	int *pairs[] = { p->in, p->out, p->err };
	for (int i = 0; i < 3; i++) {
		if (pipe2(pairs[i], O_CLOEXEC) < 0) {
			int saved = errno;
			for (int k = 0; k < i; k++)
				close_pair(pairs[k]);
			errno = saved;
			return -1;
		}
		/* Fewer wake-ups for bursts; refused beyond the user's pipe quota, no harm. */
		fcntl(pairs[i][0], F_SETPIPE_SZ, PIPE_BYTES);
	}
	return 0;
}

static _Noreturn void child_fail(const char *what, const char *path)
{
	char line[512];
	int n = snprintf(line, sizeof line, "%s %s: %s\n", what, path, strerror(errno));
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(EX_IOERR);
	_exit(EX_UNAVAILABLE);
}

/* A signal we ignore or block would stay so across exec. */
static void reset_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child_run(char *const *argv, const struct pipes *p, pid_t parent)
{
	setpgid(0, 0);
	/* The order matters: a parent that died before prctl() is found by getppid(). */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EX_UNAVAILABLE);
	if (dup2(p->in[0], 0) < 0 || dup2(p->out[1], 1) < 0 || dup2(p->err[1], 2) < 0)
		_exit(EX_OSERR);
	/* Also what our own parent left open to us without meaning to. */
	close_range(3, ~0U, 0);
	reset_signals();
	execvp(argv[0], argv);
	child_fail("cannot run", argv[0]);
}

static void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

int spawn_process(char *const *argv, const cpu_set_t *cpus, struct spawned *out, struct fault *f)
{
	struct pipes p;
	if (open_pipes(&p) < 0)
		return fault_set(f, ERR_IO, "no pipe for a worker: %s", strerror(errno));
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		if (cpus)
			sched_setaffinity(0, sizeof *cpus, cpus);
		child_run(argv, &p, parent);
	}
	int saved = errno;
	close(p.in[0]);
	close(p.out[1]);
	close(p.err[1]);
	if (pid < 0) {
		close(p.in[1]);
		close(p.out[0]);
		close(p.err[0]);
		return fault_set(f, ERR_IO, "cannot fork a worker: %s", strerror(saved));
	}
	setpgid(pid, pid); /* in both processes: whichever runs first */
	*out = (struct spawned) { pid, p.in[1], p.out[0], p.err[0] };
	set_nonblocking(out->in_fd);
	set_nonblocking(out->out_fd);
	set_nonblocking(out->err_fd);
	return 0;
}

char *spawn_sibling(const char *name)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n < 0)
		return xstrdup(name);
	self[n] = '\0';
	char *slash = strrchr(self, '/');
	return xasprintf("%.*s/%s", (int)(slash ? slash - self : 0), self, name);
}
