/* arena.c - chunks in a list, freed together. */
#include "worker/template/arena.h"
#include "protocol/mem.h"
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 16384

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, cap;
	alignas(16) char bytes[];
};

void *arena_alloc(struct arena *a, size_t n_bytes)
{
	size_t n = (n_bytes + 15) & ~(size_t)15;
	struct arena_chunk *c = a->head;
	if (!c || c->cap - c->used < n) {
		size_t cap = n > CHUNK_BYTES ? n : CHUNK_BYTES;
		c = xcalloc(1, sizeof *c + cap);
		c->cap = cap;
		c->next = a->head;
		a->head = c;
	}
	void *p = c->bytes + c->used;
	c->used += n;
	a->n_bytes += n;
	return p;
}

void *arena_copy(struct arena *a, const void *bytes, size_t n_bytes)
{
	void *p = arena_alloc(a, n_bytes + 1);
	if (n_bytes)
		memcpy(p, bytes, n_bytes);
	return p;
}

void arena_release(struct arena *a)
{
	while (a->head) {
		struct arena_chunk *next = a->head->next;
		free(a->head);
		a->head = next;
	}
	a->n_bytes = 0;
}
