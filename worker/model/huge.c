/* huge.c - asks the system for large pages. */
#include "worker/model/huge.h"
#include "kernels/pool.h"
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void huge_advise(const void *p, size_t n_bytes)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const uintptr_t begin = ((uintptr_t)p + page - 1) & ~(page - 1);
	const uintptr_t end = ((uintptr_t)p + n_bytes) & ~(page - 1);

	if (n_bytes >= HUGE_PAGE)
		madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

struct touch {
	volatile uint8_t *p;
	size_t n_bytes, page;
};

/* In steps of small pages: which it consists of is the system's affair. */
static void touch_chunk(void *arg, size_t chunk, size_t thread)
{
	const struct touch *t = arg;
	const size_t begin = chunk * HUGE_PAGE, left = t->n_bytes - begin;
	const size_t end = begin + (left < HUGE_PAGE ? left : HUGE_PAGE);

	(void)thread;
	for (size_t i = begin; i < end; i += t->page)
		t->p[i] = t->p[i];
	t->p[end - 1] = t->p[end - 1];
}

void huge_touch(void *p, size_t n_bytes, struct pool *threads)
{
	struct touch t = { p, n_bytes, (size_t)sysconf(_SC_PAGESIZE) };

	pool_run(threads, touch_chunk, &t, (n_bytes + HUGE_PAGE - 1) / HUGE_PAGE);
}
