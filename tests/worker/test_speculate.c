/* Drafts change how soon a text comes, and nothing else. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/speculate.h"
#include "worker/engine/step_cost.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(speculate, .timeout = 30);
TestSuite(step_cost, .timeout = 30);
TestSuite(speculate_engine, .timeout = 600);

/* A step of 1 + k rows takes 1 + k * row; a drafted token of a model `model`. */
static struct draft_prices prices(double row, double model)
{
	struct draft_prices p = { .known = true, .model_token = model };
	for (size_t k = 0; k <= LIMIT_DRAFT; k++)
		p.rows[k] = 1 + (double)k * row;
	return p;
}

Test(speculate, a_prediction_is_followed_and_found_again)
{
	static const int32_t guess[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	static const int32_t text[] = { 90, 91, 1, 2, 77, 4, 5, 6 };
	struct speculation s = { .prediction = guess, .n_prediction = 9, .max = 2 };
	const struct draft_prices p = prices(0.05, 0);
	int32_t out[2];
	speculate_init(&s, 2);
	cr_assert_eq(speculate_draft(&s, &p, text, 2, 2, out), 2);
	cr_assert(out[0] == 1 && out[1] == 2);
	speculate_judged(&s, 2);
	cr_assert_eq(speculate_draft(&s, &p, text, 5, 2, out), 0, "77 leads nowhere");
	cr_assert_eq(speculate_draft(&s, &p, text, 8, 2, out), 2);
	cr_assert(out[0] == 7 && out[1] == 8);
	cr_assert_eq(s.n_drafted, 2);
	cr_assert(s.counts.drafted[1] == 1 && s.counts.accepted[1] == 1);
}

Test(speculate, look_up_drafts_what_came_after_the_last_tokens_before)
{
	static const int32_t text[] = { 1, 2, 3, 50, 51, 9, 1, 2, 3 };
	struct speculation s = { .look_up = true, .max = 4 };
	const struct draft_prices p = prices(0.01, 0);
	int32_t out[4];
	speculate_init(&s, 9);
	cr_assert_eq(speculate_draft(&s, &p, text, 9, 4, out), 4);
	cr_assert(out[0] == 50 && out[1] == 51 && out[2] == 9 && out[3] == 1);
	cr_assert_eq(speculate_draft(&s, &p, text, 8, 4, out), 0);
	cr_assert_eq(speculate_draft(&s, &p, text, 2, 4, out), 0);
}

/* A text of n tokens whose drafts hold with this chance: what it takes, in plain steps. */
struct run {
	double row, model, chance;
	size_t n;
	uint64_t seed;
	struct draft_rate seen; /* of the pair, before */
};

static double time_of(const struct run *x, struct speculation *out)
{
	const struct draft_prices p = prices(x->row, x->model);
	struct speculation s = { .by_model = true, .max = 16 };
	double took = 0;
	uint64_t draw = 0;
	if (x->seen.judged > 0)
		s.rate[DRAFT_MODEL] = x->seen;
	speculate_init(&s, 0);
	for (size_t done = 0; done < x->n; done++) {
		s.n_left = x->n - done;
		const size_t k = speculate_ask(&s, &p, s.n_left - 1);
		size_t held = 0;
		took += p.rows[k] + (double)k * x->model;
		while (held < k && sampler_uniform(x->seed, draw++) < x->chance)
			held++;
		if (k > 0)
			speculate_judged(&s, held);
		else
			speculate_plain(&s);
		done += held;
	}
	*out = s;
	return took;
}

Test(speculate, a_draft_is_as_long_as_measured_costs_and_acceptance_make_worthwhile)
{
	const struct draft_prices cheap = prices(0.02, 0), dear = prices(0.3, 0.1);
	struct speculation s = { .by_model = true, .max = 16 };
	speculate_init(&s, 0);
	s.credit = 10;
	s.rate[DRAFT_MODEL] = (struct draft_rate) { 19, 20 };
	const size_t longest = speculate_ask(&s, &cheap, 64);
	cr_assert(longest >= 12 && longest <= 16, "%zu", longest);
	cr_assert_leq(speculate_ask(&s, &cheap, 5), 5, "no more than there is room for");
	const size_t some = speculate_ask(&s, &dear, 64);
	cr_assert(some > 0 && some < longest, "%zu", some);
	s.rate[DRAFT_MODEL] = (struct draft_rate) { 6, 20 };
	cr_assert_eq(speculate_ask(&s, &dear, 64), 0, "it does not pay");
}

Test(speculate, no_text_takes_much_longer_than_without_drafts)
{
	static const double rows[] = { 0.02, 0.1, 0.3, 1 }, models[] = { 0, 0.1, 0.5, 1 };
	static const double chances[] = { 0, 0.2, 0.5, 0.9 };
	struct speculation s;
	for (size_t i = 0; i < 64; i++)
		for (size_t n = 32; n <= 2048; n *= 4) {
			const struct run x = { .row = rows[i % 4],
				.model = models[i / 4 % 4],
				.chance = chances[i / 16],
				.n = n,
				.seed = i * 7 + n };
			const double took = time_of(&x, &s);
			const double most = (1 + SPECULATE_SHARE) * (double)n + SPECULATE_START;
			cr_assert_leq(took, most, "row %g model %g chance %g: %g for %zu", x.row,
				x.model, x.chance, took, n);
		}
}

/* An opponent that knows the policy decides what holds, price and neighbours vary at random: what
 * is lost, in tokens, is at most what each text's account began with and its turns added. */

enum opponent {
	NEVER,
	GOOD_THEN_BAD,
	BAD_THEN_GOOD,
	IN_TURNS,
	IN_LONG_TURNS,
	WHEN_RICH,
	OPPONENTS
};

static size_t held_of(enum opponent o, const struct speculation *s, size_t turn, size_t n)
{
	const size_t k = s->n_in_flight;
	switch (o) {
	case NEVER: return 0;
	case GOOD_THEN_BAD: return turn < n / 3 ? k : 0;
	case BAD_THEN_GOOD: return turn < n / 3 ? 0 : k;
	case IN_TURNS: return turn % 2 ? k : 0;
	case IN_LONG_TURNS: return turn / 40 % 2 ? 0 : k;
	case WHEN_RICH: return s->credit > 6 ? 0 : k;
	case OPPONENTS: break;
	}
	return 0;
}

static struct draft_prices random_prices(uint64_t seed, size_t turn)
{
	static const double rows[] = { 0.01, 0.05, 0.2 };
	const double others = (double)(seed % 3 * 7);
	struct draft_prices p = prices(rows[seed % 7 % 3] * sampler_uniform(seed, 2 * turn),
		0.3 * sampler_uniform(seed, 2 * turn + 1));
	p.others = others;
	return p;
}

/* What n turns of a text lost, in tokens, which may be negative; *late: seconds the model still
 * has to read. */
static double lost_by(enum opponent o, uint64_t seed, size_t n, double late, double *purse)
{
	struct speculation s = { .by_model = true, .max = 16 };
	double lost = 0;
	s.purse = purse;
	speculate_init(&s, 0);
	for (size_t turn = 0; turn < n; turn++) {
		struct draft_prices p = random_prices(seed, turn);
		p.model_late = late;
		p.model_next = late < 2 ? late : 2;
		s.n_left = 4 * n;
		const size_t k = speculate_ask(&s, &p, 64);
		if (k == 0) {
			speculate_plain(&s);
			continue;
		}
		const double longer = p.rows[k] - p.rows[0] + (double)k * p.model_token;
		const size_t held = held_of(o, &s, turn, n);
		lost += (longer + p.model_next) * (1 + p.others) / p.rows[0] - (double)held;
		late -= p.model_next;
		speculate_judged(&s, held);
		cr_assert_geq(s.credit, -1e-9);
	}
	return lost;
}

Test(speculate, whatever_holds_and_fails_no_more_is_lost_than_the_share)
{
	const size_t n = 700;
	for (int o = 0; o < OPPONENTS; o++)
		for (uint64_t seed = 0; seed < 42; seed++) {
			const double lost = lost_by((enum opponent)o, seed, n, 0, NULL);
			cr_assert_leq(lost, SPECULATE_START + SPECULATE_SHARE * (double)n + 1e-6,
				"opponent %d, seed %zu: %g", o, (size_t)seed, lost);
		}
}

Test(speculate, what_a_model_reads_is_paid_too_from_what_earlier_texts_gained)
{
	const size_t n = 300;
	const double each = SPECULATE_START + SPECULATE_SHARE * (double)n;
	double purse = 0, lost = 0;
	cr_assert_leq(
		lost_by(NEVER, 1, n, 40, &purse), 0, "it cannot pay that, and does not begin");
	for (uint64_t text = 0; text < 60; text++) {
		lost += lost_by(
			(enum opponent)(text % OPPONENTS), text, n, (double)(text % 5 * 6), &purse);
		cr_assert_geq(purse, 0);
		cr_assert_leq(lost + purse, (double)(text + 1) * each + 1e-6, "text %zu: %g",
			(size_t)text, lost);
	}
	cr_assert_gt(purse, 40);
	cr_assert_gt(lost_by(NEVER, 0, n, 40, &purse), 20, "now it may");
}

Test(speculate, drafts_that_hold_seven_times_in_ten_are_worth_more_than_a_third)
{
	struct speculation s;
	const struct run x = { .row = 0.04, .model = 0.1, .chance = 0.7, .n = 2000, .seed = 5 };
	const double took = time_of(&x, &s);
	cr_assert_lt(took, 2000 / 1.4, "%g", took);
	cr_assert(s.n_accepted > 1000 && s.n_accepted < s.n_drafted);
}

Test(speculate, what_fails_is_tried_ever_less_often)
{
	struct speculation s;
	const struct run x = { .row = 0.1, .model = 0.1, .chance = 0, .n = 2000, .seed = 1 };
	time_of(&x, &s);
	cr_assert(s.n_drafted > 2 && s.n_drafted < 30, "%zu drafted", s.n_drafted);
}

Test(speculate, what_a_pair_was_seen_to_do_is_where_its_next_text_begins)
{
	struct speculation fresh, warned;
	struct draft_rate seen = { 0 };
	struct run x = { .row = 0.1, .model = 0.2, .chance = 0, .n = 64, .seed = 2 };
	draft_rate_note(&seen, 0, 1);
	for (int i = 0; i < 100; i++)
		draft_rate_note(&seen, 0, 1);
	const double took = time_of(&x, &fresh);
	x.seen = draft_rate_prior(&seen);
	cr_assert_lt(x.seen.judged, 10, "what comes can soon outweigh it");
	cr_assert_leq(time_of(&x, &warned), took);
	cr_assert_lt(warned.n_drafted, fresh.n_drafted);
}

Test(speculate, nothing_is_drafted_before_a_step_was_measured)
{
	static const int32_t text[] = { 1, 2, 3, 4, 1, 2, 3 };
	struct speculation s = { .look_up = true, .by_model = true, .max = 4 };
	const struct draft_prices p = { 0 };
	int32_t out[4];
	speculate_init(&s, 7);
	cr_assert_eq(speculate_draft(&s, &p, text, 7, 4, out), 0);
	cr_assert_eq(speculate_ask(&s, &p, 4), 0);
	s.always = true;
	cr_assert_eq(speculate_draft(&s, &p, text, 7, 4, out), 4, "unless it is to be always");
}

Test(speculate, a_long_text_is_not_read_for_the_sake_of_a_few_tokens)
{
	struct draft_prices p = prices(0.04, 0.1);
	struct speculation s = { .by_model = true, .max = 8, .n_left = 10 };
	speculate_init(&s, 0);
	double purse = 50;
	s.purse = &purse;
	p.model_late = p.model_next = 40;
	cr_assert_eq(speculate_ask(&s, &p, 8), 0);
	cr_assert_eq(purse, 50);
	s.n_left = 1000;
	cr_assert_gt(speculate_ask(&s, &p, 8), 0);
	cr_assert_float_eq(purse, 10, 1e-9);
}

/* -- what a step costs ---------------------------------------------------------------------- */

Test(step_cost, what_was_not_seen_lies_between_its_neighbours_or_goes_on_as_they_do)
{
	struct step_cost c = { { 0 } };
	double out[8];
	cr_assert_eq(step_cost_expect(&c, 1, 4, out), -1);
	step_cost_note(&c, 5, 3);
	cr_assert_eq(step_cost_expect(&c, 1, 4, out), -1, "fewer rows than were ever seen");
	step_cost_note(&c, 1, 1);
	cr_assert_eq(step_cost_expect(&c, 1, 7, out), 0);
	for (size_t k = 0; k < 8; k++)
		cr_assert_float_eq(out[k], 1 + 0.5 * (double)k, 1e-9, "%zu: %g", k, out[k]);
	for (int i = 0; i < 100; i++)
		step_cost_note(&c, 3, 1.5);
	cr_assert_eq(step_cost_expect(&c, 2, 3, out), 0);
	cr_assert_float_eq(out[0], 1.25, 1e-9);
	cr_assert_float_eq(out[1], 1.5, 1e-9);
	cr_assert_float_eq(out[2], 2.25, 1e-9);
}

Test(step_cost, one_slow_step_does_not_change_the_mean_much)
{
	struct step_cost c = { { 0 } };
	double out[1];
	for (int i = 0; i < 10; i++)
		step_cost_note(&c, 1, 1);
	step_cost_note(&c, 1, 1000);
	cr_assert_eq(step_cost_expect(&c, 1, 0, out), 0);
	cr_assert_lt(out[0], 1.2);
}

Test(step_cost, more_rows_than_are_kept_go_on_as_the_last_ones_did)
{
	struct step_cost c = { { 0 } };
	double out[3];
	step_cost_note(&c, STEP_COST_ROWS, 128);
	step_cost_note(&c, STEP_COST_ROWS - 1, 127);
	step_cost_note(&c, STEP_COST_ROWS + 1, 1);
	step_cost_note(&c, 0, 1);
	cr_assert_eq(step_cost_expect(&c, STEP_COST_ROWS + 10, 2, out), 0);
	cr_assert_float_eq(out[0], 138, 1e-9, "%g", out[0]);
	cr_assert_float_eq(out[2], 140, 1e-9);
	cr_assert_eq(step_cost_expect(&c, STEP_COST_ROWS, 2, out), 0);
	cr_assert_float_eq(out[0], 128, 1e-9);
	cr_assert_float_eq(out[1], 129, 1e-9);
}

/* -- in the engine -------------------------------------------------------------------------- */

enum guess { GUESS_RIGHT, GUESS_WRONG, GUESS_MIXED, GUESS_TEXT, GUESS_COUNT };

static struct job *job_of(struct rig *r, size_t i)
{
	int32_t prompt[64];
	size_t n = 3 + (i * 13) % 60;
	rig_prompt(prompt, n, 300 + i);
	/* A text that repeats itself, so that look-up finds something. */
	for (size_t k = n / 2; k < n; k++)
		prompt[k] = prompt[k % 5];
	struct job *j = rig_job(r, prompt, n);
	j->max_tokens = 30 + i % 30;
	j->sampling.temperature = i % 2 ? 0.8f : 0;
	j->sampling.top_p = i % 4 == 1 ? 0.9f : 1;
	j->sampling.repetition_penalty = i % 3 == 2 ? 1.2f : 1;
	j->sampling.frequency_penalty = i % 5 == 3 ? 0.5f : 0;
	j->sampling.seed = 40 + i;
	j->min_tokens = i % 4 == 2 ? 10 : 0;
	return j;
}

static struct job *guessing(struct rig *r, size_t i, const struct heard *plain, enum guess guess)
{
	const struct heard_choice *c = &plain->choices[0];
	struct job *j = job_of(r, i);
	j->max_draft = i % 3 == 0 ? LIMIT_DRAFT : 1 + i % 9;
	j->draft_always = i % 4 != 0;
	j->look_up = guess == GUESS_TEXT;
	if (guess == GUESS_TEXT)
		return j;
	j->prediction = xcalloc(c->n + 1, sizeof *c->ids);
	j->n_prediction = c->n;
	for (size_t k = 0; k < c->n; k++) {
		bool right = guess == GUESS_RIGHT || (guess == GUESS_MIXED && k % 6 != 4);
		j->prediction[k] = right ? c->ids[k] : 11 + (int32_t)(k * 7 % 3000);
	}
	return j;
}

#define N_TEXTS 12

static void check_all(struct rig *r, struct heard *const plain[N_TEXTS], enum guess guess)
{
	struct heard *h[N_TEXTS];
	size_t n_accepted = 0, n_drafted = 0;
	for (size_t i = 0; i < N_TEXTS; i++)
		h[i] = rig_submit(r, guessing(r, i, plain[i], guess));
	for (size_t i = 0; i < N_TEXTS; i++) {
		rig_wait(h[i]);
		const struct job_result *x = &h[i]->choices[0].result;
		heard_must_equal(&plain[i]->choices[0], &h[i]->choices[0], "drafted");
		cr_assert_eq(x->finish, plain[i]->choices[0].result.finish);
		cr_assert_leq(x->accepted, x->n_drafted);
		n_accepted += x->accepted;
		n_drafted += x->n_drafted;
		heard_free(h[i]);
	}
	/* A prediction that is wrong from its first token on is never drafted from. */
	cr_assert(n_drafted > 0 || guess == GUESS_WRONG, "guess %d", guess);
	if (guess == GUESS_RIGHT)
		cr_assert_gt(n_accepted, n_drafted * 3 / 4);
	if (guess == GUESS_MIXED)
		cr_assert_gt(n_accepted, 0);
}

Test(speculate_engine, every_text_is_bit_for_bit_the_undrafted_one)
{
	struct rig *r = rig_new();
	struct heard *plain[N_TEXTS];
	for (size_t i = 0; i < N_TEXTS; i++)
		plain[i] = rig_run(r, job_of(r, i));
	for (int g = 0; g < GUESS_COUNT; g++)
		check_all(r, plain, (enum guess)g);
	for (size_t i = 0; i < N_TEXTS; i++)
		heard_free(plain[i]);
	rig_free(r);
}

Test(speculate_engine, a_right_prediction_saves_most_of_the_steps_of_each_choice)
{
	struct rig *r = rig_new();
	int32_t prompt[40];
	rig_prompt(prompt, 40, 4);
	struct job *j = rig_job(r, prompt, 40);
	j->max_tokens = 60;
	j->n_choices = 2;
	struct heard *plain = rig_run(r, j);
	j = rig_job(r, prompt, 40);
	j->max_tokens = 60;
	j->n_choices = 2;
	j->max_draft = 16;
	j->draft_always = true;
	j->prediction = xcalloc(60, sizeof *prompt);
	j->n_prediction = plain->choices[0].n;
	memcpy(j->prediction, plain->choices[0].ids, j->n_prediction * sizeof *prompt);
	struct heard *h = rig_run(r, j);
	for (int i = 0; i < 2; i++) {
		heard_must_equal(&plain->choices[i], &h->choices[i], "choice");
		cr_assert_gt(h->choices[i].result.accepted, h->choices[i].n * 3 / 4);
	}
	heard_free(h);
	heard_free(plain);
	rig_free(r);
}

Test(speculate_engine, a_cancel_in_the_middle_of_a_draft_frees_what_it_held)
{
	struct fault f = { 0 };
	struct rig *r = rig_new();
	struct kv_pool *p = model_kv_pool(model_ref_model(r->model), RIG_KV, &f);
	size_t block_bytes = kv_pool_block_bytes(p);
	kv_pool_free(p);
	struct rig *small = rig_open(1, 8 * block_bytes, 4);
	rig_start(small);
	struct heard *plain = rig_run(r, job_of(r, 3)), *h[30];
	for (size_t i = 0; i < 30; i++) {
		h[i] = rig_submit(small, guessing(small, 3, plain, GUESS_MIXED));
		if (i % 3 == 1)
			engine_cancel(small->engine, h[i]->key);
	}
	for (size_t i = 0; i < 30; i++) {
		rig_wait(h[i]);
		if (i % 3 != 1)
			heard_must_equal(&plain->choices[0], &h[i]->choices[0], "small pool");
		heard_free(h[i]);
	}
	heard_free(plain);
	rig_free(small);
	rig_free(r);
}
