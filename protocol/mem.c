/* mem.c - checked allocation: fatal for bookkeeping, NULL for sizes from outside. */
#include "protocol/mem.h"
#include "protocol/log.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *p, size_t n_bytes)
{
	if (!p)
		log_fatal("out of memory allocating %zu bytes", n_bytes);
	return p;
}

static size_t array_size(size_t n, size_t n_bytes)
{
	size_t total;
	if (!mem_mul(n, n_bytes, &total))
		log_fatal("allocation of %zu x %zu bytes overflows", n, n_bytes);
	return total;
}

/* malloc(0) may be NULL, which would read as failure: always ask for one byte. */
void *xmalloc(size_t n_bytes)
{
	return or_die(malloc(n_bytes ? n_bytes : 1), n_bytes);
}

void *xcalloc(size_t n, size_t n_bytes)
{
	size_t total = array_size(n, n_bytes);
	return or_die(calloc(1, total ? total : 1), total);
}

void *xrealloc(void *p, size_t n_bytes)
{
	return or_die(realloc(p, n_bytes ? n_bytes : 1), n_bytes);
}

void *xreallocarray(void *p, size_t n, size_t n_bytes)
{
	return xrealloc(p, array_size(n, n_bytes));
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t n_bytes)
{
	size_t total;
	if (!mem_add(n_bytes, 1, &total))
		log_fatal("allocation of %zu + 1 bytes overflows", n_bytes);
	char *copy = xmalloc(total);
	if (n_bytes)
		memcpy(copy, s, n_bytes);
	copy[n_bytes] = '\0';
	return copy;
}

char *xasprintf(const char *fmt, ...)
{
	char *out = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return or_die(n < 0 ? NULL : out, strlen(fmt));
}

void *mem_try(size_t n_bytes)
{
	/* PTRDIFF_MAX is malloc's own bound; asking for more only trips allocator checks. */
	if (n_bytes > PTRDIFF_MAX)
		return NULL;
	return malloc(n_bytes ? n_bytes : 1);
}

void *mem_try_array(size_t n, size_t n_bytes)
{
	size_t total;
	if (!mem_mul(n, n_bytes, &total) || total > PTRDIFF_MAX)
		return NULL;
	return calloc(1, total ? total : 1);
}

bool mem_mul(size_t a, size_t b, size_t *out)
{
	size_t product;
	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*out = product;
	return true;
}

bool mem_add(size_t a, size_t b, size_t *out)
{
	size_t sum;
	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*out = sum;
	return true;
}
