/* Cancels, deadlines, priorities and the end of the engine: every job ends exactly once. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/lane.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

TestSuite(engine_ends, .timeout = 600);

/* Tokens of a long job: KV blocks for 40 + LONG - 1 positions are 5. */
#define LONG 100

static void must_end(struct heard *h, enum finish finish)
{
	rig_wait(h);
	cr_assert_eq(h->choices[0].n_done, 1);
	cr_assert_eq(h->choices[0].result.finish, finish, "ended %s, not %s",
		finish_name(h->choices[0].result.finish), finish_name(finish));
}

static size_t free_blocks(struct rig *r)
{
	struct lane *l = model_ref_state(r->model);
	return kv_pool_free_blocks(l->kv);
}

static size_t all_blocks(struct rig *r)
{
	struct lane *l = model_ref_state(r->model);
	return kv_pool_blocks(l->kv);
}

/* -- cancel -------------------------------------------------------------------------------- */

static void cancel_at_third(struct heard *h, const struct job_token *t)
{
	if (t->index == 2 && !engine_cancel(h->rig->engine, h->key))
		h->broken = true;
}

Test(engine_ends, a_cancel_in_decode_lets_no_further_token_out)
{
	struct rig *r = rig_new();
	struct heard *other = rig_submit(r, rig_long_job(r, 1, LONG));
	struct heard *h = rig_submit_hooked(
		r, rig_long_job(r, 2, LONG), &(struct heard) { .on_token = cancel_at_third });
	must_end(h, FINISH_CANCELLED);
	cr_assert_eq(h->choices[0].n, 3, "told during its third token, no fourth came");
	cr_assert_eq(h->choices[0].result.completion_tokens, 3);
	must_end(other, FINISH_LENGTH);
	cr_assert_eq(other->choices[0].n, LONG);
	cr_assert_not(engine_cancel(r->engine, h->key), "it is over");
	heard_free(h);
	heard_free(other);
	rig_free(r);
}

static void cancel_at_last(struct heard *h, const struct job_token *t)
{
	if (t->index == LONG - 1 && !engine_cancel(h->rig->engine, h->key))
		h->broken = true;
}

Test(engine_ends, a_cancel_that_was_told_true_ends_cancelled_even_at_the_last_token)
{
	struct rig *r = rig_new();
	struct heard *h = rig_submit_hooked(
		r, rig_long_job(r, 2, LONG), &(struct heard) { .on_token = cancel_at_last });
	must_end(h, FINISH_CANCELLED);
	cr_assert_eq(h->choices[0].n, LONG);
	heard_free(h);
	rig_free(r);
}

struct victim {
	struct heard *heard;
	size_t n_before; /* tokens it had when it was cancelled */
};

static void cancel_victim(struct heard *h, const struct job_token *t)
{
	struct victim *v = h->hook_arg;
	if (t->index != 50)
		return;
	v->n_before = v->heard->n_tokens;
	h->broken |= !engine_cancel(h->rig->engine, v->heard->key);
}

Test(engine_ends, a_cancel_reaches_a_neighbour_within_the_same_step)
{
	struct rig *r = rig_open(1, RIG_KV, 4);
	struct victim v = { 0 };
	struct job *first = rig_long_job(r, 1, LONG), *j = rig_long_job(r, 2, LONG);
	j->max_tokens = 400;
	struct heard *killer = rig_submit_hooked(
		r, first, &(struct heard) { .on_token = cancel_victim, .hook_arg = &v });
	v.heard = rig_submit(r, j);
	rig_start(r);
	must_end(v.heard, FINISH_CANCELLED);
	must_end(killer, FINISH_LENGTH);
	cr_assert_gt(v.n_before, 10);
	cr_assert_eq(v.heard->choices[0].n, v.n_before);
	heard_free(v.heard);
	heard_free(killer);
	rig_free(r);
}

static void cancel_now(struct heard *h)
{
	engine_cancel(h->rig->engine, h->key);
}

Test(engine_ends, a_cancel_in_prefill_computes_no_further_chunk)
{
	struct rig *r = rig_new();
	int32_t prompt[500];
	rig_prompt(prompt, 500, 4);
	struct heard *h = rig_submit_hooked(
		r, rig_job(r, prompt, 500), &(struct heard) { .on_progress = cancel_now });
	must_end(h, FINISH_CANCELLED);
	cr_assert_eq(h->n_progress, 1);
	cr_assert_eq(h->choices[0].n, 0);
	heard_free(h);
	rig_free(r);
}

Test(engine_ends, a_cancel_reaches_who_waits_in_line)
{
	struct rig *r = rig_open(1, RIG_KV, 1);
	struct heard *first = rig_submit(r, rig_long_job(r, 1, LONG));
	struct heard *second = rig_submit(r, rig_long_job(r, 2, LONG));
	struct heard *third = rig_submit(r, rig_long_job(r, 3, LONG));
	cr_assert(engine_cancel(r->engine, second->key));
	cr_assert_not(engine_cancel(r->engine, 999));
	cr_assert_eq(engine_active(r->engine), 3);
	rig_start(r);
	must_end(second, FINISH_CANCELLED);
	must_end(first, FINISH_LENGTH);
	must_end(third, FINISH_LENGTH);
	cr_assert_lt(second->order, first->order);
	cr_assert_eq(second->n_progress, 0);
	cr_assert_eq(engine_active(r->engine), 0);
	heard_free(first);
	heard_free(second);
	heard_free(third);
	rig_free(r);
}

Test(engine_ends, cancelling_a_job_ends_all_its_choices)
{
	struct rig *r = rig_new();
	struct job *j = rig_long_job(r, 1, LONG);
	j->n_choices = 4;
	struct heard *h = rig_submit_hooked(r, j, &(struct heard) { .on_token = cancel_at_third });
	must_end(h, FINISH_CANCELLED);
	for (int i = 0; i < 4; i++)
		cr_assert(h->choices[i].n_done == 1 && h->choices[i].n <= 3);
	cr_assert_eq(free_blocks(r), all_blocks(r));
	heard_free(h);
	rig_free(r);
}

Test(engine_ends, cancelling_a_model_ends_its_jobs)
{
	struct rig *r = rig_new();
	struct heard *a = rig_submit(r, rig_long_job(r, 1, LONG)),
		     *b = rig_submit(r, rig_long_job(r, 2, LONG));
	engine_cancel_model(r->engine, (struct model_ref *)r->catalog);
	cr_assert_eq(engine_active(r->engine), 2, "another model's");
	engine_cancel_model(r->engine, r->model);
	must_end(a, FINISH_CANCELLED);
	must_end(b, FINISH_CANCELLED);
	heard_free(a);
	heard_free(b);
	rig_free(r);
}

/* -- time ---------------------------------------------------------------------------------- */

Test(engine_ends, a_deadline_ends_the_text_with_what_there_is)
{
	struct rig *r = rig_new();
	struct job *j = rig_long_job(r, 1, LONG);
	j->deadline = j->arrived - 1;
	struct heard *late = rig_submit(r, j);
	must_end(late, FINISH_TIMEOUT);
	cr_assert_eq(late->choices[0].n, 0);
	heard_free(late);
	rig_free(r);
}

static void pass_the_deadline(struct heard *h, const struct job_token *t)
{
	double *until = h->hook_arg;
	while (t->index == 4 && clock_now() <= *until)
		;
}

Test(engine_ends, a_deadline_in_decode_ends_before_the_next_token)
{
	struct rig *r = rig_open(1, RIG_KV, 4);
	struct job *j = rig_long_job(r, 1, LONG);
	/* The fifth token's sink sees to it that the deadline has passed. */
	double until = j->deadline = clock_now() + 0.5;
	rig_start(r);
	struct heard *h = rig_submit_hooked(
		r, j, &(struct heard) { .on_token = pass_the_deadline, .hook_arg = &until });
	must_end(h, FINISH_TIMEOUT);
	cr_assert_leq(h->choices[0].n, 5);
	heard_free(h);
	rig_free(r);
}

static void take_a_while(void *arg)
{
	double until = clock_now() + *(double *)arg;
	while (clock_now() < until)
		;
}

Test(engine_ends, an_idle_timeout_ends_who_hears_nothing_for_so_long)
{
	struct rig *r = rig_open(1, RIG_KV, 4);
	double wait = 0.02;
	engine_free(r->engine);
	r->engine = engine_new(&(struct engine_options) { .threads = 1,
		.kv_bytes = RIG_KV,
		.max_running = 4,
		.gate = take_a_while,
		.gate_arg = &wait });
	struct job *j = rig_long_job(r, 1, LONG);
	j->idle_timeout = 0.01;
	struct heard *h = rig_submit(r, j);
	struct job *patient = rig_long_job(r, 2, LONG);
	patient->idle_timeout = 60;
	patient->max_tokens = 5;
	struct heard *other = rig_submit(r, patient);
	rig_start(r);
	must_end(h, FINISH_TIMEOUT);
	must_end(other, FINISH_LENGTH);
	heard_free(h);
	heard_free(other);
	rig_free(r);
}

/* -- order --------------------------------------------------------------------------------- */

Test(engine_ends, urgent_goes_first_and_equals_keep_their_order)
{
	struct rig *r = rig_open(1, RIG_KV, 1);
	enum job_priority of[] = { PRIORITY_BACKGROUND, PRIORITY_DEFAULT, PRIORITY_DEFAULT,
		PRIORITY_URGENT };
	struct heard *h[4];
	for (size_t i = 0; i < 4; i++) {
		struct job *j = rig_long_job(r, i, LONG);
		j->max_tokens = 3;
		j->priority = of[i];
		j->arrived = 1000 + (double)i * 0.001;
		h[i] = rig_submit(r, j);
	}
	rig_start(r);
	for (int i = 0; i < 4; i++)
		rig_wait(h[i]);
	cr_assert(h[3]->order < h[1]->order && h[1]->order < h[2]->order &&
		  h[2]->order < h[0]->order);
	for (int i = 0; i < 4; i++)
		heard_free(h[i]);
	rig_free(r);
}

Test(engine_ends, two_models_take_turns)
{
	struct rig *r = rig_open(1, RIG_KV, 4);
	struct model *m = NULL;
	struct fault f = { 0 };
	struct model_options load = { .path = RIG_MODEL };
	cr_assert_eq(model_open(&load, &m, &f), 0, "%s", f.text);
	catalog_put(r->catalog, "second", m);
	struct heard *a = rig_submit(r, rig_long_job(r, 1, LONG));
	struct job *j = rig_long_job(r, 1, LONG);
	model_ref_release(j->model);
	j->model = catalog_get(r->catalog, "second", &f);
	j->max_tokens = LONG - 30;
	struct heard *b = rig_submit(r, j);
	/* Taken out while it has work: the job keeps it until it ends. */
	cr_assert_eq(catalog_remove(r->catalog, "second", &f), 0);
	rig_start(r);
	must_end(b, FINISH_LENGTH);
	must_end(a, FINISH_LENGTH);
	cr_assert_lt(b->order, a->order, "the shorter text is over first");
	cr_assert_arr_eq(a->choices[0].ids, b->choices[0].ids, (LONG - 30) * sizeof(int32_t));
	heard_free(a);
	heard_free(b);
	rig_free(r);
}

/* -- memory -------------------------------------------------------------------------------- */

/* A pool of about so many blocks. */
static size_t kv_bytes(size_t n_blocks)
{
	struct rig *r = rig_open(1, RIG_KV, 1);
	size_t per_token = model_info(model_ref_model(r->model))->kv_bytes_per_token;
	rig_free(r);
	return n_blocks * KV_BLOCK_TOKENS * (per_token ? per_token : 8192);
}

Test(engine_ends, what_never_fits_is_refused_with_the_counts)
{
	struct rig *r = rig_open(1, kv_bytes(4), 4);
	rig_start(r);
	struct heard *h = rig_run(r, rig_long_job(r, 1, LONG));
	must_end(h, FINISH_ERROR);
	const struct fault *f = &h->choices[0].result.fault;
	cr_assert_eq(f->err, ERR_NOMEM);
	cr_assert_not_null(strstr(f->data, "\"blocks_needed\":5"), "%s", f->data);
	cr_assert_not_null(strstr(f->data, "\"blocks\":"));
	heard_free(h);
	rig_free(r);
}

Test(engine_ends, what_does_not_fit_now_waits_and_everyone_finishes)
{
	struct rig *r = rig_open(1, kv_bytes(10), 32);
	struct heard *h[12];
	for (size_t i = 0; i < 12; i++) {
		struct job *j = rig_long_job(r, i, LONG);
		j->max_tokens = 10 + (i * 53) % 90;
		j->n_choices = i % 5 == 0 ? 2 : 1;
		if (j->n_choices == 2)
			j->max_tokens = 50;
		h[i] = rig_submit(r, j);
	}
	rig_start(r);
	for (size_t i = 0; i < 12; i++) {
		must_end(h[i], FINISH_LENGTH);
		heard_free(h[i]);
	}
	cr_assert_eq(free_blocks(r), all_blocks(r));
	rig_free(r);
}

Test(engine_ends, many_jobs_with_random_cancels_leave_no_block_behind)
{
	struct rig *r = rig_open(1, kv_bytes(24), 8);
	rig_start(r);
	struct heard *h[120];
	size_t n_cancelled = 0;
	for (size_t i = 0; i < 120; i++) {
		int32_t prompt[80];
		size_t n = 1 + (size_t)(sampler_uniform(1, i) * 79);
		rig_prompt(prompt, n, i);
		struct job *j = rig_job(r, prompt, n);
		j->sampling.temperature = 1;
		j->sampling.seed = i;
		j->max_tokens = 1 + (size_t)(sampler_uniform(2, i) * 12);
		j->n_choices = i % 7 == 0 ? 3 : 1;
		j->priority = (enum job_priority)(i % 3);
		h[i] = rig_submit(r, j);
		if (sampler_uniform(3, i) < 0.4) {
			size_t victim = (size_t)(sampler_uniform(4, i) * (double)(i + 1));
			n_cancelled += engine_cancel(r->engine, victim + 1);
		}
	}
	size_t n_heard_cancelled = 0;
	for (size_t i = 0; i < 120; i++) {
		rig_wait(h[i]);
		bool any = false;
		for (int c = 0; c < (i % 7 == 0 ? 3 : 1); c++) {
			cr_assert_eq(h[i]->choices[c].n_done, 1);
			any |= h[i]->choices[c].result.finish == FINISH_CANCELLED;
		}
		n_heard_cancelled += any;
		heard_free(h[i]);
	}
	cr_assert_leq(n_heard_cancelled, n_cancelled);
	cr_assert_gt(n_heard_cancelled, 0);
	cr_assert_eq(free_blocks(r), all_blocks(r));
	rig_stop(r, true);
	rig_must_owe_nothing(r);
	rig_free(r);
}

/* -- the end of the engine ----------------------------------------------------------------- */

Test(engine_ends, a_drain_lets_everyone_finish)
{
	struct rig *r = rig_open(1, RIG_KV, 2);
	struct heard *h[4];
	for (size_t i = 0; i < 4; i++)
		h[i] = rig_submit(r, rig_long_job(r, i, LONG));
	rig_start(r);
	rig_stop(r, true);
	for (size_t i = 0; i < 4; i++) {
		must_end(h[i], FINISH_LENGTH);
		heard_free(h[i]);
	}
	rig_free(r);
}

Test(engine_ends, a_stop_without_drain_cancels_everyone)
{
	struct rig *r = rig_open(1, RIG_KV, 2);
	struct heard *h[4];
	for (size_t i = 0; i < 4; i++)
		h[i] = rig_submit(r, rig_long_job(r, i, LONG));
	rig_start(r);
	rig_stop(r, false);
	for (size_t i = 0; i < 4; i++) {
		rig_wait(h[i]);
		cr_assert_eq(h[i]->choices[0].n_done, 1);
		heard_free(h[i]);
	}
	rig_free(r);
}

Test(engine_ends, a_job_after_the_stop_is_told_so)
{
	struct rig *r = rig_open(1, RIG_KV, 2);
	rig_start(r);
	rig_stop(r, true);
	struct heard *h = rig_submit(r, rig_long_job(r, 1, LONG));
	model_ref_release(r->model);
	catalog_free(r->catalog);
	engine_free(r->engine);
	must_end(h, FINISH_ERROR);
	cr_assert_eq(h->choices[0].result.fault.err, ERR_SHUTTING_DOWN);
	heard_free(h);
	free(r);
}
