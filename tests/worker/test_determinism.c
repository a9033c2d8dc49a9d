/* The determinism matrix: each of 200 prompts in every circumstance gives the tokens and the bits
 * of log-probability that it gives alone, greedy and sampled. test_workers.py in tests/e2e has the
 * circumstances that lie between processes. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/lane.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROMPTS     (RIG_IS_SLOW ? 10 : 200) /* sanitizers have ten */
#define JOBS        ((size_t)2 * PROMPTS)    /* each prompt greedy and sampled */
#define AT_ONCE_MAX 16

TestSuite(determinism, .timeout = 3600);

/* Make it say few words over and over, so that there is something to look up. */
static void repeat(struct job *j)
{
	struct logit_bias *bias = xcalloc(3, sizeof *bias);
	for (int i = 0; i < 3; i++)
		bias[i] = (struct logit_bias) { .id = 300 + 50 * i, .bias = 40 };
	j->sampling.bias = bias;
	j->sampling.n_bias = 3;
}

/* Job k asks prompt k / 2, with temperature when k is odd. */
static struct job *plain_job(struct rig *r, size_t k)
{
	int32_t prompt[400];
	size_t i = k / 2, n = i % 20 == 7 ? 257 + i % 100 : 1 + (i * 37) % 67;
	rig_prompt(prompt, n, 4000 + i);
	struct job *j = rig_job(r, prompt, n);
	if (i % 3 == 0)
		repeat(j);
	j->max_tokens = 4 + 5 * k % 9;
	j->ignore_eos = true;
	j->sampling.temperature = k % 2 ? 0.8f : 0;
	j->sampling.top_p = k % 8 == 5 ? 0.9f : 1;
	j->sampling.repetition_penalty = i % 5 == 4 ? 1.1f : 1;
	j->sampling.seed = 1000 + k;
	return j;
}

static void nothing(struct job *j, const struct heard_choice *alone)
{
	(void)j, (void)alone;
}

static void cache(struct job *j, const struct heard_choice *alone)
{
	(void)alone;
	j->cache_prompt = true;
}

static void look_up(struct job *j, const struct heard_choice *alone)
{
	(void)alone;
	j->look_up = j->draft_always = true;
	j->max_draft = 8;
}

/* The caller's guess: right, but for a token now and then. */
static void predict(struct job *j, const struct heard_choice *alone)
{
	j->max_draft = 8;
	j->draft_always = true;
	j->n_prediction = alone->n;
	j->prediction = xcalloc(alone->n, sizeof *j->prediction);
	for (size_t i = 0; i < alone->n; i++)
		j->prediction[i] = i % 5 == 4 ? 17 : alone->ids[i];
}

/* Only the background is parked. */
static void background_class(struct job *j, const struct heard_choice *alone)
{
	(void)alone;
	j->priority = PRIORITY_BACKGROUND;
}

struct column {
	const char *name;
	void (*change)(struct job *j, const struct heard_choice *alone);
	size_t at_once;
	const char *draft_model;
	size_t n_background; /* jobs that decode meanwhile */
	size_t n_blocks;     /* of the KV pool; 0 = plenty */
	struct engine_options engine;
};

static const struct column ALONE = { "alone", nothing, 1, .engine.threads = 1 };
static const struct column COMPANY[] = {
	{ "batch of 16", nothing, 16, .engine.threads = 1 },
	{ "background load", nothing, 8, .n_background = 3, .engine.threads = 1 },
	{ "parked and recomputed", background_class, 16, .n_blocks = 13, .engine.threads = 1 },
	{ "2 threads", nothing, 1, .engine.threads = 2 },
	{ "2 threads, batch of 16", nothing, 16, .engine.threads = 2 },
};
static const struct column WORK[] = {
	{ "prefill chunks of 1", nothing, 16, .engine = { 1, .chunk_rows = 1 } },
	{ "prefill chunks of 16", nothing, 4, .engine = { 1, .chunk_rows = 16 } },
	{ "prefill chunks of 256", nothing, 3, .engine = { 1, .chunk_rows = 256 } },
	{ "prefix-cached", cache, 16, .engine.threads = 1 },
	{ "drafted by n-gram", look_up, 4, .engine.threads = 1 },
	{ "drafted by prediction", predict, 8, .engine.threads = 1 },
	{ "drafted by itself", nothing, 8, .draft_model = RIG_MODEL, .engine.threads = 1 },
};

#define OTHER_MODEL "../shared/models/novel-1m"
static const struct column OTHER_DRAFTS = { "drafted by novel-1m", nothing, 8,
	.draft_model = OTHER_MODEL, .engine.threads = 1 };

/* One column on its way. */
struct run {
	const struct column *c;
	struct rig *r;
	struct model_ref *draft_model; /* or NULL */
	size_t n_drafted;
};

static struct rig *open_rig(const struct column *c)
{
	struct engine_options opt = c->engine;
	opt.kv_bytes = c->n_blocks ? c->n_blocks * rig_block_bytes() : RIG_KV;
	opt.max_running = 32;
	struct rig *r = rig_open_with(&opt);
	rig_start(r);
	return r;
}

static struct model_ref *open_draft_model(struct rig *r, const char *path)
{
	struct model *m = NULL;
	struct fault f = { 0 };
	cr_assert_eq(model_open(&(struct model_options) { .path = path }, &m, &f), 0, "%s", f.text);
	catalog_put(r->catalog, "draft", m);
	return catalog_get(r->catalog, "draft", &f);
}

static struct heard *background(struct rig *r, size_t i)
{
	int32_t prompt[60];
	rig_prompt(prompt, 60, 9000 + i);
	struct job *j = rig_job(r, prompt, 60);
	j->priority = PRIORITY_BACKGROUND;
	j->ignore_eos = true;
	j->max_tokens = 400;
	return rig_submit(r, j);
}

static struct job *job_of(const struct run *run, size_t k, const struct heard *alone)
{
	struct job *j = plain_job(run->r, k);
	run->c->change(j, &alone->choices[0]);
	if (run->draft_model) {
		j->draft_model = model_ref_take(run->draft_model);
		j->draft_always = true;
		j->max_draft = 6;
	}
	return j;
}

static void check(struct run *run, size_t k, struct heard *alone, struct heard *h)
{
	char what[64];
	const struct job_result *x = &h->choices[0].result;
	rig_wait(h);
	snprintf(what, sizeof what, "%s: job %zu", run->c->name, k);
	heard_must_equal(&alone->choices[0], &h->choices[0], what);
	run->n_drafted += x->n_drafted;
	if (run->c->change == cache) /* all whole blocks, but the row that gives the first token */
		cr_assert_eq(x->cached_tokens,
			(x->prompt_tokens - 1) / KV_BLOCK_TOKENS * KV_BLOCK_TOKENS, "%s", what);
	heard_free(h);
}

/* The prompts of jobs from..to go into the prefix cache. */
static void prime(struct run *run, struct heard *const *alone, size_t from, size_t to)
{
	struct heard *h[AT_ONCE_MAX];
	for (size_t k = from; k < to; k += 2) {
		struct job *j = job_of(run, k, alone[k]);
		j->max_tokens = 1;
		h[k - from] = rig_submit(run->r, j);
	}
	for (size_t k = from; k < to; k += 2)
		heard_free(h[k - from]);
}

/* Jobs from..to together. */
static void run_some(struct run *run, struct heard *const *alone, size_t from, size_t to)
{
	struct heard *h[AT_ONCE_MAX], *load[AT_ONCE_MAX];
	if (run->c->change == cache)
		prime(run, alone, from, to);
	for (size_t i = 0; i < run->c->n_background; i++)
		load[i] = background(run->r, i);
	for (size_t k = from; k < to; k++)
		h[k - from] = rig_submit(run->r, job_of(run, k, alone[k]));
	for (size_t k = from; k < to; k++)
		check(run, k, alone[k], h[k - from]);
	for (size_t i = 0; i < run->c->n_background; i++) {
		engine_cancel(run->r->engine, load[i]->key);
		heard_free(load[i]);
	}
}

static void run_column(const struct column *c, struct heard *const *alone)
{
	struct run run = { .c = c, .r = open_rig(c) };
	if (c->draft_model)
		run.draft_model = open_draft_model(run.r, c->draft_model);
	for (size_t k = 0; k < JOBS; k += c->at_once)
		run_some(&run, alone, k, k + c->at_once < JOBS ? k + c->at_once : JOBS);
	bool drafts = c->change == look_up || c->change == predict || c->draft_model;
	cr_assert(!drafts || run.n_drafted > 0);
	const struct lane *l = model_ref_state(run.r->model);
	cr_assert(RIG_IS_SLOW || !c->n_blocks || l->n_parked > 0);
	model_ref_release(run.draft_model);
	rig_free(run.r);
}

static void run_matrix(const struct column *columns, size_t n_columns)
{
	struct heard **alone = xcalloc(JOBS, sizeof *alone);
	struct rig *r = open_rig(&ALONE);
	for (size_t k = 0; k < JOBS; k++)
		alone[k] = rig_run(r, plain_job(r, k));
	for (size_t i = 0; i < n_columns; i++)
		run_column(&columns[i], alone);
	for (size_t k = 0; k < JOBS; k++)
		heard_free(alone[k]);
	free(alone);
	rig_free(r);
}

/* In three parts, which the runner can have side by side. */
Test(determinism, whoever_is_computed_beside_it_an_answer_stays_the_same)
{
	run_matrix(COMPANY, sizeof COMPANY / sizeof *COMPANY);
}

Test(determinism, whatever_is_cached_cut_or_guessed_an_answer_stays_the_same)
{
	run_matrix(WORK, sizeof WORK / sizeof *WORK);
}

Test(determinism, another_model_drafts_and_the_answer_stays_the_same)
{
	if (access(OTHER_MODEL "/config.json", R_OK) != 0)
		cr_skip_test(OTHER_MODEL " is not there");
	run_matrix(&OTHER_DRAFTS, 1);
}
