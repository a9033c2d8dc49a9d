/* A second model drafts: sooner or later, the text is the same. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/lane.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OTHER_MODEL "../shared/models/novel-1m"

TestSuite(drafter, .timeout = 600);

static void need_other_model(void)
{
	if (access(OTHER_MODEL "/config.json", R_OK) != 0)
		cr_skip_test(OTHER_MODEL " is not there");
}

static struct model_ref *other_model(struct rig *r)
{
	struct model *m = NULL;
	struct fault f = { 0 };
	cr_assert_eq(model_open(&(struct model_options) { .path = OTHER_MODEL }, &m, &f), 0, "%s",
		f.text);
	catalog_put(r->catalog, "other", m);
	return catalog_get(r->catalog, "other", &f);
}

/* Texts of many kinds: sampled and greedy, penalized, with ends and several choices. */
static struct job *text_job(struct rig *r, size_t i)
{
	int32_t prompt[300];
	const size_t n = i % 4 == 3 ? 290 : 2 + i * 7 % 40;
	rig_prompt(prompt, n, 700 + i);
	struct job *j = rig_job(r, prompt, n);
	j->max_tokens = 20 + i % 20;
	j->sampling.temperature = i % 2 ? 0.8f : 0;
	j->sampling.top_p = i % 4 == 1 ? 0.9f : 1;
	j->sampling.repetition_penalty = i % 3 == 2 ? 1.2f : 1;
	j->sampling.presence_penalty = i % 5 == 3 ? 0.5f : 0;
	j->sampling.top_logprobs = i % 3 == 0 ? 2 : 0;
	j->sampling.seed = 90 + i;
	j->min_tokens = i % 4 == 2 ? 10 : 0;
	j->n_choices = i % 6 == 5 ? 3 : 1;
	return j;
}

static struct job *drafted_job(struct rig *r, size_t i, struct model_ref *draft)
{
	struct job *j = text_job(r, i);
	j->draft_model = model_ref_take(draft);
	j->draft_always = true;
	j->max_draft = 1 + i % 7;
	j->look_up = i % 5 == 4;
	return j;
}

#define N_TEXTS 12

struct told {
	size_t n_drafted, n_accepted;
};

/* All at once, so that drafts of different lengths share passes. */
static struct told check_all(struct rig *r, struct model_ref *draft)
{
	struct heard *plain[N_TEXTS], *h[N_TEXTS];
	struct told told = { 0, 0 };
	for (size_t i = 0; i < N_TEXTS; i++)
		plain[i] = rig_run(r, text_job(r, i));
	for (size_t i = 0; i < N_TEXTS; i++)
		h[i] = rig_submit(r, drafted_job(r, i, draft));
	for (size_t i = 0; i < N_TEXTS; i++) {
		rig_wait(h[i]);
		for (int c = 0; c < (i % 6 == 5 ? 3 : 1); c++) {
			const struct job_result *x = &h[i]->choices[c].result;
			heard_must_equal(&plain[i]->choices[c], &h[i]->choices[c], "drafted");
			cr_assert_leq(x->accepted, x->n_drafted);
			cr_assert(x->n_drafted == 0 || x->draft_ms > 0);
			told.n_drafted += x->n_drafted;
			told.n_accepted += x->accepted;
		}
		heard_free(h[i]);
		heard_free(plain[i]);
	}
	return told;
}

Test(drafter, a_smaller_model_drafts_and_every_text_is_bit_for_bit_the_undrafted_one)
{
	need_other_model();
	struct rig *r = rig_new();
	struct model_ref *other = other_model(r);
	const struct told told = check_all(r, other);
	cr_assert(told.n_accepted > 0 && told.n_accepted < told.n_drafted, "%zu of %zu",
		told.n_accepted, told.n_drafted);
	model_ref_release(other);
	rig_free(r);
}

/* The same seed draws the same numbers: what both would write is one text. */
Test(drafter, a_model_that_drafts_for_itself_is_always_right)
{
	struct rig *r = rig_new();
	const struct told told = check_all(r, r->model);
	cr_assert_gt(told.n_drafted, 100);
	/* A text's end refuses what was drafted behind it, and look-up guesses too. */
	cr_assert_gt(told.n_accepted, told.n_drafted * 3 / 4, "%zu of %zu", told.n_accepted,
		told.n_drafted);
	rig_free(r);
}

Test(drafter, counts_by_position_add_up)
{
	struct rig *r = rig_new();
	struct job *j = drafted_job(r, 2, r->model);
	size_t drafted = 0, accepted = 0;
	j->max_draft = 3;
	struct heard *h = rig_run(r, j);
	const struct job_result *x = &h->choices[0].result;
	for (size_t i = 0; i < LIMIT_DRAFT; i++) {
		drafted += x->by_position.drafted[i];
		accepted += x->by_position.accepted[i];
		cr_assert(i < 3 || x->by_position.drafted[i] == 0);
	}
	cr_assert_eq(drafted, x->n_drafted);
	cr_assert_eq(accepted, x->accepted);
	cr_assert_gt(x->by_position.drafted[2], 0);
	heard_free(h);
	rig_free(r);
}

static struct lane *lane_of(const struct model_ref *m)
{
	return model_ref_state(m);
}

/* Both sequences of a text drafted by its own model live in one pool: one fits, not two. */
Test(drafter, without_room_for_drafts_a_text_comes_without_them)
{
	struct fault f = { 0 };
	struct rig *r = rig_new();
	struct kv_pool *p = model_kv_pool(model_ref_model(r->model), RIG_KV, &f);
	const size_t block_bytes = kv_pool_block_bytes(p);
	kv_pool_free(p);
	struct rig *small = rig_open(1, 11 * block_bytes, 4);
	rig_start(small);
	struct heard *plain = rig_run(r, text_job(r, 3));
	struct heard *h = rig_run(small, drafted_job(small, 3, small->model));
	heard_must_equal(&plain->choices[0], &h->choices[0], "no room");
	cr_assert_eq(h->choices[0].result.n_drafted, 0);
	heard_free(h);
	h = rig_run(small, drafted_job(small, 2, small->model));
	cr_assert_gt(h->choices[0].result.n_drafted, 0, "a shorter one has room");
	heard_free(h);
	heard_free(plain);
	rig_free(small);
	rig_free(r);
}

static void cancel_at_5(struct heard *h, const struct job_token *t)
{
	if (t->index == 5)
		engine_cancel(h->rig->engine, h->key);
}

Test(drafter, what_ends_or_is_cancelled_gives_its_blocks_back_to_both_models)
{
	need_other_model();
	struct rig *r = rig_new();
	struct model_ref *other = other_model(r);
	struct heard *h[12];
	const struct heard hooks = { .on_token = cancel_at_5 };
	for (size_t i = 0; i < 12; i++)
		h[i] = rig_submit_hooked(r, drafted_job(r, i, other), i % 3 == 1 ? &hooks : NULL);
	for (size_t i = 0; i < 12; i++)
		heard_free(h[i]);
	rig_stop(r, true);
	const struct model_ref *models[] = { r->model, other };
	for (size_t i = 0; i < 2; i++) {
		const struct lane *l = lane_of(models[i]);
		cr_assert_eq(l->promised.blocks, 0);
		cr_assert_eq(kv_pool_free_blocks(l->kv) + prefix_blocks(l->prefixes),
			kv_pool_blocks(l->kv));
	}
	model_ref_release(other);
	rig_free(r);
}

/* Adaptive, nothing is promised about how much is drafted: only that the text is the same. */
Test(drafter, drafting_where_it_pays_does_not_change_the_text_either)
{
	need_other_model();
	struct rig *r = rig_new();
	struct model_ref *other = other_model(r);
	for (size_t i = 0; i < 6; i++) {
		struct job *j = drafted_job(r, i, other);
		struct heard *plain = rig_run(r, text_job(r, i));
		j->draft_always = false;
		j->max_draft = 16;
		struct heard *h = rig_run(r, j);
		heard_must_equal(&plain->choices[0], &h->choices[0], "adaptive");
		heard_free(h);
		heard_free(plain);
	}
	model_ref_release(other);
	rig_free(r);
}
