/* sampling.h - a request's sampling settings, and the sampler itself.
 *
 * Order: penalties and bias → temperature → top_k → typical → top_p → min_p → sample.
 * Random numbers are counter-based, a pure function of (seed, position), so a token never
 * depends on batch mates, threads or restarts. Pure: no clock, no I/O. */
#ifndef WORKER_ENGINE_SAMPLING_H
#define WORKER_ENGINE_SAMPLING_H
#include "protocol/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct logit_bias {
	int32_t id;
	float bias; /* -INFINITY bans */
};

struct sampling {
	float temperature;                         /* 0 = argmax (lowest id wins a tie) */
	float top_p, min_p, typical_p;             /* 1, 0, 1 = off */
	int32_t top_k;                             /* 0 = off */
	float repetition_penalty;                  /* 1 = off; over prompt and output */
	int32_t repetition_window;                 /* last n tokens; -1 = all */
	float presence_penalty, frequency_penalty; /* over generated tokens only */
	const struct logit_bias *bias;             /* borrowed */
	size_t n_bias;
	uint64_t seed;
	const int32_t *banned; /* eos ids while ignore_eos/min_tokens hold; borrowed */
	size_t n_banned;
	int top_logprobs; /* 0..20 */
	bool logprobs;
};

struct token_logprob {
	int32_t id;
	float logprob;
};

struct sampled {
	int32_t id;    /* -1: no token is possible (every logit NaN or -inf, or banned) */
	float logprob; /* of id in the raw distribution (softmax of unmodified logits); NAN unless
			  logprobs or top_logprobs asked for it */
	struct token_logprob top[LIMIT_TOP_LOGPROBS];
	int n_top;
};

struct kernels;
struct sampler; /* scratch of one thread, sized by the vocabulary */
struct sampler *sampler_new(const struct kernels *k, size_t vocab_size); /* copies *k */
void sampler_free(struct sampler *s);

/* Choose the token at `position` (0-based index in the whole sequence of the token being
 * chosen). history: the n_history tokens before it, of which the last n_generated were
 * generated. logits [vocab] is read only. */
void sampler_pick(struct sampler *s, const struct sampling *p, const float *logits,
	const int32_t *history, size_t n_history, size_t n_generated, uint64_t position,
	struct sampled *out);

/* Log-probability of one id in the raw distribution, the bits sampler_pick would report. */
float sampler_logprob(struct sampler *s, const float *logits, int32_t id);

/* The uniform number in [0,1) for (seed, position): Philox 4x32-10 (Salmon et al., 2011). */
double sampler_uniform(uint64_t seed, uint64_t position);
#endif
