/* arena.h - memory that goes all at once: a template's nodes, a rendering's values. */
#ifndef WORKER_TEMPLATE_ARENA_H
#define WORKER_TEMPLATE_ARENA_H
#include <stddef.h>

struct arena_chunk;
struct arena {
	struct arena_chunk *head;
	size_t n_bytes; /* handed out in all */
};

void *arena_alloc(struct arena *a, size_t n_bytes); /* zeroed, aligned to 16 */
void *arena_copy(struct arena *a, const void *bytes, size_t n_bytes);
void arena_release(struct arena *a);
#endif
