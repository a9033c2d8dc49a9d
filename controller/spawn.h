/* spawn.h - starting a worker process: fork, exec, three pipes.
 *
 * The child leads a process group of its own (a terminal's Ctrl-C is ours to handle),
 * holds no descriptor but 0, 1 and 2, and dies by SIGKILL when the controller does. */
#ifndef CONTROLLER_SPAWN_H
#define CONTROLLER_SPAWN_H
#include "protocol/err.h"
#include <sched.h>
#include <sys/types.h>

struct spawned {
	pid_t pid;
	int in_fd;  /* its stdin: we write; non-blocking, as the others */
	int out_fd; /* its stdout */
	int err_fd; /* its stderr */
};

/* argv[0] is the program's path, or its name in PATH; cpus: where it may run, NULL for where we
 * may. 0, or ERR_IO with the cause. An exec that fails shows as exit code 69 and a line on its
 * stderr. */
int spawn_process(char *const *argv, const cpu_set_t *cpus, struct spawned *out, struct fault *f);

/* The path of `name` beside our own binary; caller frees. */
char *spawn_sibling(const char *name);
#endif
