/* test_resume.c - a request that was lost goes on, to the bit. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(resume, .timeout = 600);

static struct job *story(struct rig *r)
{
	struct job *j = rig_text_job(r, "She opened the letter, and");
	j->max_tokens = 24;
	j->ignore_eos = true;
	j->sampling.temperature = 0.8f;
	j->sampling.seed = 9;
	j->sampling.frequency_penalty = 0.4f;
	j->sampling.repetition_penalty = 1.1f;
	j->min_tokens = 4;
	j->stops = xcalloc(2, sizeof *j->stops);
	j->stops[j->n_stops++] = xstrdup("\n\n");
	j->stops[j->n_stops++] = xstrdup(" the end.");
	return j;
}

static void must_go_on(const struct heard_choice *rest, const struct heard_choice *whole, size_t k,
	size_t n_prompt)
{
	const size_t delivered = whole->text_at[k];
	cr_assert_eq(rest->n, whole->n - k, "resumed after %zu of %zu: %zu", k, whole->n, rest->n);
	for (size_t i = 0; i < rest->n; i++) {
		cr_assert_eq(rest->ids[i], whole->ids[k + i]);
		cr_assert_eq(rest->logprobs[i], whole->logprobs[k + i]);
	}
	cr_assert_eq(rest->before.n_bytes, delivered);
	cr_assert_eq(rest->text.n_bytes, whole->text.n_bytes - delivered);
	if (delivered)
		cr_assert_arr_eq(rest->before.data, whole->text.data, delivered);
	if (rest->text.n_bytes)
		cr_assert_arr_eq(rest->text.data, whole->text.data + delivered, rest->text.n_bytes);
	cr_assert_eq(rest->result.prompt_tokens, n_prompt);
	cr_assert_eq(rest->result.completion_tokens, whole->n);
	cr_assert_eq(rest->result.finish, whole->result.finish);
	cr_assert_eq(rest->result.stop_detail, whole->result.stop_detail);
}

/* The rest of `whole` after k[i] tokens of each choice were delivered. */
static void must_resume(struct rig *r, struct job *j, const struct heard *whole, const size_t *k)
{
	const size_t n_prompt = j->n_prompt;
	for (int i = 0; i < j->n_choices; i++) {
		const size_t n = j->n_prompt + k[i];
		j->prompt = xreallocarray(j->prompt, n, sizeof *j->prompt);
		memcpy(j->prompt + j->n_prompt, whole->choices[i].ids, k[i] * sizeof *j->prompt);
		j->n_prompt = n;
		j->n_resumed += k[i];
		j->resumed[i] = k[i];
	}
	const int n_choices = j->n_choices;
	struct heard *h = rig_run(r, j);
	for (int i = 0; i < n_choices; i++)
		must_go_on(&h->choices[i], &whole->choices[i], k[i], n_prompt);
	heard_free(h);
}

/* What a replay on another worker needs: the rest is the rest, to the bit. */
Test(resume, a_resumed_request_goes_on_where_it_was_lost)
{
	struct rig *r = rig_new();
	struct heard *whole = rig_run(r, story(r));
	for (size_t k = 1; k <= whole->choices[0].n; k += k < 8 ? 1 : 4)
		must_resume(r, story(r), whole, &k);
	heard_free(whole);
	rig_free(r);
}

static struct job *stopped_story(struct rig *r, const char *stop, int32_t stop_id)
{
	struct job *j = story(r);
	free(j->stops[1]);
	j->stops[1] = xstrdup(stop);
	j->stop_ids = xcalloc(1, sizeof *j->stop_ids);
	j->stop_ids[j->n_stop_ids++] = stop_id;
	return j;
}

/* The last token may have been delivered and only the end lost. */
Test(resume, a_resumed_request_that_had_ended_ends_the_same_way)
{
	struct rig *r = rig_new();
	struct heard *plain = rig_run(r, story(r));
	struct heard_choice *p = &plain->choices[0];
	cr_assert_eq(p->n, 24);
	char *stop = xstrndup(p->text.data + p->text_at[12] - 1, 6);
	struct heard *cut = rig_run(r, stopped_story(r, stop, 0));
	cr_assert_eq(cut->choices[0].result.stop_detail, STOP_STRING);
	for (size_t k = cut->choices[0].n - 2; k <= cut->choices[0].n; k++)
		must_resume(r, stopped_story(r, stop, 0), cut, &k);
	struct heard *ended = rig_run(r, stopped_story(r, "never", p->ids[15]));
	cr_assert_eq(ended->choices[0].result.stop_detail, STOP_TOKEN);
	for (size_t k = ended->choices[0].n - 1; k <= ended->choices[0].n; k++)
		must_resume(r, stopped_story(r, "never", p->ids[15]), ended, &k);
	free(stop);
	heard_free(ended);
	heard_free(cut);
	heard_free(plain);
	rig_free(r);
}

#define CHOICES 3

/* The prompt is one whole KV block, which all of them share; its last row may be wanted again. */
static struct job *choices(struct rig *r, int32_t stop_id)
{
	int32_t prompt[KV_BLOCK_TOKENS];
	rig_prompt(prompt, KV_BLOCK_TOKENS, 5);
	struct job *j = rig_job(r, prompt, KV_BLOCK_TOKENS);
	j->n_choices = CHOICES;
	j->max_tokens = 12;
	j->echo = stop_id > 0;
	j->sampling.temperature = 0.9f;
	j->sampling.seed = 3;
	j->stop_ids = xcalloc(1, sizeof *j->stop_ids);
	j->stop_ids[0] = stop_id;
	j->n_stop_ids = stop_id > 0;
	return j;
}

/* From where every choice had so many tokens, or all of its own. */
static void must_resume_anywhere(struct rig *r, int32_t stop_id, const struct heard *whole)
{
	enum { ALL = 99 };
	static const size_t cuts[][CHOICES] = { { 1, 0, 0 }, { 0, 0, 5 }, { 0, 4, 0 }, { 3, 2, 9 },
		{ ALL, 1, 0 }, { ALL, ALL, 0 }, { 2, ALL, 0 }, { ALL, 0, ALL }, { ALL, ALL, ALL } };
	for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
		size_t k[CHOICES];
		for (int i = 0; i < CHOICES; i++)
			k[i] = cuts[c][i] < ALL ? cuts[c][i] : whole->choices[i].n;
		must_resume(r, choices(r, stop_id), whole, k);
	}
}

Test(resume, several_choices_go_on_each_where_it_was_and_who_was_at_its_end_ends)
{
	struct rig *r = rig_new();
	struct heard *whole = rig_run(r, choices(r, 0));
	must_resume_anywhere(r, 0, whole);
	/* One that ends before the others, by a token of its own. */
	const int32_t stop_id = whole->choices[1].ids[9];
	struct heard *stopped = rig_run(r, choices(r, stop_id));
	cr_assert_lt(stopped->choices[1].n, 12);
	must_resume_anywhere(r, stop_id, stopped);
	heard_free(stopped);
	heard_free(whole);
	rig_free(r);
}

/* Two blocks for each, since who reads the prompt's last row again does not share its block. */
Test(resume, choices_that_share_less_find_room_in_the_least_that_lets_them_in)
{
	struct rig *r = rig_open(1, (size_t)2 * CHOICES * rig_block_bytes(), 8);
	const size_t k[CHOICES] = { 3, 0, 0 };
	rig_start(r);
	struct heard *whole = rig_run(r, choices(r, 0));
	must_resume(r, choices(r, 0), whole, k);
	rig_stop(r, true);
	rig_must_owe_nothing(r);
	heard_free(whole);
	rig_free(r);
}
