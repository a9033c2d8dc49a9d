/* The sampler against definitions written the slow way: sort everything, add everything. */
#include "kernels/kernels.h"
#include "protocol/mem.h"
#include "tests/worker/model_fixture.h"
#include "worker/engine/sampling.h"
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VOCAB 500

static const struct sampling PLAIN = { .temperature = 1,
	.top_p = 1,
	.typical_p = 1,
	.repetition_penalty = 1,
	.repetition_window = -1 };

static float logits[VOCAB];
static struct kernels kernels;
static struct sampler *sampler;

static uint64_t rng_state;
static double rng(void)
{
	return sampler_uniform(0xabcdef, rng_state++);
}

static void setup(void)
{
	rng_state = 1;
	kernels_select(&kernels, KERNELS_ALL);
	sampler = sampler_new(&kernels, VOCAB);
}
static void teardown(void)
{
	sampler_free(sampler);
}
TestSuite(sampler, .init = setup, .fini = teardown);

static void randomise(double spread)
{
	for (int i = 0; i < VOCAB; i++)
		logits[i] = (float)((rng() - 0.5) * spread);
}

static struct sampled pick(const struct sampling *p, uint64_t position)
{
	struct sampled out;
	sampler_pick(sampler, p, logits, NULL, 0, 0, position, &out);
	return out;
}

/* -- the definitions ----------------------------------------------------------------------- */

struct cand {
	int id;
	double p, key;
};

static int by_key(const void *a, const void *b)
{
	const struct cand *x = a, *y = b;
	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return x->id - y->id;
}

static void normalise(struct cand *c, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += c[i].p;
	for (size_t i = 0; i < n; i++)
		c[i].p /= sum;
}

static size_t shortest_run(struct cand *c, size_t n, double mass)
{
	double sum = 0;
	qsort(c, n, sizeof *c, by_key);
	for (size_t i = 0; i < n; i++) {
		sum += c[i].p;
		if (sum >= mass)
			return i + 1;
	}
	return n;
}

/* The distribution that p means over `logits`: out[id] is its probability. */
static void define(const struct sampling *p, double *out)
{
	struct cand c[VOCAB];
	size_t n = VOCAB;
	for (int i = 0; i < VOCAB; i++)
		c[i] = (struct cand) { i, exp(logits[i] / p->temperature), logits[i] };
	normalise(c, n);
	if (p->top_k > 0 && (size_t)p->top_k < n) {
		qsort(c, n, sizeof *c, by_key);
		n = (size_t)p->top_k;
		normalise(c, n);
	}
	if (p->typical_p < 1) {
		double entropy = 0;
		for (size_t i = 0; i < n; i++)
			entropy -= c[i].p * log(c[i].p);
		for (size_t i = 0; i < n; i++)
			c[i].key = -fabs(-log(c[i].p) - entropy);
		n = shortest_run(c, n, p->typical_p);
		normalise(c, n);
	}
	for (size_t i = 0; i < n; i++)
		c[i].key = c[i].p;
	if (p->top_p < 1) {
		n = shortest_run(c, n, p->top_p);
		normalise(c, n);
	}
	qsort(c, n, sizeof *c, by_key);
	while (n > 0 && c[n - 1].p < p->min_p * c[0].p)
		n--;
	normalise(c, n);
	memset(out, 0, VOCAB * sizeof *out);
	for (size_t i = 0; i < n; i++)
		out[c[i].id] = c[i].p;
}

/* Inverse transform in id order over that distribution. Positions whose uniform number lies
 * within rounding of a border between two tokens say nothing and are left out (-1). */
static int define_pick(const double *dist, double uniform)
{
	double at = 0;
	for (int i = 0; i < VOCAB; i++) {
		at += dist[i];
		if (dist[i] > 0 && fabs(at - uniform) < 1e-5)
			return -1;
		if (uniform < at)
			return i;
	}
	return -1;
}

static void check_against_definition(const struct sampling *p, const char *what)
{
	double dist[VOCAB];
	int judged = 0;
	define(p, dist);
	for (uint64_t at = 0; at < 200; at++) {
		int want = define_pick(dist, sampler_uniform(p->seed, at));
		if (want < 0)
			continue;
		judged++;
		cr_assert_eq(pick(p, at).id, want, "%s at %d", what, (int)at);
	}
	cr_assert_gt(judged, 150, "%s: only %d positions judged", what, judged);
}

Test(sampler, follows_the_definition_of_every_filter_alone_and_together)
{
	struct sampling p;
	for (int round = 0; round < (FIXTURE_SLOW ? 3 : 12); round++) {
		randomise(round % 3 == 0 ? 2 : round % 3 == 1 ? 10 : 40);
		for (int mask = 0; mask < 32; mask++) {
			p = PLAIN;
			p.seed = (uint64_t)round * 977;
			p.temperature = mask & 1 ? 0.7f : 1.3f;
			p.top_k = mask & 2 ? 1 + (int)(rng() * 60) : 0;
			p.typical_p = mask & 4 ? (float)(0.2 + 0.7 * rng()) : 1;
			p.top_p = mask & 8 ? (float)(0.3 + 0.65 * rng()) : 1;
			p.min_p = mask & 16 ? (float)(0.3 * rng()) : 0;
			char what[120];
			snprintf(what, sizeof what, "round %d T %g k %d typ %g p %g min %g", round,
				(double)p.temperature, p.top_k, (double)p.typical_p,
				(double)p.top_p, (double)p.min_p);
			check_against_definition(&p, what);
		}
	}
}

Test(sampler, draws_with_the_frequencies_of_the_distribution)
{
	struct sampling p = PLAIN;
	double dist[VOCAB], chi = 0;
	int seen[VOCAB] = { 0 }, kinds = 0;
	const int n = FIXTURE_SLOW ? 10000 : 40000;
	randomise(6);
	p.top_k = 20;
	p.seed = 11;
	define(&p, dist);
	for (int i = 0; i < n; i++)
		seen[pick(&p, (uint64_t)i).id]++;
	for (int i = 0; i < VOCAB; i++) {
		cr_assert(dist[i] > 0 || seen[i] == 0, "token %d is outside top_k", i);
		if (dist[i] == 0)
			continue;
		kinds++;
		chi += (seen[i] - n * dist[i]) * (seen[i] - n * dist[i]) / (n * dist[i]);
	}
	cr_assert_eq(kinds, 20);
	cr_assert_lt(chi, 43.8, "chi square %g of 19 degrees of freedom (p = 0.001)", chi);
}

Test(sampler, is_a_pure_function_of_seed_and_position)
{
	struct sampling p = PLAIN;
	int32_t first[50];
	int differs = 0;
	randomise(4);
	for (uint64_t i = 0; i < 50; i++)
		first[i] = pick(&p, i).id;
	for (uint64_t i = 50; i-- > 0;)
		cr_assert_eq(pick(&p, i).id, first[i]);
	p.seed = 1;
	for (uint64_t i = 0; i < 50; i++)
		differs += pick(&p, i).id != first[i];
	cr_assert_gt(differs, 40);
}

Test(sampler, random_numbers_are_philox_4x32_10)
{
	/* Random123's known answer: counter 0, key 0 → 6627e8d5 e169c58d … */
	uint64_t bits = 0x6627e8d5e169c58du;
	cr_assert_eq(sampler_uniform(0, 0), (double)(bits >> 11) * 0x1p-53);
	double sum = 0;
	for (uint64_t i = 0; i < 100000; i++) {
		double u = sampler_uniform(~0ull, i << 32 | i);
		cr_assert(u >= 0 && u < 1);
		sum += u;
	}
	cr_assert_float_eq(sum / 100000, 0.5, 0.005);
}

/* -- penalties, bias, bans ----------------------------------------------------------------- */

static int32_t pick_after(const struct sampling *p, const int32_t *history, size_t n, size_t n_gen)
{
	struct sampled out;
	sampler_pick(sampler, p, logits, history, n, n_gen, n, &out);
	return out.id;
}

static void zero_logits(void)
{
	for (int i = 0; i < VOCAB; i++)
		logits[i] = -10;
}

Test(sampler, repetition_penalty_divides_gains_and_multiplies_losses)
{
	struct sampling p = PLAIN;
	p.temperature = 0;
	p.repetition_penalty = 2;
	zero_logits();
	logits[3] = 4, logits[7] = 2.5f;
	cr_assert_eq(
		pick_after(&p, (int32_t[]) { 3, 3, 3 }, 3, 0), 7, "4 / 2 < 2.5, and only once");
	cr_assert_eq(pick_after(&p, (int32_t[]) { 3, 7 }, 2, 0), 3, "2 > 1.25");
	for (int i = 0; i < VOCAB; i++)
		logits[i] = -8;
	logits[3] = -2, logits[7] = -3;
	cr_assert_eq(pick_after(&p, (int32_t[]) { 3 }, 1, 0), 7, "-2 · 2 < -3");
}

Test(sampler, repetition_window_looks_at_the_last_tokens_only)
{
	struct sampling p = PLAIN;
	p.temperature = 0;
	p.repetition_penalty = 2;
	zero_logits();
	logits[3] = 4, logits[7] = 2.5f;
	int32_t history[] = { 3, 9, 9 };
	p.repetition_window = 2;
	cr_assert_eq(pick_after(&p, history, 3, 0), 3);
	p.repetition_window = 3;
	cr_assert_eq(pick_after(&p, history, 3, 0), 7);
	p.repetition_window = 0;
	cr_assert_eq(pick_after(&p, history, 3, 0), 3);
}

Test(sampler, presence_and_frequency_count_generated_tokens_only)
{
	struct sampling p = PLAIN;
	p.temperature = 0;
	zero_logits();
	logits[3] = 4, logits[7] = 2.75f;
	int32_t history[] = { 3, 3, 3, 9, 3, 3 };
	p.presence_penalty = 1.5f;
	cr_assert_eq(pick_after(&p, history, 6, 0), 3, "the prompt does not count");
	cr_assert_eq(pick_after(&p, history, 6, 1), 7, "4 - 1.5 < 2.75");
	p.presence_penalty = 0;
	p.frequency_penalty = 0.7f;
	cr_assert_eq(pick_after(&p, history, 6, 1), 3, "4 - 0.7 > 2.75");
	cr_assert_eq(pick_after(&p, history, 6, 2), 7, "4 - 1.4 < 2.75");
	p.frequency_penalty = -1;
	cr_assert_eq(pick_after(&p, history, 6, 3), 3, "a negative penalty rewards");
}

Test(sampler, bias_lifts_and_bans)
{
	struct sampling p = PLAIN;
	zero_logits();
	logits[3] = 4, logits[7] = 2;
	struct logit_bias bias[] = { { 3, -INFINITY }, { 8, 20 } };
	p.bias = bias;
	p.n_bias = 1;
	for (uint64_t at = 0; at < 300; at++)
		cr_assert_neq(pick(&p, at).id, 3);
	p.n_bias = 2;
	p.temperature = 0;
	cr_assert_eq(pick(&p, 0).id, 8);
	int32_t banned[] = { 8, 7 };
	p.banned = banned;
	p.n_banned = 2;
	cr_assert(pick(&p, 0).id != 8 && pick(&p, 0).id != 7 && pick(&p, 0).id != 3);
}

Test(sampler, greedy_takes_the_lowest_id_of_a_tie)
{
	struct sampling p = PLAIN;
	p.temperature = 0;
	zero_logits();
	logits[40] = logits[12] = logits[300] = 1;
	cr_assert_eq(pick(&p, 9).id, 12);
}

Test(sampler, a_tiny_temperature_is_greedy_and_never_nan)
{
	struct sampling p = PLAIN;
	p.temperature = FLT_MIN;
	randomise(10);
	logits[77] = 50;
	for (uint64_t at = 0; at < 100; at++)
		cr_assert_eq(pick(&p, at).id, 77);
}

/* -- hostile logits ------------------------------------------------------------------------ */

Test(sampler, never_picks_what_is_nan_or_minus_infinity)
{
	struct sampling p = PLAIN;
	for (int i = 0; i < VOCAB; i++)
		logits[i] = i % 2 ? NAN : -INFINITY;
	logits[5] = 1, logits[6] = 0.5f;
	for (int mode = 0; mode < 4; mode++) {
		p.temperature = mode == 0 ? 0 : 1;
		p.top_k = mode == 2 ? 3 : 0;
		p.top_p = mode == 3 ? 0.99f : 1;
		p.typical_p = mode == 3 ? 0.99f : 1;
		for (uint64_t at = 0; at < 100; at++) {
			int32_t id = pick(&p, at).id;
			cr_assert(id == 5 || id == 6, "picked %d in mode %d", id, mode);
		}
	}
}

Test(sampler, says_so_when_no_token_is_possible)
{
	struct sampling p = PLAIN;
	p.logprobs = true;
	p.top_logprobs = 5;
	for (int i = 0; i < VOCAB; i++)
		logits[i] = i % 2 ? NAN : -INFINITY;
	struct sampled out = pick(&p, 0);
	cr_assert_eq(out.id, -1);
	cr_assert_eq(out.n_top, 0);
	p.temperature = 0;
	cr_assert_eq(pick(&p, 0).id, -1);
}

Test(sampler, infinite_and_huge_logits_stay_finite)
{
	struct sampling p = PLAIN;
	randomise(10);
	logits[9] = INFINITY;
	logits[10] = FLT_MAX;
	logits[11] = -FLT_MAX;
	p.logprobs = true;
	for (uint64_t at = 0; at < 50; at++) {
		struct sampled out = pick(&p, at);
		cr_assert(out.id == 9 || out.id == 10);
		cr_assert_float_eq(out.logprob, -0.693147, 1e-5);
	}
}

/* -- log-probabilities --------------------------------------------------------------------- */

Test(sampler, logprobs_are_those_of_the_unmodified_logits)
{
	struct sampling p = PLAIN;
	randomise(12);
	p.temperature = 0.3f;
	p.top_k = 4;
	p.logprobs = true;
	p.top_logprobs = 20;
	struct logit_bias bias = { 4, 100 };
	p.bias = &bias;
	p.n_bias = 1;
	double sum = 0;
	for (int i = 0; i < VOCAB; i++)
		sum += exp(logits[i]);
	struct sampled out = pick(&p, 0);
	cr_assert_eq(out.id, 4);
	cr_assert_float_eq(out.logprob, logits[4] - log(sum), 1e-5);
	cr_assert_eq(out.n_top, 20);
	for (int i = 0; i < 20; i++) {
		int better = 0;
		for (int j = 0; j < VOCAB; j++)
			better += logits[j] > logits[out.top[i].id];
		cr_assert_eq(better, i, "top %d has %d better ones", i, better);
		cr_assert_float_eq(out.top[i].logprob, logits[out.top[i].id] - log(sum), 1e-5);
		cr_assert_eq(out.top[i].logprob, sampler_logprob(sampler, logits, out.top[i].id));
	}
}

Test(sampler, top_logprobs_of_a_tie_come_in_id_order)
{
	struct sampling p = PLAIN;
	zero_logits();
	logits[400] = logits[20] = logits[21] = 3;
	p.top_logprobs = 3;
	struct sampled out = pick(&p, 0);
	cr_assert(out.top[0].id == 20 && out.top[1].id == 21 && out.top[2].id == 400);
}

Test(sampler, logprob_is_not_a_number_unless_asked_for)
{
	randomise(3);
	struct sampled out = pick(&PLAIN, 0);
	cr_assert(isnan(out.logprob));
	cr_assert_eq(out.n_top, 0);
}

Test(sampler, a_vocabulary_of_one_works)
{
	struct sampler *tiny = sampler_new(&kernels, 1);
	struct sampling p = PLAIN;
	struct sampled out;
	float one = -3;
	p.top_p = 0.1f, p.min_p = 0.5f, p.typical_p = 0.1f, p.top_k = 1;
	sampler_pick(tiny, &p, &one, NULL, 0, 0, 0, &out);
	cr_assert_eq(out.id, 0);
	sampler_free(tiny);
}

/* A vocabulary of the size that makes the shortcuts matter. */
Test(sampler, a_large_vocabulary_and_plain_kernels_give_the_same_bits)
{
	const size_t n = 40000;
	float *big = xcalloc(n, sizeof *big);
	struct kernels plain;
	kernels_select(&plain, KERNELS_SCALAR);
	struct sampler *fast = sampler_new(&kernels, n), *slow = sampler_new(&plain, n);
	for (size_t i = 0; i < n; i++)
		big[i] = (float)(rng() * 20 - 10);
	struct sampling p = PLAIN;
	p.top_logprobs = 5;
	for (uint64_t at = 0; at < 60; at++) {
		struct sampled a, b;
		p.top_k = at % 3 == 0 ? 40 : 0;
		p.top_p = at % 2 == 0 ? 0.9f : 1;
		p.typical_p = at % 5 == 0 ? 0.8f : 1;
		sampler_pick(fast, &p, big, NULL, 0, 0, at, &a);
		sampler_pick(slow, &p, big, NULL, 0, 0, at, &b);
		cr_assert_eq(a.id, b.id);
		cr_assert_eq(a.logprob, b.logprob);
		cr_assert_eq(a.logprob, sampler_logprob(slow, big, a.id));
	}
	sampler_free(fast);
	sampler_free(slow);
	free(big);
}

Test(sampler, top_k_of_a_large_vocabulary_is_the_k_best)
{
	const size_t n = 20000;
	float *big = xcalloc(n, sizeof *big);
	struct sampler *s = sampler_new(&kernels, n);
	struct sampling p = PLAIN;
	for (int round = 0; round < 20; round++) {
		/* Few distinct values, so that the border lies within a tie. */
		for (size_t i = 0; i < n; i++)
			big[i] = (float)(int)(rng() * (round < 10 ? 50 : 20000)) * 0.001f;
		p.top_k = 1 + round * 17;
		p.seed = (uint64_t)round;
		for (uint64_t at = 0; at < 30; at++) {
			struct sampled out;
			size_t n_better = 0;
			sampler_pick(s, &p, big, NULL, 0, 0, at, &out);
			for (size_t i = 0; i < n; i++)
				n_better += big[i] > big[out.id] ||
					    (big[i] == big[out.id] && (int32_t)i < out.id);
			cr_assert_lt(n_better, (size_t)p.top_k);
		}
	}
	sampler_free(s);
	free(big);
}
