/* Drafts are judged from where a running text is, and the text goes on as if nothing were. */
#include "tests/worker/rig.h"
#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdint.h>
#include <string.h>

#define N_PROMPT 40
#define N_TEXT   48
#define N_DRAFT  8

static int32_t prompt[N_PROMPT];
static struct rig *rig;

static void setup(void)
{
	rig = rig_new();
	rig_prompt(prompt, N_PROMPT, 33);
}
static void teardown(void)
{
	rig_free(rig);
}
TestSuite(follow, .init = setup, .fini = teardown, .timeout = 600);

static struct job *season(struct job *j, float temperature)
{
	j->sampling.temperature = temperature;
	j->sampling.seed = 9;
	j->sampling.frequency_penalty = 0.4f;
	j->sampling.presence_penalty = 0.2f;
	j->sampling.repetition_penalty = 1.1f;
	return j;
}

static struct job *text_job(float temperature)
{
	struct job *j = season(rig_job(rig, prompt, N_PROMPT), temperature);
	j->ignore_eos = true; /* which its checks take over */
	j->max_tokens = N_TEXT;
	return j;
}

/* The tokens of `want` from `at` on, but another one at `wrong`. */
static struct job *check_job(const struct heard_choice *want, size_t at, size_t wrong)
{
	int32_t draft[N_DRAFT];
	memcpy(draft, want->ids + at, sizeof draft);
	if (wrong < N_DRAFT)
		draft[wrong] = draft[wrong] == 77 ? 78 : 77;
	struct job *j = rig_check_job(rig, prompt, 1, draft, N_DRAFT);
	j->follow_at = SIZE_MAX;
	return j;
}

#define N_CHECKS 3

/* At the tenth token of a text, on the compute thread, these are submitted. */
struct moment {
	struct job *checks[N_CHECKS];
	struct heard *heard[N_CHECKS];
	bool holds; /* and the text is held */
	sem_t has_come;
};

static void on_token(struct heard *h, const struct job_token *t)
{
	struct moment *m = h->hook_arg;
	if (t->index != 9)
		return;
	for (int i = 0; i < N_CHECKS; i++) {
		m->checks[i]->follow_key = h->key;
		m->heard[i] = rig_submit(h->rig, m->checks[i]);
	}
	if (m->holds)
		engine_hold(h->rig->engine, h->key, true);
	sem_post(&m->has_come);
}

static void must_judge(
	struct heard *h, const struct heard_choice *want, size_t at, size_t n_accepted)
{
	rig_wait(h);
	const struct job_result *r = &h->choices[0].result;
	cr_assert_eq(r->finish, FINISH_STOP, "%s", r->fault.text);
	cr_assert_eq(r->n_followed, at);
	cr_assert_eq(r->accepted, n_accepted, "%zu accepted", r->accepted);
	cr_assert_eq(r->prompt_tokens, N_PROMPT + at);
	cr_assert_eq(r->cached_tokens, N_PROMPT + at - 1, "its KV is that of the text");
	for (size_t i = 0; i <= n_accepted; i++) {
		cr_assert_eq(h->verdicts[i].id, want->ids[at + i]);
		cr_assert_eq(h->verdicts[i].logprob, want->logprobs[at + i]);
	}
	heard_free(h);
}

static void check_beside_a_text(float temperature, bool holds)
{
	struct heard *first = rig_run(rig, text_job(temperature));
	const struct heard_choice *want = &first->choices[0];
	struct moment m = { .holds = holds,
		.checks = { check_job(want, 10, N_DRAFT), check_job(want, 10, 3),
			check_job(want, 4, N_DRAFT) } };
	for (int i = 0; i < N_CHECKS; i++)
		season(m.checks[i], temperature);
	m.checks[2]->follow_at = 4;
	sem_init(&m.has_come, 0, 0);
	const struct heard hooks = { .on_token = on_token, .hook_arg = &m };
	struct heard *h = rig_submit_hooked(rig, text_job(temperature), &hooks);
	while (sem_wait(&m.has_come) != 0)
		;
	must_judge(m.heard[0], want, 10, N_DRAFT);
	must_judge(m.heard[1], want, 10, 3);
	must_judge(m.heard[2], want, 4, N_DRAFT);
	engine_hold(rig->engine, h->key, false);
	rig_wait(h);
	heard_must_equal(want, &h->choices[0], "with its drafts checked");
	heard_free(h);
	heard_free(first);
	sem_destroy(&m.has_come);
}

Test(follow, a_greedy_text_under_way_judges_drafts_of_what_it_will_write)
{
	check_beside_a_text(0, false);
}

Test(follow, so_does_one_with_temperature_and_penalties)
{
	check_beside_a_text(0.8f, false);
}

Test(follow, one_whose_reader_is_behind_judges_them_where_it_waits)
{
	check_beside_a_text(0.8f, true);
}

static void must_refuse(struct heard *h, const char *word)
{
	rig_wait(h);
	const struct job_result *r = &h->choices[0].result;
	cr_assert_eq(r->finish, FINISH_ERROR);
	cr_assert_eq(r->fault.err, ERR_INVALID_PARAMS);
	cr_assert(strstr(r->fault.text, word), "%s", r->fault.text);
	heard_free(h);
}

Test(follow, a_text_that_is_over_or_not_there_yet_is_told)
{
	struct heard *first = rig_run(rig, text_job(0));
	const struct heard_choice *want = &first->choices[0];
	struct job *late = check_job(want, 0, N_DRAFT);
	late->follow_key = first->key;
	must_refuse(rig_submit(rig, late), "over");
	struct moment m = { .checks = { check_job(want, 10, N_DRAFT), check_job(want, 10, N_DRAFT),
				    check_job(want, 0, N_DRAFT) } };
	m.checks[0]->follow_at = 11;
	m.checks[1]->follow_at = 10;
	m.checks[2]->follow_at = 0;
	sem_init(&m.has_come, 0, 0);
	for (int i = 0; i < N_CHECKS; i++)
		season(m.checks[i], 0);
	const struct heard hooks = { .on_token = on_token, .hook_arg = &m };
	struct heard *h = rig_submit_hooked(rig, text_job(0), &hooks);
	rig_wait(h);
	must_refuse(m.heard[0], "index");
	must_judge(m.heard[1], want, 10, N_DRAFT);
	must_judge(m.heard[2], want, 0, N_DRAFT);
	heard_free(h);
	heard_free(first);
	sem_destroy(&m.has_come);
}
