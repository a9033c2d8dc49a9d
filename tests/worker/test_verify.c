/* Checking a draft gives the very tokens that generating would have given. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_PROMPT 30
#define N_WANT   16

static int32_t prompt[N_PROMPT];
static struct rig *rig;

static void setup(void)
{
	rig = rig_new();
	rig_prompt(prompt, N_PROMPT, 21);
}
static void teardown(void)
{
	rig_free(rig);
}
TestSuite(verify, .init = setup, .fini = teardown, .timeout = 600);

static void season(struct job *j, float temperature)
{
	j->sampling.temperature = temperature;
	j->sampling.seed = 5;
	j->sampling.top_p = 0.95f;
	j->sampling.frequency_penalty = 0.3f;
	j->sampling.repetition_penalty = 1.1f;
	j->ignore_eos = true;
}

static struct heard *generate(float temperature)
{
	struct job *j = rig_job(rig, prompt, N_PROMPT);
	season(j, temperature);
	j->max_tokens = N_WANT;
	return rig_run(rig, j);
}

static struct job *check_job(float temperature, const int32_t *draft, size_t n)
{
	struct job *j = rig_check_job(rig, prompt, N_PROMPT, draft, n);
	season(j, temperature);
	return j;
}

/* h judged a draft of n tokens, wrong from `wrong` on (n = nowhere). */
static void must_match(
	const struct heard *h, const struct heard_choice *want, size_t n, size_t wrong)
{
	const struct job_result *r = &h->choices[0].result;
	size_t accepted = wrong < n ? wrong : n;
	cr_assert_eq(r->finish, FINISH_STOP);
	cr_assert_eq(r->stop_detail, STOP_NONE);
	cr_assert_eq(
		r->accepted, accepted, "%zu accepted of %zu, wrong at %zu", r->accepted, n, wrong);
	cr_assert_eq(r->n_verdicts, accepted + 1);
	cr_assert_eq(r->n_judged, wrong < n ? accepted + 1 : accepted);
	for (size_t i = 0; i <= accepted; i++) {
		cr_assert_eq(h->verdicts[i].id, want->ids[i]);
		cr_assert_eq(h->verdicts[i].logprob, want->logprobs[i]);
	}
	for (size_t i = 0; i < accepted; i++)
		cr_assert_eq(h->draft_logprobs[i], want->logprobs[i]);
	if (wrong < n)
		cr_assert(h->draft_logprobs[wrong] < 0);
}

static void check_every_length(float temperature)
{
	struct heard *want = generate(temperature);
	const struct heard_choice *c = &want->choices[0];
	cr_assert_eq(c->n, N_WANT);
	struct heard *h[2 * N_WANT];
	for (size_t n = 0; n < N_WANT; n++) {
		int32_t draft[N_WANT];
		memcpy(draft, c->ids, n * sizeof *draft);
		h[2 * n] = rig_submit(rig, check_job(temperature, draft, n));
		if (n > 0)
			draft[n / 2] = draft[n / 2] == 77 ? 78 : 77;
		h[2 * n + 1] = rig_submit(rig, check_job(temperature, draft, n));
	}
	for (size_t n = 0; n < N_WANT; n++) {
		rig_wait(h[2 * n]);
		rig_wait(h[2 * n + 1]);
		must_match(h[2 * n], c, n, n);
		must_match(h[2 * n + 1], c, n, n / 2);
	}
	for (size_t i = 0; i < sizeof h / sizeof *h; i++)
		heard_free(h[i]);
	heard_free(want);
}

Test(verify, judges_every_length_of_draft_as_generate_would_greedy)
{
	check_every_length(0);
}

Test(verify, judges_every_length_of_draft_as_generate_would_at_temperature)
{
	check_every_length(0.8f);
}

Test(verify, the_longest_draft_works_and_beside_running_streams)
{
	struct job *j = rig_job(rig, prompt, N_PROMPT);
	j->ignore_eos = true;
	j->max_tokens = LIMIT_DRAFT + 1;
	struct heard *want = rig_run(rig, j);
	struct heard *busy[3];
	for (int i = 0; i < 3; i++) {
		j = rig_job(rig, prompt + i, N_PROMPT - 3);
		j->max_tokens = 100;
		busy[i] = rig_submit(rig, j);
	}
	j = rig_check_job(rig, prompt, N_PROMPT, want->choices[0].ids, LIMIT_DRAFT);
	j->ignore_eos = true;
	struct heard *h = rig_run(rig, j);
	must_match(h, &want->choices[0], LIMIT_DRAFT, LIMIT_DRAFT);
	for (int i = 0; i < 3; i++)
		heard_free(busy[i]);
	heard_free(h);
	heard_free(want);
}

Test(verify, an_end_of_text_is_the_next_token_even_if_the_draft_foresaw_it)
{
	int32_t eos = model_defaults(model_ref_model(rig->model))->eos[0];
	for (int foreseen = 0; foreseen < 2; foreseen++) {
		int32_t draft[] = { foreseen ? eos : 77, 78 };
		struct job *j = rig_check_job(rig, prompt, N_PROMPT, draft, 2);
		struct logit_bias *bias = xcalloc(1, sizeof *bias);
		*bias = (struct logit_bias) { eos, 100 };
		j->sampling.bias = bias;
		j->sampling.n_bias = 1;
		struct heard *h = rig_run(rig, j);
		const struct job_result *r = &h->choices[0].result;
		cr_assert_eq(r->stop_detail, STOP_EOS);
		cr_assert_eq(r->accepted, 0);
		cr_assert_eq(h->verdicts[0].id, eos);
		heard_free(h);
	}
}

Test(verify, a_draft_longer_than_the_context_is_judged_as_far_as_it_fits)
{
	int32_t full[RIG_CONTEXT];
	rig_prompt(full, RIG_CONTEXT, 5);
	struct job *j = rig_job(rig, full, RIG_CONTEXT - 4);
	j->ignore_eos = true;
	struct heard *want = rig_run(rig, j);
	cr_assert_eq(want->choices[0].n, 4);
	int32_t draft[8];
	for (int i = 0; i < 8; i++)
		draft[i] = want->choices[0].ids[i < 4 ? i : 3];
	j = rig_check_job(rig, full, RIG_CONTEXT - 4, draft, 8);
	j->ignore_eos = true;
	struct heard *h = rig_run(rig, j);
	cr_assert_eq(h->choices[0].result.accepted, 3);
	cr_assert_eq(h->choices[0].result.finish, FINISH_LENGTH);
	cr_assert_eq(h->verdicts[3].id, want->choices[0].ids[3]);
	heard_free(h);
	heard_free(want);
}
