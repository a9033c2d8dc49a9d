/* sampler.c - one token out of a row of logits. Stop 20; next: worker/text/detok.c */
#include "protocol/mem.h"
#include "worker/engine/candidates.h"
#include "worker/engine/sampling.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Terms of one float sum when measuring the raw distribution. */
#define SUM_BLOCK 1024

struct sampler {
	struct kernels k;
	size_t vocab_size;
	float *logits;    /* [vocab_size] cleaned; then after penalties and bias */
	uint32_t *counts; /* [vocab_size] all zero between calls */
	struct candidates candidates;
};

struct sampler *sampler_new(const struct kernels *k, size_t vocab_size)
{
	struct sampler *s = xcalloc(1, sizeof *s);
	s->k = *k;
	s->vocab_size = vocab_size;
	s->logits = xcalloc(vocab_size, sizeof *s->logits);
	s->counts = xcalloc(vocab_size, sizeof *s->counts);
	candidates_init(&s->candidates, &s->k, vocab_size);
	return s;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	candidates_release(&s->candidates);
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

struct raw {
	float max;
	double log_sum; /* log(sum(exp(logit - max))) */
};

/* Of logits without NaN and +inf. Sums of SUM_BLOCK are taken in the kernels' fixed lanes,
 * and added in double: as exact for a large vocabulary as for a small one. */
static struct raw measure(const struct sampler *s, const float *logits)
{
	struct raw raw = { .max = s->k.max(logits, s->vocab_size) };
	double sum = 0;
	if (raw.max == -INFINITY)
		return raw;
	for (size_t i = 0; i < s->vocab_size; i += SUM_BLOCK) {
		size_t n = s->vocab_size - i < SUM_BLOCK ? s->vocab_size - i : SUM_BLOCK;
		sum += s->k.sum_exp(logits + i, raw.max, n);
	}
	raw.log_sum = log(sum);
	return raw;
}

static float raw_logprob(const struct raw *raw, float logit)
{
	float x = clean(logit);
	return x == -INFINITY ? -INFINITY : (float)((double)x - (double)raw->max - raw->log_sum);
}

float sampler_logprob(struct sampler *s, const float *logits, int32_t id)
{
	for (size_t i = 0; i < s->vocab_size; i++)
		s->logits[i] = clean(logits[i]);
	struct raw raw = measure(s, s->logits);
	return raw_logprob(&raw, logits[id]);
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

static void fill_top(const struct sampler *s, const struct sampling *p, const float *logits,
	const struct raw *raw, struct sampled *out)
{
	int limit = p->top_logprobs < LIMIT_TOP_LOGPROBS ? p->top_logprobs : LIMIT_TOP_LOGPROBS;
	out->n_top = 0;
	if (limit <= 0)
		return;
	for (size_t i = 0; i < s->vocab_size; i++)
		if (clean(logits[i]) > -INFINITY)
			note_top(out, limit, (int32_t)i, clean(logits[i]));
	for (int i = 0; i < out->n_top; i++)
		out->top[i].logprob = raw_logprob(raw, out->top[i].logprob);
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

/* -- choosing ------------------------------------------------------------------------------ */

static int32_t choose(
	struct sampler *s, const struct sampling *p, const float *logits, uint64_t position)
{
	struct candidates *c = &s->candidates;
	size_t best = s->k.argmax(logits, s->vocab_size);
	float max = logits[best];
	if (!(max > -INFINITY))
		return -1;
	if (p->temperature <= 0)
		return (int32_t)best;
	candidates_gather(c, logits, s->vocab_size, max, p->temperature);
	if (p->top_k > 0)
		candidates_keep_top(c, (size_t)p->top_k);
	candidates_weigh(c);
	if (p->typical_p < 1)
		candidates_keep_typical(c, p->typical_p);
	if (p->top_p < 1)
		candidates_keep_nucleus(c, p->top_p);
	if (p->min_p > 0)
		candidates_keep_above(c, p->min_p);
	return candidates_draw(c, sampler_uniform(p->seed, position));
}

static bool changes_logits(const struct sampling *p)
{
	return p->repetition_penalty != 1 || p->presence_penalty != 0 ||
	       p->frequency_penalty != 0 || p->n_bias > 0 || p->n_banned > 0;
}

void sampler_pick(struct sampler *s, const struct sampling *p, const float *logits,
	const int32_t *history, size_t n_history, size_t n_generated, uint64_t position,
	struct sampled *out)
{
	struct raw raw = { 0 };
	bool wanted = p->logprobs || p->top_logprobs > 0;
	if (!wanted && p->temperature <= 0 && !changes_logits(p)) {
		/* The commonest case reads the logits once: argmax passes over NaN. */
		*out = (struct sampled) { .id = choose(s, p, logits, position), .logprob = NAN };
		return;
	}
	for (size_t i = 0; i < s->vocab_size; i++)
		s->logits[i] = clean(logits[i]);
	if (wanted)
		raw = measure(s, s->logits);
	adjust(s, p, history, n_history, n_generated);
	out->id = choose(s, p, s->logits, position);
	out->logprob = wanted && out->id >= 0 ? raw_logprob(&raw, logits[out->id]) : NAN;
	fill_top(s, p, logits, &raw, out);
}
