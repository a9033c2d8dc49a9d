/* inspect.c - `tandem inspect PATH` becomes `tandem-worker inspect PATH`; so does `cache`. */
#include "controller/inspect.h"
#include "controller/spawn.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* --worker=PATH or --worker PATH, as of tandem itself; the rest is the worker's to judge. */
static const char *take_worker(char **argv, int *i)
{
	static const char name[] = "--worker";
	const size_t n = sizeof name - 1;
	if (strncmp(argv[*i], name, n) != 0)
		return NULL;
	if (argv[*i][n] == '=')
		return argv[*i] + n + 1;
	return argv[*i][n] == '\0' && argv[*i + 1] ? argv[++*i] : NULL;
}

int inspect_main(int out, int argc, char **argv)
{
	char **own = xcalloc((size_t)argc + 2, sizeof *own);
	char *sibling = spawn_sibling("tandem-worker");
	int n = 1;
	own[0] = sibling;
	own[n++] = argv[0];
	for (int i = 1; i < argc; i++) {
		const char *worker = take_worker(argv, &i);
		if (worker)
			own[0] = (char *)(uintptr_t)worker;
		else
			own[n++] = argv[i];
	}
	if (dup2(out, STDOUT_FILENO) == STDOUT_FILENO)
		execv(own[0], own);
	log_error("cannot run %s: %s", own[0], strerror(errno));
	free(sibling);
	free(own);
	return EX_UNAVAILABLE;
}
