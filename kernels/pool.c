/* pool.c - threads that take chunks, each from its own share first.
 *
 * A share's `open` holds the number of the job and how many of the share's chunks nobody has
 * taken, in one word. A chunk is taken by a compare-and-swap on it, so a thread that wakes late,
 * after its job is over, cannot take a chunk of the next one with the old function: while chunks
 * are left the job is not over and fn, arg and n_chunks are its own; once it is over the word
 * has changed and the swap fails. */
#include "kernels/pool.h"
#include "kernels/give_way.h"
#include "kernels/now.h"
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SPIN_NS        30000 /* how long to watch before sleeping */
#define SPINS_PER_LOOK 64    /* pauses between two looks at the clock */

struct helper {
	struct pool *pool;
	size_t thread;
	pthread_t id;
};

/* One thread's; cache lines of its own, since every chunk looks at it. */
struct share {
	_Alignas(128) _Atomic uint64_t open; /* job number << 32 | chunks not taken yet */
	struct give_way others;
};

struct pool {
	size_t n_threads, n_helpers;
	struct helper *helpers; /* [n_threads - 1] */
	struct share *shares;   /* [n_threads] */

	/* The job. Atomic because a late thread may read them while the next is written. */
	pool_fn *_Atomic fn;
	void *_Atomic arg;
	_Atomic uint32_t n_chunks;

	uint32_t n_jobs;
	_Atomic uint32_t done; /* chunks finished */
	_Atomic bool stop;

	/* Only for going to sleep and being woken; sleepers and waiting are raised under the
	 * lock before the last look, and read after publishing, so no wake-up is lost. */
	pthread_mutex_t lock;
	pthread_cond_t wake, finished;
	_Atomic unsigned sleepers;
	_Atomic bool waiting;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static bool has_work(struct pool *p)
{
	for (size_t i = 0; i < p->n_threads; i++)
		if ((uint32_t)atomic_load(&p->shares[i].open) != 0)
			return true;
	return atomic_load(&p->stop);
}

static bool is_done(struct pool *p)
{
	return atomic_load(&p->done) == atomic_load_explicit(&p->n_chunks, memory_order_relaxed);
}

/* Watch for `ready` for SPIN_NS at most. */
static bool spin_until(struct pool *p, bool (*ready)(struct pool *p))
{
	int64_t limit = now_ns() + SPIN_NS;

	do {
		for (int i = 0; i < SPINS_PER_LOOK; i++) {
			if (ready(p))
				return true;
			pause_briefly();
		}
	} while (now_ns() < limit);
	return false;
}

/* Take and run one chunk of a share; false when none is left. */
static bool run_one(struct pool *p, size_t share, size_t thread)
{
	uint64_t word = atomic_load(&p->shares[share].open);
	size_t begin, end;
	pool_fn *fn;
	void *arg;
	uint32_t n;

	do {
		if ((uint32_t)word == 0)
			return false;
		fn = atomic_load_explicit(&p->fn, memory_order_relaxed);
		arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
		n = atomic_load_explicit(&p->n_chunks, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak(&p->shares[share].open, &word, word - 1));
	pool_range(n, p->n_threads, share, &begin, &end);
	fn(arg, end - (uint32_t)word, thread);
	give_way(&p->shares[thread].others);
	if (atomic_fetch_add(&p->done, 1) + 1 == n && atomic_load(&p->waiting)) {
		pthread_mutex_lock(&p->lock);
		pthread_cond_signal(&p->finished);
		pthread_mutex_unlock(&p->lock);
	}
	return true;
}

/* The thread's own share, then what is left of the others'. */
static void run_all(struct pool *p, size_t thread)
{
	for (size_t i = 0; i < p->n_threads; i++)
		while (run_one(p, (thread + i) % p->n_threads, thread))
			;
}

static void sleep_until_work(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	atomic_fetch_add(&p->sleepers, 1);
	while (!has_work(p))
		pthread_cond_wait(&p->wake, &p->lock);
	atomic_fetch_sub(&p->sleepers, 1);
	pthread_mutex_unlock(&p->lock);
}

static void *helper_main(void *arg)
{
	struct helper *h = arg;

	while (!atomic_load(&h->pool->stop)) {
		run_all(h->pool, h->thread);
		if (!spin_until(h->pool, has_work))
			sleep_until_work(h->pool);
	}
	return NULL;
}

static void wake_all(struct pool *p)
{
	if (atomic_load(&p->sleepers) == 0)
		return;
	pthread_mutex_lock(&p->lock);
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

static void wait_done(struct pool *p)
{
	if (spin_until(p, is_done))
		return;
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->waiting, true);
	while (!is_done(p))
		pthread_cond_wait(&p->finished, &p->lock);
	atomic_store(&p->waiting, false);
	pthread_mutex_unlock(&p->lock);
}

void pool_run(struct pool *p, pool_fn *fn, void *arg, size_t n_chunks)
{
	size_t begin, end;

	assert(n_chunks <= UINT32_MAX);
	if (p->n_threads == 1 || n_chunks <= 1) {
		for (size_t i = 0; i < n_chunks; i++) {
			fn(arg, i, 0);
			give_way(&p->shares[0].others);
		}
		return;
	}
	atomic_store_explicit(&p->fn, fn, memory_order_relaxed);
	atomic_store_explicit(&p->arg, arg, memory_order_relaxed);
	atomic_store_explicit(&p->n_chunks, (uint32_t)n_chunks, memory_order_relaxed);
	atomic_store_explicit(&p->done, 0, memory_order_relaxed);
	p->n_jobs++;
	for (size_t i = 0; i < p->n_threads; i++) {
		pool_range(n_chunks, p->n_threads, i, &begin, &end);
		atomic_store(&p->shares[i].open, (uint64_t)p->n_jobs << 32 | (end - begin));
	}
	wake_all(p);
	run_all(p, 0);
	wait_done(p);
}

struct pool *pool_new(size_t n_threads)
{
	struct pool *p = calloc(1, sizeof *p);

	assert(n_threads >= 1);
	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->finished, NULL);
	p->n_threads = n_threads;
	p->helpers = calloc(n_threads, sizeof *p->helpers);
	p->shares = aligned_alloc(_Alignof(struct share), n_threads * sizeof *p->shares);
	if (!p->helpers || !p->shares)
		goto fail;
	memset(p->shares, 0, n_threads * sizeof *p->shares);
	for (size_t i = 0; i + 1 < n_threads; i++) {
		struct helper *h = &p->helpers[i];
		*h = (struct helper) { .pool = p, .thread = i + 1 };
		if (pthread_create(&h->id, NULL, helper_main, h) != 0)
			goto fail;
		p->n_helpers++;
	}
	return p;
fail:
	pool_free(p);
	return NULL;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	atomic_store(&p->stop, true);
	wake_all(p);
	for (size_t i = 0; i < p->n_helpers; i++)
		pthread_join(p->helpers[i].id, NULL);
	pthread_cond_destroy(&p->finished);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->shares);
	free(p->helpers);
	free(p);
}

bool pool_pin(struct pool *p)
{
	cpu_set_t all, one;
	size_t thread = 0;

	if (sched_getaffinity(0, sizeof all, &all) != 0 || (size_t)CPU_COUNT(&all) < p->n_threads)
		return false;
	for (size_t cpu = 0; thread < p->n_threads; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		pthread_t id = thread ? p->helpers[thread - 1].id : pthread_self();
		if (pthread_setaffinity_np(id, sizeof one, &one) != 0)
			return false;
		thread++;
	}
	return true;
}

size_t pool_threads(const struct pool *p)
{
	return p->n_threads;
}

/* Four chunks per thread: a thread that loses its core for a while keeps at most a quarter
 * of its share from the others. */
size_t pool_chunks(const struct pool *p, size_t n, size_t least, size_t most)
{
	size_t limit = n / least, want = p->n_threads == 1 ? 1 : 4 * p->n_threads;

	if (n == 0)
		return 0;
	if (want < (n - 1) / most + 1)
		want = (n - 1) / most + 1;
	if (limit == 0)
		limit = 1;
	return limit < want ? limit : want;
}

void pool_range(size_t n, size_t n_chunks, size_t chunk, size_t *begin, size_t *end)
{
	size_t each = n / n_chunks, rest = n % n_chunks;

	*begin = chunk * each + (chunk < rest ? chunk : rest);
	*end = *begin + each + (chunk < rest);
}
