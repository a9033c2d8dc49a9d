/* huge.h - memory that is read from end to end, in few large pages instead of many small ones. */
#ifndef WORKER_MODEL_HUGE_H
#define WORKER_MODEL_HUGE_H
#include <stddef.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* Advice on a mapping, or a part of one, before its pages are first touched. A file's pages that
 * memory holds already stay as they are. A system without such pages says no, and nothing is lost
 * but speed. */
void huge_advise(const void *p, size_t n_bytes);
#endif
