/* Decoding asks for no memory: what a step needs was taken when the job came. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The linker sends every allocation of our objects here (--wrap); libraries' own are not
 * counted. */
static atomic_bool counting;
static atomic_size_t n_allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static void count(void)
{
	if (atomic_load(&counting))
		atomic_fetch_add(&n_allocations, 1);
}

void *__wrap_malloc(size_t n)
{
	count();
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	count();
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	count();
	return __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	count();
	return __real_reallocarray(p, n, size);
}

TestSuite(allocations, .timeout = 600);

/* Buffers of text and the block table have grown by the 40th token. */
static void count_from_40_to_90(struct heard *h, const struct job_token *t)
{
	(void)h;
	if (t->choice == 0 && t->index == 40)
		atomic_store(&counting, true);
	if (t->choice == 0 && t->index == 90)
		atomic_store(&counting, false);
}

Test(allocations, are_counted)
{
	atomic_store(&counting, true);
	free(xcalloc(1, 10));
	atomic_store(&counting, false);
	cr_assert_eq(n_allocations, 1);
}

Test(allocations, decoding_makes_none)
{
	struct rig *r = rig_new();
	struct job *j = rig_text_job(r, "The rain had not stopped for a week and");
	char *stops[] = { "never in this text", "nor this" };
	j->max_tokens = 100;
	j->ignore_eos = true;
	j->n_choices = 2;
	j->sampling.temperature = 0.8f;
	j->sampling.top_p = 0.9f;
	j->sampling.top_k = 50;
	j->sampling.repetition_penalty = 1.1f;
	j->sampling.frequency_penalty = 0.1f;
	j->sampling.top_logprobs = 5;
	j->stops = calloc(2, sizeof *j->stops);
	for (size_t i = 0; i < 2; i++)
		j->stops[j->n_stops++] = strdup(stops[i]);
	struct heard *h =
		rig_submit_hooked(r, j, &(struct heard) { .on_token = count_from_40_to_90 });
	rig_wait(h);
	cr_assert_eq(h->choices[0].n, 100);
	cr_assert_eq(n_allocations, 0, "%zu allocations in 50 steps", (size_t)n_allocations);
	heard_free(h);
	rig_free(r);
}
