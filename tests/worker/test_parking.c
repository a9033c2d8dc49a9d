/* Where the KV pool is too small: who is parked, who is refused, and that no text changes. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/lane.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(parking, .timeout = 600);

#define N_JOBS 6

/* It begins with one block or two, and needs one more at its longest. */
static struct job *job_of(struct rig *r, size_t i, enum job_priority priority)
{
	int32_t prompt[64];
	size_t n = 20 + (i * 11) % 30;
	rig_prompt(prompt, n, 60 + i);
	struct job *j = rig_job(r, prompt, n);
	j->priority = priority;
	j->ignore_eos = true;
	j->max_tokens = 20 + (i * 7) % 20;
	j->sampling.temperature = i % 2 ? 0.8f : 0;
	j->sampling.seed = i;
	j->sampling.frequency_penalty = i % 3 == 2 ? 0.5f : 0;
	j->cache_prompt = i % 4 == 1;
	j->look_up = i % 3 == 0;
	j->max_draft = i % 3 == 0 ? 8 : 0;
	return j;
}

static struct rig *small_rig(size_t n_blocks)
{
	return rig_open(1, n_blocks * rig_block_bytes(), 32);
}

static struct lane *lane_of(struct rig *r)
{
	return model_ref_state(r->model);
}

static void must_be_as_alone(struct rig *plenty, struct heard *const *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct heard *alone = rig_run(plenty, job_of(plenty, i, PRIORITY_DEFAULT));
		rig_wait(h[i]);
		heard_must_equal(&alone->choices[0], &h[i]->choices[0], "in a small pool");
		heard_free(alone);
	}
}

static void close_clean(struct rig *r)
{
	rig_stop(r, true);
	struct lane *l = lane_of(r);
	cr_assert_eq(kv_pool_free_blocks(l->kv) + prefix_blocks(l->prefixes), kv_pool_blocks(l->kv),
		"blocks leaked");
	rig_must_owe_nothing(r);
	rig_free(r);
}

Test(parking, the_background_is_parked_and_goes_on_bit_for_bit)
{
	struct rig *plenty = rig_new(), *r = small_rig(7);
	struct heard *h[N_JOBS];
	for (size_t i = 0; i < N_JOBS; i++)
		h[i] = rig_submit(r, job_of(r, i, PRIORITY_BACKGROUND));
	rig_start(r);
	must_be_as_alone(plenty, h, N_JOBS);
	cr_assert_gt(lane_of(r)->n_parked, 0);
	cr_assert_eq(h[0]->choices[0].result.cached_tokens, 0);
	for (size_t i = 0; i < N_JOBS; i++)
		heard_free(h[i]);
	close_clean(r);
	rig_free(plenty);
}

Test(parking, growth_parks_each_at_most_once)
{
	struct rig *r = small_rig(5);
	struct heard *h[N_JOBS];
	for (size_t i = 0; i < N_JOBS; i++)
		h[i] = rig_submit(r, job_of(r, i, PRIORITY_BACKGROUND));
	rig_start(r);
	for (size_t i = 0; i < N_JOBS; i++) {
		rig_wait(h[i]);
		cr_assert_eq(h[i]->choices[0].result.finish, FINISH_LENGTH);
	}
	cr_assert_leq(lane_of(r)->n_parked, N_JOBS);
	for (size_t i = 0; i < N_JOBS; i++)
		heard_free(h[i]);
	close_clean(r);
}

struct visitor {
	struct job *job;
	struct heard *heard;
};

static void submit_at_tenth(struct heard *h, const struct job_token *t)
{
	struct visitor *v = h->hook_arg;
	if (t->index == 10)
		v->heard = rig_submit(h->rig, v->job);
}

Test(parking, the_background_makes_room_for_who_comes_later)
{
	struct rig *plenty = rig_new(), *r = small_rig(6);
	struct visitor v = { .job = job_of(r, 2, PRIORITY_DEFAULT) };
	struct heard hooks = { .on_token = submit_at_tenth, .hook_arg = &v };
	struct heard *h[3];
	h[0] = rig_submit_hooked(r, job_of(r, 0, PRIORITY_BACKGROUND), &hooks);
	h[1] = rig_submit(r, job_of(r, 1, PRIORITY_BACKGROUND));
	struct job *late = job_of(r, 3, PRIORITY_BACKGROUND);
	late->arrived += 1;
	struct heard *last = rig_submit(r, late);
	rig_start(r);
	rig_wait(h[0]);
	h[2] = v.heard;
	must_be_as_alone(plenty, h, 3);
	rig_wait(last);
	cr_assert_gt(lane_of(r)->n_parked, 0, "the three of the background fit by themselves");
	for (size_t i = 0; i < 3; i++)
		heard_free(h[i]);
	heard_free(last);
	close_clean(r);
	rig_free(plenty);
}

Test(parking, a_pool_far_too_small_finishes_all_that_can_fit_in_order_of_priority)
{
	static const enum job_priority classes[] = { PRIORITY_BACKGROUND, PRIORITY_DEFAULT,
		PRIORITY_URGENT };
	struct rig *r = small_rig(3);
	struct heard *h[N_JOBS], *never;
	double now = clock_now();
	for (size_t i = 0; i < N_JOBS; i++) {
		/* Two of them in the pool at a time would be one too many. */
		struct job *j = job_of(r, 3, classes[i % 3]);
		j->arrived = now;
		h[i] = rig_submit(r, j);
	}
	struct job *huge = job_of(r, 3, PRIORITY_URGENT);
	huge->max_tokens = 400;
	never = rig_submit(r, huge);
	rig_start(r);
	rig_wait(never);
	cr_assert_eq(never->choices[0].result.fault.err, ERR_NOMEM);
	cr_assert_not_null(strstr(never->choices[0].result.fault.data, "\"blocks\":3"));
	for (size_t i = 0; i < N_JOBS; i++) {
		rig_wait(h[i]);
		cr_assert_eq(h[i]->choices[0].result.finish, FINISH_LENGTH);
	}
	for (size_t i = 0; i < N_JOBS; i++)
		for (size_t k = 0; k < N_JOBS; k++)
			if (classes[i % 3] > classes[k % 3])
				cr_assert_gt(h[i]->order, h[k]->order, "%zu before %zu", i, k);
	for (size_t i = 0; i < N_JOBS; i++)
		heard_free(h[i]);
	heard_free(never);
	close_clean(r);
}

struct cancel {
	struct heard *victim;
};

static void cancel_when_parked(struct heard *h, const struct job_token *t)
{
	struct cancel *c = h->hook_arg;
	(void)t;
	if (lane_of(h->rig)->n_parked > 0 && c->victim) {
		h->broken |= !engine_cancel(h->rig->engine, c->victim->key);
		c->victim = NULL;
	}
}

Test(parking, a_cancel_and_a_deadline_reach_who_is_parked)
{
	struct rig *r = small_rig(3);
	struct cancel c = { 0 };
	struct heard hooks = { .on_token = cancel_when_parked, .hook_arg = &c };
	struct heard *first = rig_submit_hooked(r, job_of(r, 3, PRIORITY_BACKGROUND), &hooks);
	struct heard *second = rig_submit(r, job_of(r, 3, PRIORITY_BACKGROUND));
	c.victim = second;
	rig_start(r);
	rig_wait(first);
	rig_wait(second);
	cr_assert_eq(lane_of(r)->n_parked, 1);
	cr_assert_eq(first->choices[0].result.finish, FINISH_LENGTH);
	cr_assert_eq(second->choices[0].result.finish, FINISH_CANCELLED);
	cr_assert_gt(second->choices[0].n, 5, "it had begun");
	heard_free(first);
	heard_free(second);
	close_clean(r);
}
