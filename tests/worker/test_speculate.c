/* Drafts change how soon a text comes, and nothing else. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/speculate.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(speculate, .timeout = 30);
TestSuite(speculate_engine, .timeout = 120);

Test(speculate, a_prediction_is_followed_and_found_again)
{
	static const int32_t guess[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	static const int32_t text[] = { 90, 91, 1, 2, 77, 4, 5, 6 };
	struct speculation s = { .prediction = guess, .n_prediction = 9, .max = 2 };
	int32_t out[2];
	speculate_init(&s, 2);
	cr_assert_eq(speculate_draft(&s, text, 2, out, 2), 2);
	cr_assert(out[0] == 1 && out[1] == 2);
	speculate_judged(&s, 2);
	cr_assert_eq(speculate_draft(&s, text, 5, out, 2), 0, "77 leads nowhere");
	cr_assert_eq(speculate_draft(&s, text, 8, out, 2), 2);
	cr_assert(out[0] == 7 && out[1] == 8);
	cr_assert_eq(s.n_drafted, 2);
}

Test(speculate, look_up_drafts_what_came_after_the_last_tokens_before)
{
	static const int32_t text[] = { 1, 2, 3, 50, 51, 9, 1, 2, 3 };
	struct speculation s = { .look_up = true, .max = 4 };
	int32_t out[4];
	speculate_init(&s, 9);
	cr_assert_eq(speculate_draft(&s, text, 9, out, 4), 4);
	cr_assert(out[0] == 50 && out[1] == 51 && out[2] == 9 && out[3] == 1);
	cr_assert_eq(speculate_draft(&s, text, 8, out, 4), 0);
	cr_assert_eq(speculate_draft(&s, text, 2, out, 4), 0);
}

Test(speculate, what_fails_is_tried_ever_less_often)
{
	int32_t text[2000], out[8];
	size_t n_drafts = 0;
	struct speculation s = { .look_up = true, .max = 8 };
	for (size_t i = 0; i < 2000; i++)
		text[i] = (int32_t)(i % 5);
	speculate_init(&s, 10);
	for (size_t n = 10; n < 2000; n++)
		if (speculate_draft(&s, text, n, out, 8) > 0) {
			speculate_judged(&s, 0);
			n_drafts++;
		}
	cr_assert(n_drafts > 2 && n_drafts < 20, "%zu drafts", n_drafts);
}

Test(speculate, what_holds_grows_to_the_longest_allowed)
{
	int32_t text[100], out[8];
	struct speculation s = { .look_up = true, .max = 8 };
	for (size_t i = 0; i < 100; i++)
		text[i] = (int32_t)(i % 20);
	speculate_init(&s, 60);
	for (int i = 0; i < 3; i++)
		speculate_judged(&s, speculate_draft(&s, text, 60, out, 8));
	cr_assert_eq(speculate_draft(&s, text, 60, out, 8), 8);
	cr_assert_eq(speculate_draft(&s, text, 60, out, 3), 3, "no more than there is room for");
}

/* -- in the engine -------------------------------------------------------------------------- */

enum guess { GUESS_RIGHT, GUESS_WRONG, GUESS_MIXED, GUESS_TEXT, GUESS_COUNT };

static struct job *job_of(struct rig *r, size_t i)
{
	int32_t prompt[64];
	size_t n = 3 + (i * 13) % 60;
	rig_prompt(prompt, n, 300 + i);
	/* A text that repeats itself, so that look-up finds something. */
	for (size_t k = n / 2; k < n; k++)
		prompt[k] = prompt[k % 5];
	struct job *j = rig_job(r, prompt, n);
	j->max_tokens = 30 + i % 30;
	j->sampling.temperature = i % 2 ? 0.8f : 0;
	j->sampling.top_p = i % 4 == 1 ? 0.9f : 1;
	j->sampling.repetition_penalty = i % 3 == 2 ? 1.2f : 1;
	j->sampling.frequency_penalty = i % 5 == 3 ? 0.5f : 0;
	j->sampling.seed = 40 + i;
	j->min_tokens = i % 4 == 2 ? 10 : 0;
	return j;
}

static struct job *guessing(struct rig *r, size_t i, const struct heard *plain, enum guess guess)
{
	const struct heard_choice *c = &plain->choices[0];
	struct job *j = job_of(r, i);
	j->max_draft = i % 3 == 0 ? LIMIT_DRAFT : 1 + i % 9;
	j->look_up = guess == GUESS_TEXT;
	if (guess == GUESS_TEXT)
		return j;
	j->prediction = xcalloc(c->n + 1, sizeof *c->ids);
	j->n_prediction = c->n;
	for (size_t k = 0; k < c->n; k++) {
		bool right = guess == GUESS_RIGHT || (guess == GUESS_MIXED && k % 6 != 4);
		j->prediction[k] = right ? c->ids[k] : 11 + (int32_t)(k * 7 % 3000);
	}
	return j;
}

#define N_TEXTS 12

static void check_all(struct rig *r, struct heard *const plain[N_TEXTS], enum guess guess)
{
	struct heard *h[N_TEXTS];
	size_t n_accepted = 0, n_drafted = 0;
	for (size_t i = 0; i < N_TEXTS; i++)
		h[i] = rig_submit(r, guessing(r, i, plain[i], guess));
	for (size_t i = 0; i < N_TEXTS; i++) {
		rig_wait(h[i]);
		const struct job_result *x = &h[i]->choices[0].result;
		heard_must_equal(&plain[i]->choices[0], &h[i]->choices[0], "drafted");
		cr_assert_eq(x->finish, plain[i]->choices[0].result.finish);
		cr_assert_leq(x->accepted, x->n_drafted);
		n_accepted += x->accepted;
		n_drafted += x->n_drafted;
		heard_free(h[i]);
	}
	/* A prediction that is wrong from its first token on is never drafted from. */
	cr_assert(n_drafted > 0 || guess == GUESS_WRONG, "guess %d", guess);
	if (guess == GUESS_RIGHT)
		cr_assert_gt(n_accepted, n_drafted * 3 / 4);
	if (guess == GUESS_MIXED)
		cr_assert_gt(n_accepted, 0);
}

Test(speculate_engine, every_text_is_bit_for_bit_the_undrafted_one)
{
	struct rig *r = rig_new();
	struct heard *plain[N_TEXTS];
	for (size_t i = 0; i < N_TEXTS; i++)
		plain[i] = rig_run(r, job_of(r, i));
	for (int g = 0; g < GUESS_COUNT; g++)
		check_all(r, plain, (enum guess)g);
	for (size_t i = 0; i < N_TEXTS; i++)
		heard_free(plain[i]);
	rig_free(r);
}

Test(speculate_engine, a_right_prediction_saves_most_of_the_steps_of_each_choice)
{
	struct rig *r = rig_new();
	int32_t prompt[40];
	rig_prompt(prompt, 40, 4);
	struct job *j = rig_job(r, prompt, 40);
	j->max_tokens = 60;
	j->n_choices = 2;
	struct heard *plain = rig_run(r, j);
	j = rig_job(r, prompt, 40);
	j->max_tokens = 60;
	j->n_choices = 2;
	j->max_draft = 16;
	j->prediction = xcalloc(60, sizeof *prompt);
	j->n_prediction = plain->choices[0].n;
	memcpy(j->prediction, plain->choices[0].ids, j->n_prediction * sizeof *prompt);
	struct heard *h = rig_run(r, j);
	for (int i = 0; i < 2; i++) {
		heard_must_equal(&plain->choices[i], &h->choices[i], "choice");
		cr_assert_gt(h->choices[i].result.accepted, h->choices[i].n * 3 / 4);
	}
	heard_free(h);
	heard_free(plain);
	rig_free(r);
}

Test(speculate_engine, a_cancel_in_the_middle_of_a_draft_frees_what_it_held)
{
	struct fault f = { 0 };
	struct rig *r = rig_new();
	struct kv_pool *p = model_kv_pool(model_ref_model(r->model), RIG_KV, &f);
	size_t block_bytes = kv_pool_block_bytes(p);
	kv_pool_free(p);
	struct rig *small = rig_open(1, 8 * block_bytes, 4);
	rig_start(small);
	struct heard *plain = rig_run(r, job_of(r, 3)), *h[30];
	for (size_t i = 0; i < 30; i++) {
		h[i] = rig_submit(small, guessing(small, 3, plain, GUESS_MIXED));
		if (i % 3 == 1)
			engine_cancel(small->engine, h[i]->key);
	}
	for (size_t i = 0; i < 30; i++) {
		rig_wait(h[i]);
		if (i % 3 != 1)
			heard_must_equal(&plain->choices[0], &h[i]->choices[0], "small pool");
		heard_free(h[i]);
	}
	heard_free(plain);
	rig_free(small);
	rig_free(r);
}
