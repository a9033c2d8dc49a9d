/* main.c - tandem-worker: the process, its descriptors and its threads. */
#include "kernels/kernels.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "protocol/version.h"
#include "worker/backtrace.h"
#include "worker/cache.h"
#include "worker/heap.h"
#include "worker/inspect.h"
#include "worker/load.h"
#include "worker/loop.h"
#include "worker/model/mapped_file.h"
#include "worker/roots_cache.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

/* Descriptors 0, 1, 2 exist from here on, and 1 is stderr: whatever a library prints cannot
 * reach the protocol. Returns the protocol's own descriptor. */
static int reserve_stdout(void)
{
	int fd;
	while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd <= 2)
		fcntl(fd, F_SETFD, 0);
	if (fd > 2)
		close(fd);
	fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || dup2(2, 1) < 0)
		log_fatal("cannot reserve stdout");
	return fd;
}

static int signal_pipe[2];

static void on_signal(int number)
{
	const int saved = errno;
	const unsigned char byte = (unsigned char)number;
	/* A full pipe is no loss: the loop has as much to read already. */
	if (write(signal_pipe[1], &byte, 1) != 1) {
	}
	errno = saved;
}

/* Signals become bytes that the loop reads. Not a signalfd: OpenBLAS starts threads before
 * main, in which a signal that we block would still end the process. */
static int open_signals(void)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	const struct sigaction note = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	sigaction(SIGPIPE, &ignore, NULL);
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		sigaction(numbers[i], &note, NULL);
	return signal_pipe[0];
}

/* What was asked for must hold; the default is dropped, and said so, where the kernel or an
 * emulator has no such thing. */
static int confine(struct worker_options *o)
{
	struct fault f;
	if (o->confinement == CONFINE_OFF || confine_calls(&f) == 0)
		return 0;
	if (o->confinement_is_asked) {
		log_error("--sandbox: %s", f.text);
		return -1;
	}
	log_warn("running unconfined: %s", f.text);
	o->confinement = CONFINE_OFF;
	return 0;
}

static int serve(struct worker *w, int out, pid_t parent)
{
	const struct loop_io io = { .in = 0, .signals = open_signals(), .parent = parent };
	int death = 0;
	prctl(PR_GET_PDEATHSIG, &death);
	/* When the parent dies without a word, SIGUSR1 makes the loop look. A controller has asked
	 * for SIGKILL already, which also ends who is being stopped just then. */
	if (death == 0)
		prctl(PR_SET_PDEATHSIG, SIGUSR1);
	if (getppid() != parent)
		return EXIT_SUCCESS;
	if (confine(&w->options) != 0)
		return EX_UNAVAILABLE;
	if (io.signals < 0 || worker_start(w, out) != 0) {
		log_error("cannot start: no descriptors, threads or memory");
		return EX_OSERR;
	}
	/* The name that hosts of the reference system wait for. */
	log_info("MLX Runtime ready (tandem-worker %s, %d threads)", TANDEM_VERSION,
		w->options.threads);
	const bool all_ended = loop_run(w, &io);
	if (all_ended && load_is_idle(w->models)) {
		worker_stop(w);
		return EXIT_SUCCESS;
	}
	/* Some thread is still inside a step or a load that nobody waits for. */
	outbox_release(&w->out);
	_exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
	static struct worker worker;
	const pid_t parent = getppid();
	unsigned mask;
	/* What whoever started us left open is none of ours. */
	close_range(3, ~0U, 0);
	if (argc > 1 && strcmp(argv[1], "inspect") == 0)
		return inspect_main(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "cache") == 0)
		return cache_main(argc - 1, argv + 1);
	switch (options_parse(&worker.options, argc, argv, getenv("TANDEM_MODELS"))) {
	case OPTIONS_HELP: fputs(options_help, stdout); return EXIT_SUCCESS;
	case OPTIONS_VERSION: puts("tandem-worker " TANDEM_VERSION); return EXIT_SUCCESS;
	case OPTIONS_BAD:
		fprintf(stderr, "tandem-worker: %s\ntandem-worker --help lists the options\n",
			worker.options.complaint);
		return EX_USAGE;
	case OPTIONS_RUN: break;
	}
	struct fault f;
	const char *const *roots;
	const size_t n_roots = roots_list(&worker.options, &roots);
	worker.options.confinement = confine_possible(worker.options.confinement);
	if (worker.options.confinement == CONFINE_STRICT &&
		confine_files_and_restart(roots, n_roots, argv, &f) < 0) {
		fprintf(stderr, "tandem-worker: --sandbox=strict: %s\n", f.text);
		return EX_UNAVAILABLE;
	}
	const int out = reserve_stdout();
	log_init("tandem-worker", worker.options.verbose ? LOG_DEBUG : LOG_INFO);
	if (!kernels_parse_mask(getenv("KERNELS_MASK"), &mask)) {
		log_error("KERNELS_MASK names an instruction set that is not known");
		return EX_USAGE;
	}
	mapped_file_name_truncation();
	backtrace_watch();
	heap_settle();
	return serve(&worker, out, parent);
}
