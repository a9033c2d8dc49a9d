/* main.c - the tandem command.
 *
 * A reader may start here: stops 1 to 9 take a request from the host to a worker's pipe,
 * 25 and 26 its tokens back. */
#include "controller/controller.h"
#include "controller/inspect.h"
#include "controller/rerun.h"
#include "controller/run.h"
#include "protocol/log.h"
#include "protocol/version.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* 0, 1 and 2 must be somebody's, or the first pipe we open becomes our stdout. */
static void fill_standard_fds(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* The protocol's way out becomes a descriptor that no library knows; a stray printf lands
 * on stderr. */
static int reserve_stdout(void)
{
	int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		log_fatal("stdout cannot be kept apart");
	return fd;
}

static int tell(int out, const char *text)
{
	return dprintf(out, "%s", text) < 0 ? EX_IOERR : 0;
}

static int serve(int out, int argc, char **argv, pid_t parent)
{
	struct options opt;
	struct fault f;
	int code = EX_USAGE;
	if (options_parse(&opt, argc, argv, &f) < 0) {
		log_error("%s (see tandem --help)", f.text);
	} else if (opt.wish == OPTIONS_HELP) {
		code = tell(out, options_help);
	} else if (opt.wish == OPTIONS_VERSION) {
		code = tell(out, "tandem " TANDEM_VERSION "\n");
	} else {
		log_set_level(opt.is_verbose ? LOG_DEBUG : LOG_INFO);
		code = controller_serve(&opt, STDIN_FILENO, out, parent);
	}
	options_release(&opt);
	return code;
}

int main(int argc, char **argv)
{
	const pid_t parent = getppid();
	/* What our parent left open without meaning to is none of ours. */
	close_range(3, ~0U, 0);
	fill_standard_fds();
	int out = reserve_stdout();
	log_init("tandem", LOG_INFO);
	if (argc > 1 && !strcmp(argv[1], "run"))
		return run_main(out, argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "replay"))
		return rerun_main(out, argc - 1, argv + 1);
	if (argc > 1 && (!strcmp(argv[1], "inspect") || !strcmp(argv[1], "cache")))
		return inspect_main(out, argc - 1, argv + 1);
	return serve(out, argc, argv, parent);
}
