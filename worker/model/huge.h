/* huge.h - memory that is read from end to end, in few large pages instead of many small ones. */
#ifndef WORKER_MODEL_HUGE_H
#define WORKER_MODEL_HUGE_H
#include <stddef.h>

struct pool;

#define HUGE_PAGE ((size_t)2 << 20)

/* Advice on a mapping, or a part of one, before its pages are first touched. A file's pages that
 * memory holds already stay as they are. A system without such pages says no, and nothing is lost
 * but speed. */
void huge_advise(const void *p, size_t n_bytes);

/* Every page of writable memory is there afterwards, with what it held; the threads share them
 * out. Whoever comes first would else wait for each: a quarter of a millisecond for a large one,
 * several where a virtual machine's host has to find it too. */
void huge_touch(void *p, size_t n_bytes, struct pool *threads);
#endif
