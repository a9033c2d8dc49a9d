/* The determinism matrix: every prompt in every circumstance gives the tokens and the bits of
 * log-probability that it gives alone, greedy and sampled.
 *
 * DETERMINISM_PROMPTS sets how many prompts there are; with it, each column tells on stderr
 * what it compared (`make determinism`: 200). */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/lane.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROMPTS     (RIG_IS_SLOW ? 3 : 8)
#define PROMPTS_MAX 1000
#define TOKENS      (RIG_IS_SLOW ? 6 : 12)
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
	size_t i = k / 2, n = i % 10 == 7 ? 270 + i % 100 : 1 + (i * 37) % 90;
	rig_prompt(prompt, n, 4000 + i);
	struct job *j = rig_job(r, prompt, n);
	if (i % 3 == 0)
		repeat(j);
	j->max_tokens = TOKENS;
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
	j->look_up = true;
	j->max_draft = 8;
}

/* The caller's guess: right, but for a token now and then. */
static void predict(struct job *j, const struct heard_choice *alone)
{
	j->max_draft = 8;
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
	size_t at_once, n_passes;
	size_t n_background; /* jobs that decode meanwhile */
	size_t n_blocks;     /* of the KV pool; 0 = plenty */
	struct engine_options engine;
};

static const struct column ALONE = { "alone", nothing, 1, 1, 0, 0, { .threads = 1 } };
static const struct column COLUMNS[] = {
	{ "batch of 16", nothing, 16, 1, 0, 0, { .threads = 1 } },
	{ "background load", nothing, 2, 1, 3, 0, { .threads = 1 } },
	{ "prefill chunks of 1", nothing, 4, 1, 0, 0, { .threads = 1, .chunk_rows = 1 } },
	{ "prefill chunks of 16", nothing, 4, 1, 0, 0, { .threads = 1, .chunk_rows = 16 } },
	{ "prefill chunks of 256", nothing, 3, 1, 0, 0, { .threads = 1, .chunk_rows = 256 } },
	{ "prefix-cached", cache, 4, 2, 0, 0, { .threads = 1 } },
	{ "drafted by n-gram", look_up, 4, 1, 0, 0, { .threads = 1 } },
	{ "drafted by prediction", predict, 4, 1, 0, 0, { .threads = 1 } },
	{ "parked and recomputed", background_class, 16, 1, 0, 13, { .threads = 1 } },
	{ "2 threads", nothing, 1, 1, 0, 0, { .threads = 2 } },
	{ "2 threads, batch of 16", nothing, 16, 1, 0, 0, { .threads = 2 } },
};
#define N_COLUMNS (sizeof COLUMNS / sizeof *COLUMNS)

static size_t n_jobs(bool *told)
{
	const char *text = getenv("DETERMINISM_PROMPTS");
	long n = text ? strtol(text, NULL, 10) : PROMPTS;
	*told = text != NULL;
	cr_assert(n > 0 && n <= PROMPTS_MAX, "DETERMINISM_PROMPTS=%s", text);
	return (size_t)n * 2;
}

static struct rig *open_rig(const struct column *c)
{
	struct engine_options opt = c->engine;
	opt.kv_bytes = c->n_blocks ? c->n_blocks * rig_block_bytes() : RIG_KV;
	opt.max_running = 32;
	struct rig *r = rig_open_with(&opt);
	rig_start(r);
	return r;
}

struct sums {
	size_t tokens, cached, drafted, accepted;
};

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

static void add(struct sums *sums, const struct heard_choice *c)
{
	sums->tokens += c->n;
	sums->cached += c->result.cached_tokens;
	sums->drafted += c->result.n_drafted;
	sums->accepted += c->result.accepted;
}

/* Jobs from..from+n together. */
static void run_some(struct rig *r, const struct column *c, struct heard *const *alone,
	const size_t at[2], struct sums *sums)
{
	struct heard *h[AT_ONCE_MAX], *load[AT_ONCE_MAX];
	char what[64];
	for (size_t i = 0; i < c->n_background; i++)
		load[i] = background(r, i);
	for (size_t i = 0; i < at[1]; i++) {
		struct job *j = plain_job(r, at[0] + i);
		c->change(j, &alone[at[0] + i]->choices[0]);
		h[i] = rig_submit(r, j);
	}
	for (size_t i = 0; i < at[1]; i++) {
		rig_wait(h[i]);
		snprintf(what, sizeof what, "%s: job %zu", c->name, at[0] + i);
		heard_must_equal(&alone[at[0] + i]->choices[0], &h[i]->choices[0], what);
		add(sums, &h[i]->choices[0]);
		heard_free(h[i]);
	}
	for (size_t i = 0; i < c->n_background; i++) {
		engine_cancel(r->engine, load[i]->key);
		heard_free(load[i]);
	}
}

static void run_column(const struct column *c, struct heard *const *alone, size_t n, bool told)
{
	struct rig *r = open_rig(c);
	struct sums sums = { 0 };
	for (size_t pass = 0; pass < c->n_passes; pass++)
		for (size_t k = 0; k < n; k += c->at_once) {
			size_t left = n - k;
			size_t at[] = { k, left < c->at_once ? left : c->at_once };
			run_some(r, c, alone, at, &sums);
		}
	cr_assert(c->change != cache || sums.cached > 0);
	cr_assert((c->change != look_up && c->change != predict) || sums.drafted > 0);
	if (told)
		fprintf(stderr,
			"determinism: %-23s %zu answers of %zu tokens identical; %zu prompt tokens"
			" were cached, %zu of %zu drafted ones held, %zu texts were parked\n",
			c->name, n * c->n_passes, sums.tokens, sums.cached, sums.accepted,
			sums.drafted, ((struct lane *)model_ref_state(r->model))->n_parked);
	rig_free(r);
}

Test(determinism, whatever_happens_around_it_an_answer_stays_the_same)
{
	bool told;
	size_t n = n_jobs(&told);
	struct heard **alone = xcalloc(n, sizeof *alone);
	struct rig *r = open_rig(&ALONE);
	for (size_t k = 0; k < n; k++)
		alone[k] = rig_run(r, plain_job(r, k));
	for (size_t i = 0; i < N_COLUMNS; i++)
		run_column(&COLUMNS[i], alone, n, told);
	for (size_t k = 0; k < n; k++)
		heard_free(alone[k]);
	free(alone);
	rig_free(r);
}
