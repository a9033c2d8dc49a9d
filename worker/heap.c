/* heap.c - glibc's heap, held to one size. */
#include "worker/heap.h"
#include "protocol/mem.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_KEPT   (1 << 20)
#define HEAP_SLACK  (64 << 10)
#define MAPPED_FROM (256 << 10)
/* A message's tree of parameters takes some ten times its bytes. */
#define LARGE_BYTES  ((size_t)64 << 10)
#define FIRST_LOOK_S 0.25

void heap_settle(void)
{
	/* By itself glibc would raise both bounds at the first large request, and keep as much
	 * from then on. One heap for all threads: each of their own would have its own worst
	 * moment. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TOP_PAD, HEAP_KEPT);
	mallopt(M_TRIM_THRESHOLD, HEAP_KEPT + HEAP_SLACK);
	mallopt(M_MMAP_THRESHOLD, 2 * HEAP_KEPT);
	void *worst = xmalloc(HEAP_KEPT);
	explicit_bzero(worst, HEAP_KEPT);
	free(worst);
	mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
}

void heap_took(struct heap *h, size_t n_bytes, double now)
{
	if (n_bytes < LARGE_BYTES)
		return;
	h->wait = FIRST_LOOK_S;
	/* One that is near stays, however often large messages come. */
	if (h->due == 0 || h->due > now + h->wait)
		h->due = now + h->wait;
}

/* The heap's end alone goes back by itself, and something small above a hole keeps it from being
 * the end. */
double heap_tick(struct heap *h, size_t n_calls, double now)
{
	if (h->due == 0)
		return -1;
	if (now >= h->due) {
		malloc_trim(HEAP_KEPT);
		h->wait *= 2;
		h->due = n_calls ? now + h->wait : 0;
	}
	return h->due == 0 ? -1 : h->due - now;
}
