#include "kernels/give_way.h"
#include "kernels/pool.h"
#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define MOST_CHUNKS 1000

struct tally {
	_Atomic int runs[MOST_CHUNKS];
	_Atomic int busy[8]; /* chunks running at the same time under one thread index */
	_Atomic int clashes;
};

static void count(void *arg, size_t chunk, size_t thread)
{
	struct tally *t = arg;

	if (atomic_fetch_add(&t->busy[thread], 1) != 0)
		atomic_fetch_add(&t->clashes, 1);
	atomic_fetch_add(&t->runs[chunk], 1);
	atomic_fetch_sub(&t->busy[thread], 1);
}

Test(pool, runs_every_chunk_once_whatever_the_number_of_threads, .timeout = 60)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 7, 64, MOST_CHUNKS };

	for (size_t n_threads = 1; n_threads <= 8; n_threads += n_threads < 4 ? 1 : 4) {
		struct pool *p = pool_new(n_threads);
		cr_assert_eq(pool_threads(p), n_threads);
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
			struct tally t = { 0 };
			pool_run(p, count, &t, sizes[s]);
			for (size_t i = 0; i < MOST_CHUNKS; i++)
				cr_assert_eq(
					t.runs[i], i < sizes[s], "chunk %zu of %zu", i, sizes[s]);
			cr_assert_eq(t.clashes, 0, "two chunks shared a thread index");
		}
		pool_free(p);
	}
}

static void where(void *arg, size_t chunk, size_t thread)
{
	cpu_set_t *seen = (cpu_set_t *)arg + thread;

	(void)chunk;
	sched_getaffinity(0, sizeof *seen, seen);
}

Test(pool, pins_each_thread_to_a_processor_of_its_own_or_none, .timeout = 60)
{
	cpu_set_t all, seen[2] = { 0 };

	sched_getaffinity(0, sizeof all, &all);
	struct pool *many = pool_new((size_t)CPU_COUNT(&all) + 1);
	cr_assert_not(pool_pin(many));
	pool_free(many);
	if (CPU_COUNT(&all) < 2)
		cr_skip_test("one processor");
	struct pool *two = pool_new(2);
	cr_assert(pool_pin(two));
	while (CPU_COUNT(&seen[0]) == 0 || CPU_COUNT(&seen[1]) == 0)
		pool_run(two, where, seen, 64);
	cr_assert_eq(CPU_COUNT(&seen[0]), 1);
	cr_assert_eq(CPU_COUNT(&seen[1]), 1);
	cr_assert_not(CPU_EQUAL(&seen[0], &seen[1]));
	pool_free(two);
}

struct sum {
	const int *in;
	int out[MOST_CHUNKS];
};

static void triple(void *arg, size_t chunk, size_t thread)
{
	struct sum *s = arg;

	(void)thread;
	s->out[chunk] = 3 * s->in[chunk];
}

/* Plain memory on both sides: ThreadSanitizer would see a missing hand-over. */
Test(pool, hands_memory_over_in_both_directions_job_after_job, .timeout = 60)
{
	struct pool *p = pool_new(3);
	int in[MOST_CHUNKS];
	struct sum s = { .in = in };

	for (int job = 0; job < 3000; job++) {
		size_t n = (size_t)(job * 7 % 40);
		for (size_t i = 0; i < n; i++)
			in[i] = job + (int)i;
		pool_run(p, triple, &s, n);
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(s.out[i], 3 * (job + (int)i), "job %d chunk %zu", job, i);
	}
	pool_free(p);
}

/* What each thread began with; nobody goes on before all have begun. */
struct firsts {
	_Atomic size_t chunk[3]; /* 1 + its number; 0 = none yet */
};

static void note_first(void *arg, size_t chunk, size_t thread)
{
	struct firsts *f = arg;
	size_t none = 0;

	if (!atomic_compare_exchange_strong(&f->chunk[thread], &none, chunk + 1))
		return;
	while (!f->chunk[0] || !f->chunk[1] || !f->chunk[2])
		sched_yield();
}

Test(pool, each_thread_begins_with_a_share_of_its_own, .timeout = 60)
{
	struct pool *p = pool_new(3);

	for (size_t n_chunks = 3; n_chunks < 20; n_chunks++) {
		struct firsts f = { 0 };
		pool_run(p, note_first, &f, n_chunks);
		for (size_t t = 0; t < 3; t++) {
			size_t begin, end;
			pool_range(n_chunks, 3, t, &begin, &end);
			cr_expect_eq(f.chunk[t], begin + 1, "%zu of %zu", t, n_chunks);
		}
	}
	pool_free(p);
}

static void nap(void *arg, size_t chunk, size_t thread)
{
	_Atomic int *n = arg;

	(void)thread;
	/* Long enough that the others run dry, spin out and sleep. */
	for (volatile int i = 0; i < (chunk == 0 ? 2000000 : 10); i++)
		;
	atomic_fetch_add(n, 1);
}

Test(pool, wakes_those_who_fell_asleep_and_waits_for_a_late_chunk, .timeout = 60)
{
	struct pool *p = pool_new(4);
	_Atomic int n = 0;

	for (int job = 1; job <= 50; job++) {
		pool_run(p, nap, &n, 6);
		cr_assert_eq(n, 6 * job);
	}
	pool_free(p);
}

Test(pool, cuts_ranges_that_cover_all_items_once)
{
	struct pool *p = pool_new(2);

	for (size_t n = 0; n < 300; n++)
		for (size_t least = 1; least < 70; least += 17) {
			size_t n_chunks = pool_chunks(p, n, least, SIZE_MAX), at = 0;
			for (size_t c = 0; c < n_chunks; c++) {
				size_t begin, end;
				pool_range(n, n_chunks, c, &begin, &end);
				cr_assert(begin == at && end > begin);
				cr_assert(n < least || end - begin >= least);
				at = end;
			}
			cr_assert_eq(at, n);
		}
	pool_free(p);
}

Test(pool, cuts_chunks_of_no_more_than_the_most_unless_the_least_says_otherwise)
{
	for (size_t n_threads = 1; n_threads <= 2; n_threads++) {
		struct pool *p = pool_new(n_threads);
		cr_assert_eq(pool_chunks(p, 0, 1, 5), 0);
		cr_assert_eq(pool_chunks(p, 1000, 1, SIZE_MAX), n_threads == 1 ? 1 : 8);
		cr_assert_eq(pool_chunks(p, 1000, 1, 50), 20);
		cr_assert_eq(pool_chunks(p, 1001, 1, 50), 21);
		cr_assert_eq(pool_chunks(p, 1000, 100, 50), 10);
		cr_assert_eq(pool_chunks(p, 3, 100, 1), 1);
		pool_free(p);
	}
}

Test(give_way, asks_more_rarely_of_those_who_keep_the_processor_and_again_when_they_do_not)
{
	const int64_t ms = 1000000;
	int64_t every = give_way_interval(0, 0);

	cr_assert_eq(every, GIVE_WAY_LEAST_NS);
	cr_assert_eq(give_way_interval(every, ms / 2), GIVE_WAY_LEAST_NS);
	for (int i = 0; i < 10; i++)
		every = give_way_interval(every, 3 * ms);
	cr_assert_eq(every, GIVE_WAY_MOST_NS);
	cr_assert_lt(give_way_interval(every, ms / 100), every);
	for (int i = 0; i < 20; i++)
		every = give_way_interval(every, ms / 100);
	cr_assert_eq(every, GIVE_WAY_LEAST_NS);
}

Test(give_way, yields_at_once_and_then_not_before_it_is_due)
{
	struct give_way g = { 0 };

	give_way(&g);
	cr_assert_geq(g.every_ns, GIVE_WAY_LEAST_NS);
	g.due_ns = INT64_MAX;
	const struct give_way before = g;
	give_way(&g);
	cr_assert(g.due_ns == before.due_ns && g.every_ns == before.every_ns);
}
