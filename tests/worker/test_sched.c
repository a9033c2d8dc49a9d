#include "worker/engine/sampling.h"
#include "worker/engine/sched.h"
#include <criterion/criterion.h>

#define MAX 64

static struct sched_seq seqs[MAX];
static struct sched_share shares[MAX];
static size_t n_seqs;
static struct sched_budget budget;

static void setup(void)
{
	n_seqs = 0;
	budget = (struct sched_budget) { .prefill_rows = 256, .exact_rows = 100 };
}
TestSuite(sched, .init = setup);

static size_t add(double rank, size_t n_prefill, size_t n_exact)
{
	seqs[n_seqs] = (struct sched_seq) { rank, n_prefill, n_exact };
	return n_seqs++;
}

static void plan(void)
{
	sched_plan(seqs, n_seqs, &budget, shares);
}

static void expect(size_t i, size_t n_prefill, size_t n_exact)
{
	cr_assert_eq(shares[i].n_prefill, n_prefill, "seq %zu: %zu prompt rows, not %zu", i,
		shares[i].n_prefill, n_prefill);
	cr_assert_eq(shares[i].n_exact, n_exact, "seq %zu: %zu exact rows, not %zu", i,
		shares[i].n_exact, n_exact);
}

Test(sched, a_long_prompt_leaves_every_decoder_its_row)
{
	size_t prompt = add(0, 5000, 0);
	for (int i = 0; i < 20; i++)
		add(10 + i, 0, 1);
	plan();
	expect(prompt, 256, 0);
	for (size_t i = 1; i < n_seqs; i++)
		expect(i, 0, 1);
}

Test(sched, short_prompts_share_one_chunk_in_rank_order)
{
	size_t c = add(3, 100, 0), a = add(1, 100, 0), b = add(2, 100, 0);
	plan();
	expect(a, 100, 0);
	expect(b, 100, 0);
	expect(c, 56, 0);
}

Test(sched, equal_ranks_go_in_the_order_given)
{
	size_t a = add(1, 200, 0), b = add(1, 200, 0), c = add(1, 200, 0);
	plan();
	expect(a, 200, 0);
	expect(b, 56, 0);
	expect(c, 0, 0);
}

Test(sched, a_draft_travels_with_the_last_chunk_of_its_prompt)
{
	size_t now = add(0, 10, 8), later = add(1, 300, 8);
	plan();
	expect(now, 10, 8);
	expect(later, 246, 0);
}

Test(sched, a_draft_that_does_not_fit_is_cut)
{
	size_t a = add(0, 0, 64), b = add(1, 0, 64), c = add(2, 0, 10);
	plan();
	expect(a, 0, 64);
	expect(b, 0, 36);
	expect(c, 0, 0);
}

Test(sched, drafts_never_take_a_decoders_row)
{
	add(0, 0, 64);
	for (int i = 0; i < 50; i++)
		add(1, 0, 1);
	plan();
	expect(0, 0, 50);
	for (size_t i = 1; i < n_seqs; i++)
		expect(i, 0, 1);
}

Test(sched, many_drafts_are_one_pass)
{
	for (int i = 0; i < 12; i++)
		add(i, 5, 4);
	plan();
	for (size_t i = 0; i < n_seqs; i++)
		expect(i, 5, 4);
}

Test(sched, keeps_its_budgets_and_always_moves)
{
	for (uint64_t round = 0; round < 5000; round++) {
		size_t prefill = 0, exact = 0, work = 0;
		n_seqs = 0;
		size_t n = (size_t)(sampler_uniform(1, round) * MAX);
		for (uint64_t i = 0; i < n; i++) {
			uint64_t at = round * 1000 + i;
			bool prompt = sampler_uniform(2, at) < 0.4;
			size_t rows = (size_t)(sampler_uniform(3, at) * 400);
			size_t more = sampler_uniform(4, at) < 0.3
					      ? (size_t)(sampler_uniform(5, at) * 65)
					      : 1;
			add((double)(int)(sampler_uniform(6, at) * 8), prompt ? rows : 0, more);
			work += prompt ? rows + more : more;
		}
		plan();
		for (size_t i = 0; i < n_seqs; i++) {
			prefill += shares[i].n_prefill;
			exact += shares[i].n_exact;
			cr_assert_leq(shares[i].n_prefill, seqs[i].n_prefill);
			cr_assert_leq(shares[i].n_exact, seqs[i].n_exact);
			cr_assert(
				shares[i].n_exact == 0 || shares[i].n_prefill == seqs[i].n_prefill);
		}
		cr_assert_leq(prefill, budget.prefill_rows);
		cr_assert_leq(exact, budget.exact_rows);
		cr_assert(work == 0 || prefill + exact > 0, "round %d stands still", (int)round);
	}
}

Test(sched, urgent_goes_before_default_before_background)
{
	double now = 1000;
	cr_assert_lt(sched_rank(PRIORITY_URGENT, now), sched_rank(PRIORITY_DEFAULT, now));
	cr_assert_lt(sched_rank(PRIORITY_DEFAULT, now), sched_rank(PRIORITY_BACKGROUND, now));
	cr_assert_lt(sched_rank(PRIORITY_DEFAULT, now), sched_rank(PRIORITY_DEFAULT, now + 0.001));
}

Test(sched, background_ages_past_a_fresh_request)
{
	double old = 1000, now = old + 2 * SCHED_AGEING_S + 0.1;
	cr_assert_lt(sched_rank(PRIORITY_BACKGROUND, old), sched_rank(PRIORITY_URGENT, now));
	now = old + 2 * SCHED_AGEING_S - 0.1;
	cr_assert_gt(sched_rank(PRIORITY_BACKGROUND, old), sched_rank(PRIORITY_URGENT, now));
}

static enum sched_verdict admit(size_t blocks, size_t slots, size_t used_blocks, size_t used_slots)
{
	return sched_admit(&(struct sched_demand) { blocks, slots },
		&(struct sched_demand) { used_blocks, used_slots },
		&(struct sched_demand) { .blocks = 100, .slots = 8 });
}

Test(sched, admits_what_can_run_to_its_end)
{
	cr_assert_eq(admit(40, 1, 60, 3), SCHED_NOW);
	cr_assert_eq(admit(41, 1, 60, 3), SCHED_LATER);
	cr_assert_eq(admit(1, 1, 8, 8), SCHED_LATER);
	cr_assert_eq(admit(1, 2, 7, 7), SCHED_LATER);
	cr_assert_eq(admit(101, 1, 0, 0), SCHED_NEVER);
	cr_assert_eq(admit(101, 1, 60, 3), SCHED_NEVER);
}

Test(sched, a_job_wider_than_all_slots_runs_alone)
{
	cr_assert_eq(admit(50, 16, 0, 0), SCHED_NOW);
	cr_assert_eq(admit(50, 16, 10, 1), SCHED_LATER);
}

Test(sched, the_last_in_line_makes_room_if_that_is_enough)
{
	const struct sched_holder h[] = { { 1, 10 }, { 5, 3 }, { 9, 0 }, { 7, 4 }, { 6, 2 } };
	cr_assert_eq(sched_victim(h, 5, 0, 1), 3);
	cr_assert_eq(sched_victim(h, 5, 0, 19), 3);
	cr_assert_eq(sched_victim(h, 5, 0, 20), 5, "all together hold 19");
	cr_assert_eq(sched_victim(h, 5, 4, 9), 3);
	cr_assert_eq(sched_victim(h, 5, 4, 10), 5, "the eldest stays");
	cr_assert_eq(sched_victim(h, 5, 7, 1), 5, "nobody comes after 7");
	cr_assert_eq(sched_victim(h, 0, 0, 1), 0);
}

Test(sched, of_two_with_one_rank_the_younger_makes_room)
{
	const struct sched_holder h[] = { { 2, 1 }, { 2, 1 }, { 1, 1 } };
	cr_assert_eq(sched_victim(h, 3, 0, 1), 1);
}

/* Steps of a machine where a prompt row costs row_s and each step with prompt rows fixed_s more. */
static double slowdown_after(size_t n_steps, double decode_s, double row_s, double fixed_s)
{
	struct sched_pace pace = { 0 };
	double seconds = 0;
	for (size_t i = 0; i < n_steps; i++) {
		size_t n = sched_pace_rows(&pace, decode_s, 256);
		cr_assert(n >= 1 && n <= 256);
		seconds = decode_s + fixed_s + row_s * (double)n;
		sched_pace_note(&pace, n, seconds, decode_s);
	}
	return seconds / decode_s;
}

Test(sched, a_long_prompt_slows_those_who_decode_by_no_more_than_they_bear)
{
	cr_assert_leq(slowdown_after(30, 0.030, 0.004, 0), SCHED_SLOWDOWN + 0.01);
	cr_assert_gt(slowdown_after(30, 0.030, 0.004, 0), 1.5);
	cr_assert_leq(slowdown_after(30, 0.030, 0.002, 0.010), SCHED_SLOWDOWN + 0.1);
	cr_assert_leq(slowdown_after(30, 0.002, 0.00005, 0), SCHED_SLOWDOWN + 0.01);
	cr_assert_leq(slowdown_after(30, 1, 0.0001, 0), 1.03, "all 256 rows, and no more");
}

Test(sched, a_prompt_goes_on_however_dear_it_is)
{
	struct sched_pace pace = { .row_s = 10 };
	cr_assert_gt(sched_pace_rows(&pace, 0.001, 256), 0);
	cr_assert_eq(sched_pace_rows(&pace, 0.001, 1), 1);
}

Test(sched, one_step_that_was_disturbed_does_not_set_the_pace)
{
	struct sched_pace pace = { .row_s = 0.001 };
	size_t before = sched_pace_rows(&pace, 0.05, 256);
	sched_pace_note(&pace, before, 100, 0.05);
	cr_assert_geq(sched_pace_rows(&pace, 0.05, 256), before / 2);
}
