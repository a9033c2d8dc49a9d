/* speculate.c - what to draft, and how much of it. */
#include "worker/engine/speculate.h"
#include <string.h>

#define FIRST_PAUSE   8
#define LONGEST_PAUSE 256
/* Tokens that have to agree before what followed them is worth a guess. */
#define MATCH_TOKENS 3
/* How far back the text is searched: bounds the time of a step. */
#define SEARCH_TOKENS 8192
/* Of the weight of what was seen, what each judged token leaves: some 30 tokens count. */
#define FORGETTING   0.97
#define PRIOR_WEIGHT 6.0
/* The account and the purse, in tokens, hold at most. */
#define CREDIT_MOST 12.0
#define PURSE_MOST  256.0
/* Tokens per second have to rise by this much: a measured time is not exact. */
#define WORTHWHILE 1.03
/* A step without a draft now and then keeps its measured time true. */
#define TURNS_BETWEEN_PLAIN 64
/* Reading the text into a model pays if what it may then save is this many times as long. */
#define LATE_RETURN 3.0

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

void speculate_init(struct speculation *s, size_t n_prompt)
{
	static const double prior[DRAFT_SOURCES] = { 0.9, 0.6, 0.7 };
	for (size_t i = 0; i < DRAFT_SOURCES; i++)
		if (s->rate[i].judged == 0)
			s->rate[i] = (struct draft_rate) { prior[i] * 2, 2 };
	s->credit = SPECULATE_START;
	s->n_seen = n_prompt;
}

/* -- rates ---------------------------------------------------------------------------------- */

void draft_rate_note(struct draft_rate *r, size_t n_held, size_t n_judged)
{
	for (size_t i = 0; i < n_judged; i++) {
		r->held = r->held * FORGETTING + (i < n_held ? 1 : 0);
		r->judged = r->judged * FORGETTING + 1;
	}
}

struct draft_rate draft_rate_prior(const struct draft_rate *seen)
{
	struct draft_rate r = *seen;
	if (r.judged > PRIOR_WEIGHT) {
		r.held *= PRIOR_WEIGHT / r.judged;
		r.judged = PRIOR_WEIGHT;
	}
	return r;
}

/* -- where a guess is found ----------------------------------------------------------------- */

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

/* -- how much of it ------------------------------------------------------------------------- */

struct choice {
	size_t n;
	double stake; /* tokens lost if none holds */
};

/* Seconds that the step takes longer for a draft of k tokens. */
static double extra(const struct draft_prices *p, enum draft_source from, size_t k)
{
	const double rows = p->rows[k] > p->rows[0] ? p->rows[k] - p->rows[0] : 0;
	return rows + (from == DRAFT_MODEL ? (double)k * p->model_token : 0);
}

/* Tokens that all together would have had in that time. */
static double tokens_in(const struct draft_prices *p, double seconds)
{
	return seconds / p->rows[0] * (1 + p->others);
}

/* What a draft may cost, beside showing the model all that it has to read first. */
static double means(
	const struct speculation *s, const struct draft_prices *p, enum draft_source from)
{
	const double late = from == DRAFT_MODEL ? tokens_in(p, p->model_late) : 0;
	const double purse = s->purse ? *s->purse : 0;
	return s->credit - (late > purse ? late - purse : 0);
}

static double rate_of(const struct speculation *s, enum draft_source from)
{
	return s->rate[from].held / s->rate[from].judged;
}

/* The length with the most tokens per second, of those whose failure can be paid; 0 if none is
 * faster than going without. */
static struct choice choose(const struct speculation *s, const struct draft_prices *p,
	enum draft_source from, size_t n_max)
{
	const double rate = rate_of(s, from), most = means(s, p, from);
	double tokens = 1, power = 1, best = WORTHWHILE * (1 + p->others) / p->rows[0];
	struct choice c = { 0, 0 };
	for (size_t k = 1; k <= n_max; k++) {
		const double longer = extra(p, from, k), stake = tokens_in(p, longer);
		if (stake > most)
			break;
		power *= rate;
		tokens += power;
		const double speed = (tokens + p->others) / (p->rows[0] + longer);
		if (speed <= best)
			continue;
		best = speed;
		c = (struct choice) { k, stake };
	}
	return c;
}

/* What the model has not read yet costs once; what it then saves lasts as long as the text. */
static bool is_worth_reading(
	const struct speculation *s, const struct draft_prices *p, const struct choice *c)
{
	const double rate = rate_of(s, DRAFT_MODEL);
	double tokens = 1, power = 1;
	for (size_t k = 0; k < c->n; k++)
		tokens += power *= rate;
	const double took = p->rows[0] + extra(p, DRAFT_MODEL, c->n);
	const double saved = p->rows[0] - took / tokens;
	return saved * (double)s->n_left >= LATE_RETURN * p->model_late;
}

/* A draft that is not expected to pay, at the end of a pause: how are things now? */
static struct choice probe(
	struct speculation *s, const struct draft_prices *p, enum draft_source from)
{
	const double stake = tokens_in(p, extra(p, from, 1));
	const struct choice none = { 0, 0 };
	if (s->rest[from] > 0) {
		s->rest[from]--;
		return none;
	}
	const bool is_first = s->pause[from] == 0;
	s->pause[from] = is_first ? FIRST_PAUSE : smaller(2 * s->pause[from], LONGEST_PAUSE);
	s->rest[from] = s->pause[from];
	return is_first || stake > means(s, p, from) ? none : (struct choice) { 1, stake };
}

static struct choice decide(
	struct speculation *s, const struct draft_prices *p, enum draft_source from, size_t n_max)
{
	if (s->always)
		return (struct choice) { n_max, 0 };
	if (!p->known || n_max == 0 || s->n_turns >= TURNS_BETWEEN_PLAIN)
		return (struct choice) { 0, 0 };
	const struct choice c = choose(s, p, from, n_max);
	if (c.n == 0 || (from == DRAFT_MODEL && !is_worth_reading(s, p, &c)))
		return probe(s, p, from);
	s->pause[from] = s->rest[from] = 0;
	return c;
}

/* The model is going to read: that is paid at once, whatever it drafts then. */
static void pay_reading(struct speculation *s, const struct draft_prices *p)
{
	double late = tokens_in(p, p->model_next);
	if (s->purse) {
		const double part = *s->purse < late ? *s->purse : late;
		*s->purse -= part;
		late -= part;
	}
	s->credit -= late;
}

static size_t launch(struct speculation *s, enum draft_source from, const struct choice *c)
{
	s->source = from;
	s->stake = c->stake;
	s->n_in_flight = c->n;
	return c->n;
}

static size_t copy(struct speculation *s, const struct draft_prices *p, enum draft_source from,
	const int32_t *guess, size_t n_guess, int32_t *out)
{
	const struct choice c = decide(s, p, from, n_guess);
	memcpy(out, guess, c.n * sizeof *out);
	return launch(s, from, &c);
}

size_t speculate_draft(struct speculation *s, const struct draft_prices *p, const int32_t *ids,
	size_t n, size_t n_max, int32_t *out)
{
	const size_t wanted = smaller(s->max, n_max);
	s->n_in_flight = 0;
	if (s->n_prediction > 0)
		follow(s, ids, n);
	if (wanted == 0)
		return 0;
	if (s->at < s->n_prediction)
		copy(s, p, DRAFT_PREDICTION, s->prediction + s->at,
			smaller(wanted, s->n_prediction - s->at), out);
	if (s->n_in_flight > 0 || !s->look_up)
		return s->n_in_flight;
	const size_t at = find_again(ids, n, ids, n);
	return copy(s, p, DRAFT_TEXT, ids + at, smaller(wanted, n - at), out);
}

size_t speculate_ask(struct speculation *s, const struct draft_prices *p, size_t n_max)
{
	const size_t wanted = smaller(s->max, n_max);
	if (!s->by_model || wanted == 0)
		return 0;
	const struct choice c = decide(s, p, DRAFT_MODEL, wanted);
	if (c.n > 0 && !s->always)
		pay_reading(s, p);
	return launch(s, DRAFT_MODEL, &c);
}

void speculate_took(struct speculation *s, size_t n)
{
	if (s->n_in_flight > 0)
		s->stake *= (double)n / (double)s->n_in_flight;
	s->n_in_flight = n;
}

/* -- what became of it ---------------------------------------------------------------------- */

double speculate_expected(const struct speculation *s)
{
	double tokens = 0, power = 1;
	for (size_t i = 0; i < s->n_in_flight; i++)
		tokens += power *= rate_of(s, s->source);
	return tokens;
}

static void earn(struct speculation *s, double tokens)
{
	s->credit += tokens;
	if (s->credit <= CREDIT_MOST)
		return;
	if (s->purse) {
		*s->purse += s->credit - CREDIT_MOST;
		if (*s->purse > PURSE_MOST)
			*s->purse = PURSE_MOST;
	}
	s->credit = CREDIT_MOST;
}

void speculate_plain(struct speculation *s)
{
	s->n_turns = 0;
	earn(s, SPECULATE_SHARE);
}

void speculate_judged(struct speculation *s, size_t n_accepted)
{
	const size_t n = s->n_in_flight;
	const enum draft_source from = s->source;
	draft_rate_note(&s->rate[from], n_accepted, n_accepted < n ? n_accepted + 1 : n);
	for (size_t i = 0; i < n; i++) {
		s->counts.drafted[i]++;
		s->counts.accepted[i] += i < n_accepted;
	}
	s->n_drafted += n;
	s->n_accepted += n_accepted;
	earn(s, (double)n_accepted - s->stake + SPECULATE_SHARE);
	s->n_turns++;
	s->n_in_flight = 0;
}
