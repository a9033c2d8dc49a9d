/* pool.h - the only place where threads multiply.
 *
 * A pool of n threads (the caller counts as one) runs one job at a time: pool_run() hands out
 * chunks 0..n_chunks-1 and returns when all are done. Thread t begins with the t-th n-th of them,
 * so that jobs which are cut alike leave what a thread wrote in its own cache; who is through with
 * its own takes what is left of the others', so a core stolen by a neighbour delays one chunk,
 * not the step. Hence results may not depend on which thread ran what.
 * Between jobs threads spin for some 20 µs, since the next operation of a forward pass
 * follows at once, and then sleep until it comes: nothing spins while idle. Between chunks
 * they let others have the processor (give_way.h): chunks are to be short, some 0.1 ms.
 *
 * pool_run is called by one thread at a time, never from inside a chunk. With one thread it
 * is a plain loop and no thread exists. */
#ifndef KERNELS_POOL_H
#define KERNELS_POOL_H
#include <stdbool.h>
#include <stddef.h>

struct pool;

/* One chunk of a job. `thread` is 0..n_threads-1, unique among chunks running at the same
 * time: an index into per-thread scratch. */
typedef void pool_fn(void *arg, size_t chunk, size_t thread);

/* n_threads >= 1. NULL when memory or threads are short. Owned: pool_free joins them. */
struct pool *pool_new(size_t n_threads);
void pool_free(struct pool *p); /* NULL is fine; no job is running */
size_t pool_threads(const struct pool *p);

/* Put each thread, the calling one first, on a processor of its own among those the caller may
 * use. False where there are fewer than threads or the system refuses. The caller is to be the
 * one that calls pool_run. */
bool pool_pin(struct pool *p);

/* Everything the caller wrote before is visible to the chunks, and everything they wrote to
 * the caller after. n_chunks may be 0. */
void pool_run(struct pool *p, pool_fn *fn, void *arg, size_t n_chunks);

/* How many chunks to cut n items into: enough that a late thread matters little and no more
 * than `most` items are in one, but at least `least` in each, which goes first. Both >= 1.
 * Item range of chunk c: pool_range. */
size_t pool_chunks(const struct pool *p, size_t n, size_t least, size_t most);
void pool_range(size_t n, size_t n_chunks, size_t chunk, size_t *begin, size_t *end);
#endif
