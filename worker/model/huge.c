/* huge.c - asks the system for large pages. */
#include "worker/model/huge.h"
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
