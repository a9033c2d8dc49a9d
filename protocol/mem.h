/* mem.h - allocation that does not fail quietly.
 *
 * Small allocations (bookkeeping) end the process with a message when they fail: there
 * is nothing sensible to do. Any size that came from a file or a request goes through
 * mem_try(), which returns NULL instead, after mem_mul()/mem_add() checked the
 * arithmetic. */
#ifndef PROTOCOL_MEM_H
#define PROTOCOL_MEM_H
#include <stdbool.h>
#include <stddef.h>

void *xmalloc(size_t n_bytes);
void *xcalloc(size_t n, size_t n_bytes); /* zeroed; n * n_bytes checked */
void *xrealloc(void *p, size_t n_bytes);
void *xreallocarray(void *p, size_t n, size_t n_bytes);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n_bytes); /* always terminated */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Outside sizes: NULL when the memory is not there. Freed with free(). */
void *mem_try(size_t n_bytes);
void *mem_try_array(size_t n, size_t n_bytes); /* NULL on overflow too; zeroed */

/* *out = a op b; false on overflow, *out then untouched. */
bool mem_mul(size_t a, size_t b, size_t *out);
bool mem_add(size_t a, size_t b, size_t *out);
#endif
