/* cache.h - `tandem-worker cache ls|rm|verify`: the packed weights kept for later loads. */
#ifndef WORKER_CACHE_H
#define WORKER_CACHE_H

/* argv[0] is "cache". Returns the exit code: 0, EX_DATAERR if a file is damaged, EX_NOINPUT for
 * a key that is not there, EX_USAGE. */
int cache_main(int argc, char **argv);
#endif
