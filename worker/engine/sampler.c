/* sampler.c - one token out of a row of logits. Stop 16; next: worker/text/detok.c */
#include "protocol/mem.h"
#include "worker/engine/cut.h"
#include "worker/engine/sampling.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sampler {
	size_t vocab_size;
	float *logits;    /* [vocab_size] after penalties and bias; never NaN or +inf */
	uint32_t *counts; /* [vocab_size] all zero between calls */
	/* The candidates still in the race, in id order. */
	size_t n;
	int32_t *ids;   /* [n] */
	float *scores;  /* [n] (logit - max) / temperature, <= 0 */
	float *weights; /* [n] exp(score), not normalised */
	float *keys;    /* [n] scratch of typical */
	struct cut_item *items;
};

struct sampler *sampler_new(size_t vocab_size)
{
	struct sampler *s = xcalloc(1, sizeof *s);
	s->vocab_size = vocab_size;
	s->logits = xcalloc(vocab_size, sizeof *s->logits);
	s->counts = xcalloc(vocab_size, sizeof *s->counts);
	s->ids = xcalloc(vocab_size, sizeof *s->ids);
	s->scores = xcalloc(vocab_size, sizeof *s->scores);
	s->weights = xcalloc(vocab_size, sizeof *s->weights);
	s->keys = xcalloc(vocab_size, sizeof *s->keys);
	s->items = xcalloc(vocab_size, sizeof *s->items);
	return s;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	free(s->items);
	free(s->keys);
	free(s->weights);
	free(s->scores);
	free(s->ids);
	free(s->counts);
	free(s->logits);
	free(s);
}

/* -- random numbers ------------------------------------------------------------------------ */

/* Philox 4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011). */
static void philox_round(uint32_t c[4], const uint32_t k[2])
{
	uint64_t a = (uint64_t)0xd2511f53u * c[0];
	uint64_t b = (uint64_t)0xcd9e8d57u * c[2];
	uint32_t out[4] = { (uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b,
		(uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a };
	memcpy(c, out, sizeof out);
}

double sampler_uniform(uint64_t seed, uint64_t position)
{
	uint32_t c[4] = { (uint32_t)position, (uint32_t)(position >> 32), 0, 0 };
	uint32_t k[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
	for (int i = 0; i < 10; i++) {
		philox_round(c, k);
		k[0] += 0x9e3779b9u; /* golden ratio */
		k[1] += 0xbb67ae85u; /* sqrt(3) - 1 */
	}
	uint64_t bits = (uint64_t)c[0] << 32 | c[1];
	return (double)(bits >> 11) * 0x1p-53;
}

/* -- the raw distribution ------------------------------------------------------------------ */

/* A model gone wrong must not make sums NaN: what is not a number is impossible, what is
 * too large is the largest. */
static float clean(float x)
{
	if (isnan(x))
		return -INFINITY;
	return x > FLT_MAX ? FLT_MAX : x;
}

static float max_logit(const float *logits, size_t n)
{
	float max = -INFINITY;
	for (size_t i = 0; i < n; i++) {
		float x = clean(logits[i]);
		max = x > max ? x : max;
	}
	return max;
}

/* log(sum(exp(logit - max))), summed in id order. */
static double log_sum(const float *logits, size_t n, float max)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += expf(clean(logits[i]) - max);
	return log(sum);
}

static float raw_logprob(float logit, float max, double lse)
{
	float x = clean(logit);
	return x == -INFINITY ? -INFINITY : (float)((double)x - (double)max - lse);
}

float sampler_logprob(struct sampler *s, const float *logits, int32_t id)
{
	float max = max_logit(logits, s->vocab_size);
	if (max == -INFINITY)
		return -INFINITY;
	return raw_logprob(logits[id], max, log_sum(logits, s->vocab_size, max));
}

static void note_top(struct sampled *out, int limit, int32_t id, float logit)
{
	int at = out->n_top;
	while (at > 0 && logit > out->top[at - 1].logprob)
		at--;
	if (at == limit)
		return;
	out->n_top += out->n_top < limit;
	for (int i = out->n_top - 1; i > at; i--)
		out->top[i] = out->top[i - 1];
	out->top[at] = (struct token_logprob) { id, logit };
}

static void fill_logprobs(
	const struct sampler *s, const struct sampling *p, const float *logits, struct sampled *out)
{
	out->n_top = 0;
	out->logprob = NAN;
	if (!p->logprobs && p->top_logprobs <= 0)
		return;
	float max = max_logit(logits, s->vocab_size);
	double lse = max == -INFINITY ? 0 : log_sum(logits, s->vocab_size, max);
	if (out->id >= 0)
		out->logprob = raw_logprob(logits[out->id], max, lse);
	if (p->top_logprobs <= 0)
		return;
	int limit = p->top_logprobs < LIMIT_TOP_LOGPROBS ? p->top_logprobs : LIMIT_TOP_LOGPROBS;
	for (size_t i = 0; i < s->vocab_size; i++)
		if (clean(logits[i]) > -INFINITY)
			note_top(out, limit, (int32_t)i, clean(logits[i]));
	for (int i = 0; i < out->n_top; i++)
		out->top[i].logprob = raw_logprob(out->top[i].logprob, max, lse);
}

/* -- penalties and bias -------------------------------------------------------------------- */

/* Each token of the window once, however often it occurs (Keskar et al., 2019; the sign rule
 * is Hugging Face's: dividing a negative logit would reward it). */
static void penalise_repetition(struct sampler *s, float penalty, const int32_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float *x = &s->logits[ids[i]];
		if (s->counts[ids[i]]++ == 0)
			*x = clean(*x < 0 ? *x * penalty : *x / penalty);
	}
	for (size_t i = 0; i < n; i++)
		s->counts[ids[i]] = 0;
}

static void penalise_counts(
	struct sampler *s, const struct sampling *p, const int32_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->counts[ids[i]]++;
	for (size_t i = 0; i < n; i++) {
		uint32_t *count = &s->counts[ids[i]];
		if (*count > 0)
			s->logits[ids[i]] -=
				(float)*count * p->frequency_penalty + p->presence_penalty;
		*count = 0;
	}
}

static void adjust(struct sampler *s, const struct sampling *p, const int32_t *history,
	size_t n_history, size_t n_generated)
{
	if (p->repetition_penalty != 1) {
		size_t n = n_history;
		if (p->repetition_window >= 0 && (size_t)p->repetition_window < n)
			n = (size_t)p->repetition_window;
		penalise_repetition(s, p->repetition_penalty, history + n_history - n, n);
	}
	if (p->presence_penalty != 0 || p->frequency_penalty != 0)
		penalise_counts(s, p, history + n_history - n_generated, n_generated);
	for (size_t i = 0; i < p->n_bias; i++)
		s->logits[p->bias[i].id] = clean(s->logits[p->bias[i].id] + p->bias[i].bias);
	for (size_t i = 0; i < p->n_banned; i++)
		if (p->banned[i] >= 0 && (size_t)p->banned[i] < s->vocab_size)
			s->logits[p->banned[i]] = -INFINITY;
}

/* -- filters ------------------------------------------------------------------------------- */

static double total_weight(const struct sampler *s)
{
	double sum = 0;
	for (size_t i = 0; i < s->n; i++)
		sum += s->weights[i];
	return sum;
}

static void keep(struct sampler *s, size_t *n, size_t i)
{
	s->ids[*n] = s->ids[i];
	s->scores[*n] = s->scores[i];
	s->weights[(*n)++] = s->weights[i];
}

/* Keep the shortest run of best candidates (by keys [n]) that reaches mass. `counted`: mass
 * is a number of candidates. Those lighter than `floor` are known to be outside the run. */
static void keep_best(struct sampler *s, const float *keys, double mass, bool counted, double floor)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++)
		if (counted || s->weights[i] >= floor)
			s->items[n++] = (struct cut_item) { keys[i], counted ? 1 : s->weights[i],
				s->ids[i] };
	if (n == 0)
		return;
	struct cut_item last = cut_by_mass(s->items, n, mass);
	n = 0;
	for (size_t i = 0; i < s->n; i++)
		if (!cut_is_better(&last, &(struct cut_item) { keys[i], 0, s->ids[i] }))
			keep(s, &n, i);
	s->n = n;
}

/* Tokens whose surprise is nearest to the expected one (Meister et al., 2022). */
static void keep_typical(struct sampler *s, double typical_p)
{
	double total = total_weight(s), log_total = log(total), entropy = 0;
	for (size_t i = 0; i < s->n; i++)
		if (s->weights[i] > 0)
			entropy -= s->weights[i] / total * ((double)s->scores[i] - log_total);
	for (size_t i = 0; i < s->n; i++)
		s->keys[i] = (float)-fabs(log_total - (double)s->scores[i] - entropy);
	keep_best(s, s->keys, typical_p * total, false, 0);
}

/* Holtzman et al., 2019. All candidates lighter than (1 - top_p) / n of the total weigh less
 * than 1 - top_p together, so none of them is needed to reach top_p: most of a vocabulary
 * never enters the selection. */
static void keep_nucleus(struct sampler *s, double top_p)
{
	double total = total_weight(s);
	keep_best(s, s->scores, top_p * total, false, (1 - top_p) * total / (double)s->n);
}

static void keep_above(struct sampler *s, float min_p)
{
	float max = 0;
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++)
		max = s->weights[i] > max ? s->weights[i] : max;
	for (size_t i = 0; i < s->n; i++)
		if (s->weights[i] >= min_p * max)
			keep(s, &n, i);
	s->n = n;
}

/* -- choosing ------------------------------------------------------------------------------ */

static void gather(struct sampler *s, float max, float temperature)
{
	s->n = 0;
	for (size_t i = 0; i < s->vocab_size; i++) {
		if (s->logits[i] == -INFINITY)
			continue;
		s->ids[s->n] = (int32_t)i;
		/* Subtracting first: a tiny temperature then gives -inf, never inf - inf. */
		s->scores[s->n] = (s->logits[i] - max) / temperature;
		s->weights[s->n] = expf(s->scores[s->n]);
		s->n++;
	}
}

/* Inverse transform over the candidates in id order. */
static int32_t draw(const struct sampler *s, double uniform)
{
	double left = uniform * total_weight(s);
	int32_t id = s->ids[0];
	for (size_t i = 0; i < s->n; i++) {
		if (s->weights[i] <= 0)
			continue;
		id = s->ids[i];
		left -= s->weights[i];
		if (left < 0)
			break;
	}
	return id;
}

static int32_t argmax(const float *logits, size_t n)
{
	size_t best = 0;
	for (size_t i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return (int32_t)best;
}

static int32_t choose(struct sampler *s, const struct sampling *p, uint64_t position)
{
	int32_t best = argmax(s->logits, s->vocab_size);
	float max = s->logits[best];
	if (max == -INFINITY)
		return -1;
	if (p->temperature <= 0)
		return best;
	gather(s, max, p->temperature);
	if (p->top_k > 0 && (size_t)p->top_k < s->n)
		keep_best(s, s->scores, p->top_k, true, 0);
	if (p->typical_p < 1)
		keep_typical(s, p->typical_p);
	if (p->top_p < 1)
		keep_nucleus(s, p->top_p);
	if (p->min_p > 0)
		keep_above(s, p->min_p);
	return draw(s, sampler_uniform(p->seed, position));
}

void sampler_pick(struct sampler *s, const struct sampling *p, const float *logits,
	const int32_t *history, size_t n_history, size_t n_generated, uint64_t position,
	struct sampled *out)
{
	for (size_t i = 0; i < s->vocab_size; i++)
		s->logits[i] = clean(logits[i]);
	adjust(s, p, history, n_history, n_generated);
	out->id = choose(s, p, position);
	fill_logprobs(s, p, logits, out);
}
