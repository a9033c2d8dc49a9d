/* verify.h - checking a draft: sample-and-match, position by position.
 *
 * At each position the sampler chooses as generate would, with the seed and the tokens that
 * came before; as long as it chooses the draft's token, the draft is accepted. With a draft
 * of bare tokens this is rejection sampling (Leviathan et al., 2023): the text is the one
 * that generate alone would have written, at any temperature. */
#ifndef WORKER_ENGINE_VERIFY_H
#define WORKER_ENGINE_VERIFY_H
#include "worker/engine/sequence.h"

enum verify_state { VERIFY_MORE, VERIFY_DONE, VERIFY_STUCK };

/* Judge with the next n logits rows [n][vocab_size] of s: the first one ever is the prompt's
 * last. VERIFY_STUCK: the sampler found no possible token. */
enum verify_state verify_judge(struct sequence *s, struct sampler *sampler, const float *logits,
	size_t n, size_t vocab_size);
/* FINISH_LENGTH when the context ended before the draft did. */
enum finish verify_finish(const struct sequence *s);
#endif
