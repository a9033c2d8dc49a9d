/* confine.h - what a worker takes from itself before it reads its first byte.
 *
 * basic: no new privileges, limits (no core files, no message queues, CONFINE_FILES descriptors),
 * not dumpable (no ptrace by others of the same user), and a seccomp filter: no sockets, no new
 * programs, no ptrace, no change of files by their names, no kernel interfaces that a worker never
 * needs; each fails with EPERM. strict: also a landlock domain (linux/landlock.h): files below the
 * model roots and what a program needs to run can be read, nothing can be written. It holds for one
 * thread and those it starts, and libraries have started some before main; so the program runs
 * itself once more inside. off: nothing. Builds with sanitizers, which trace themselves, have only
 * that. */
#ifndef WORKER_CONFINE_H
#define WORKER_CONFINE_H
#include "protocol/buf.h"
#include "protocol/err.h"

#define CONFINE_FILES 4096 /* descriptors open at once */

enum confinement { CONFINE_OFF, CONFINE_BASIC, CONFINE_STRICT };

const char *confine_name(enum confinement c);
bool confine_parse(const char *name, enum confinement *out);
/* What this build can do of what is wanted. */
enum confinement confine_possible(enum confinement wanted);

/* strict: this thread and its children read no files but those below roots and the system's
 * own. 0, or ERR_IO where the kernel cannot. */
int confine_files(const char *const *roots, size_t n_roots, struct fault *f);
/* The same for the whole process, by running it once more; returns only to the process that
 * is inside, or with ERR_IO. */
int confine_files_and_restart(
	const char *const *roots, size_t n_roots, char *const argv[], struct fault *f);
/* basic and strict: the rest, for all threads. 0, or ERR_IO. */
int confine_calls(struct fault *f);

/* Append the member "isolation":{…} as the kernel tells it now: what is asked of it, and under
 * "refused" what was tried on the spot and came back as forbidden. */
void confine_write(struct buf *out, enum confinement c);
#endif
