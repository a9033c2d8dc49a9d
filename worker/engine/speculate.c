/* speculate.c - what to draft, and how much of it. */
#include "worker/engine/speculate.h"
#include <string.h>

#define FIRST_LENGTH  4
#define FIRST_PAUSE   4
#define LONGEST_PAUSE 256
/* Tokens that have to agree before what followed them is worth a guess. */
#define MATCH_TOKENS 3
/* How far back the text is searched: bounds the time of a step. */
#define SEARCH_TOKENS 8192

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

void speculate_init(struct speculation *s, size_t n_prompt)
{
	s->length = smaller(FIRST_LENGTH, s->max);
	s->n_seen = n_prompt;
}

/* Where in text[n] the last MATCH_TOKENS of ids[n_ids] were last followed by something; the
 * index of that, or n. */
static size_t find_again(const int32_t *text, size_t n, const int32_t *ids, size_t n_ids)
{
	size_t low = n > SEARCH_TOKENS ? n - SEARCH_TOKENS : 0;
	if (n_ids < MATCH_TOKENS || n <= MATCH_TOKENS)
		return n;
	const int32_t *tail = ids + n_ids - MATCH_TOKENS;
	for (size_t end = n - 1; end >= low + MATCH_TOKENS; end--)
		if (memcmp(text + end - MATCH_TOKENS, tail, MATCH_TOKENS * sizeof *tail) == 0)
			return end;
	return n;
}

/* Step through the prediction beside the text; where they part, look for the place again. */
static void follow(struct speculation *s, const int32_t *ids, size_t n)
{
	for (; s->n_seen < n; s->n_seen++) {
		if (s->at < s->n_prediction && s->prediction[s->at] == ids[s->n_seen])
			s->at++;
		else
			s->at = find_again(s->prediction, s->n_prediction, ids, s->n_seen + 1);
	}
}

static size_t copy(int32_t *out, const int32_t *from, size_t n_left, size_t n_wanted)
{
	size_t n = smaller(n_left, n_wanted);
	memcpy(out, from, n * sizeof *out);
	return n;
}

size_t speculate_draft(
	struct speculation *s, const int32_t *ids, size_t n, int32_t *out, size_t n_max)
{
	size_t wanted = smaller(s->length, n_max);
	s->n_in_flight = 0;
	if (s->n_prediction > 0)
		follow(s, ids, n);
	if (wanted == 0)
		return 0;
	if (s->rest > 0) {
		s->rest--;
		return 0;
	}
	if (s->at < s->n_prediction)
		s->n_in_flight = copy(out, s->prediction + s->at, s->n_prediction - s->at, wanted);
	if (s->n_in_flight > 0 || !s->look_up)
		return s->n_in_flight;
	size_t at = find_again(ids, n, ids, n);
	s->n_in_flight = copy(out, ids + at, n - at, wanted);
	return s->n_in_flight;
}

void speculate_judged(struct speculation *s, size_t n_accepted)
{
	s->n_drafted += s->n_in_flight;
	s->n_accepted += n_accepted;
	if (n_accepted == s->n_in_flight) {
		s->length = smaller(2 * s->length, s->max);
		s->pause = 0;
	} else if (2 * n_accepted >= s->n_in_flight) {
		s->length = n_accepted;
		s->pause = 0;
	} else {
		s->length = n_accepted > 0 ? n_accepted : 1;
		s->pause = s->pause ? smaller(2 * s->pause, LONGEST_PAUSE) : FIRST_PAUSE;
		s->rest = s->pause;
	}
	s->n_in_flight = 0;
}
