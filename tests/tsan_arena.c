/* tsan_arena.c - lets Criterion run under ThreadSanitizer.
 *
 * Criterion's sandbox puts an arena at a random address that it draws with rand_r(), nearly
 * always inside TSan's shadow memory, where the mapping is refused. Linked into the suites of
 * a SAN=thread build, this draw stays in the one range that TSan leaves to programs and that
 * lies above every place the kernel may put a position-independent one. */
#include <stdlib.h>

#define ARENA_FIRST 0x367000 /* in units of 16 MiB from 0x200000000000 */
#define ARENA_COUNT 0x1000

int rand_r(unsigned int *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return ARENA_FIRST + (int)(*seed >> 16 & (ARENA_COUNT - 1));
}
