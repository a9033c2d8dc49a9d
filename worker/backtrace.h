/* backtrace.h - where this process was when a fault ended it.
 *
 * On SIGSEGV, SIGABRT, SIGFPE and SIGILL the stack goes to stderr between the two lines below, one
 * line a frame as backtrace_symbols_fd() writes them (addr2line -e reads the offsets); then the
 * signal ends the process as it would have. The controller keeps those lines apart. SIGBUS is
 * mapped_file.h's. Nothing under a sanitizer, which tells more itself. */
#ifndef WORKER_BACKTRACE_H
#define WORKER_BACKTRACE_H
#include "protocol/log.h"

/* Once, in the main thread, before the process is confined. */
void backtrace_watch(void);
#endif
