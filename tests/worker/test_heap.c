#include "protocol/mem.h"
#include "worker/heap.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE ((size_t)1 << 20)

Test(heap, nobody_looks_unless_something_large_came)
{
	struct heap h = { 0 };
	cr_assert_lt(heap_tick(&h, 0, 10), 0);
	heap_took(&h, 100, 10);
	cr_assert_lt(heap_tick(&h, 3, 11), 0);
}

Test(heap, is_looked_at_ever_more_rarely_until_no_call_is_left)
{
	struct heap h = { 0 };
	heap_took(&h, LARGE, 10);
	const double first = heap_tick(&h, 1, 10);
	cr_assert_gt(first, 0);
	const double second = heap_tick(&h, 1, 10 + first);
	cr_assert_gt(second, first);
	cr_assert_lt(heap_tick(&h, 0, 10 + first + second), 0);
	cr_assert_lt(heap_tick(&h, 0, 1000), 0);
}

Test(heap, a_look_that_is_near_is_not_put_off_by_what_comes)
{
	struct heap h = { 0 };
	heap_took(&h, LARGE, 10);
	const double wait = heap_tick(&h, 1, 10);
	heap_took(&h, LARGE, 10 + wait / 2);
	cr_assert_float_eq(heap_tick(&h, 1, 10 + wait / 2), wait / 2, 1e-9);
	/* One that is far is moved here: this message left holes of its own. */
	double now = 10, far = wait;
	while (far < 8 * wait)
		far = heap_tick(&h, 1, now += far);
	heap_took(&h, LARGE, now);
	cr_assert_float_eq(heap_tick(&h, 1, now), wait, 1e-9);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
/* The second number of statm(5). */
static long resident_pages(void)
{
	char line[128] = "", *second = line;
	FILE *f = fopen("/proc/self/statm", "r");
	cr_assert(f && fgets(line, sizeof line, f));
	fclose(f);
	strtol(line, &second, 10);
	return strtol(second, NULL, 10);
}

/* As a large message's parameters: many small pieces, and something that stays comes after. */
Test(heap, a_hole_below_what_stays_goes_back)
{
	enum { PIECES = 16384, BYTES = 512 };
	static void *pieces[PIECES];
	struct heap h = { 0 };
	heap_settle();
	for (size_t i = 0; i < PIECES; i++)
		pieces[i] = memset(xmalloc(BYTES), 1, BYTES);
	void *stays = xmalloc(BYTES);
	for (size_t i = 0; i < PIECES; i++)
		free(pieces[i]);
	const long before = resident_pages();
	heap_took(&h, LARGE, 10);
	heap_tick(&h, 0, 20);
	const long given = before - resident_pages();
	cr_assert_gt(given * sysconf(_SC_PAGESIZE), PIECES * BYTES / 2, "%ld pages", given);
	free(stays);
}
#endif
