/* backtrace.c - the stack of a fault, on stderr. */
#include "worker/backtrace.h"
#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#endif

#ifdef HAS_SANITIZER
/* Its own handlers say more, and must stay. */
void backtrace_watch(void)
{
}
#else
#define FRAMES_MAX  32
#define STACK_BYTES ((size_t)64 << 10)

static void say(const char *line)
{
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return; /* whoever read us is gone, too */
}

static void on_fault(int number)
{
	void *frames[FRAMES_MAX];
	int n = backtrace(frames, FRAMES_MAX);
	say(LOG_BACKTRACE_BEGIN "\n");
	backtrace_symbols_fd(frames, n, STDERR_FILENO);
	say(LOG_BACKTRACE_END "\n");
	/* Blocked until we return, then it ends us: the handler is gone by SA_RESETHAND. */
	raise(number);
}

void backtrace_watch(void)
{
	static const int numbers[] = { SIGSEGV, SIGABRT, SIGFPE, SIGILL };
	/* A stack that overflowed has no room for a handler. Never freed: it is for the end. */
	static char stack[STACK_BYTES];
	const stack_t own = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = SA_RESETHAND | SA_ONSTACK };
	void *frame;
	/* The first call loads a library, which a fault is no time for. */
	if (backtrace(&frame, 1) < 1)
		return;
	sigaltstack(&own, NULL);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		sigaction(numbers[i], &sa, NULL);
}
#endif
