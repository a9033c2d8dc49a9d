/* One engine, many requests: each gets exactly what it would get alone. */
#include "protocol/mem.h"
#include "tests/worker/rig.h"
#include "worker/engine/lane.h"
#include "worker/text/tokenizer.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(engine, .timeout = 600);

#define N_JOBS 16

/* Job i of a mixed set: prompts of 1..90 tokens, two of more than a chunk, greedy or with
 * temperature, penalties. */
static struct job *mixed_job(struct rig *r, size_t i)
{
	int32_t prompt[310];
	size_t n = i % 8 == 5 ? 290 + i : 1 + (i * 37) % 90;
	rig_prompt(prompt, n, 500 + i);
	struct job *j = rig_job(r, prompt, n);
	j->max_tokens = 4 + i % 12;
	j->sampling.temperature = i % 2 ? 0.8f : 0;
	j->sampling.top_p = i % 4 == 1 ? 0.9f : 1;
	j->sampling.seed = 77 + i;
	j->sampling.repetition_penalty = i % 3 == 0 ? 1.1f : 1;
	return j;
}

static void run_alone(struct rig *r, struct heard *alone[N_JOBS])
{
	for (size_t i = 0; i < N_JOBS; i++)
		alone[i] = rig_run(r, mixed_job(r, i));
}

static void free_all(struct heard *h[N_JOBS])
{
	for (size_t i = 0; i < N_JOBS; i++)
		heard_free(h[i]);
}

static void compare_all(struct heard *a[N_JOBS], struct heard *b[N_JOBS], const char *how)
{
	char what[64];
	for (size_t i = 0; i < N_JOBS; i++) {
		rig_wait(a[i]);
		rig_wait(b[i]);
		snprintf(what, sizeof what, "job %zu %s", i, how);
		heard_must_equal(&a[i]->choices[0], &b[i]->choices[0], what);
		cr_assert_gt(a[i]->choices[0].n, 0);
	}
}

Test(engine, sixteen_together_get_what_each_gets_alone)
{
	struct rig *r = rig_new();
	struct heard *alone[N_JOBS], *together[N_JOBS];
	run_alone(r, alone);
	for (size_t i = 0; i < N_JOBS; i++)
		together[i] = rig_submit(r, mixed_job(r, i));
	compare_all(alone, together, "together");
	free_all(alone);
	free_all(together);
	rig_free(r);
}

Test(engine, threads_and_a_narrow_engine_change_nothing)
{
	struct rig *r = rig_new();
	struct heard *alone[N_JOBS], *other[N_JOBS];
	run_alone(r, alone);
	struct rig *two = rig_open(2, RIG_KV, 3);
	rig_start(two);
	for (size_t i = 0; i < N_JOBS; i++)
		other[i] = rig_submit(two, mixed_job(two, i));
	compare_all(alone, other, "on two threads, three at a time");
	free_all(alone);
	free_all(other);
	rig_free(two);
	rig_free(r);
}

Test(engine, the_text_is_the_decoded_tokens)
{
	struct rig *r = rig_new();
	struct job *j = rig_text_job(r, "It was a cold evening in November when");
	j->max_tokens = 40;
	struct heard *h = rig_run(r, j);
	struct heard_choice *c = &h->choices[0];
	struct buf want = BUF_INIT;
	struct fault f = { 0 };
	cr_assert_eq(tokenizer_decode(model_tokenizer(model_ref_model(r->model)), c->ids, c->n,
			     true, &want, &f),
		0);
	cr_assert_str_eq(buf_cstr(&c->text), buf_cstr(&want));
	cr_assert_eq(c->result.finish, FINISH_LENGTH);
	cr_assert_eq(c->result.completion_tokens, 40);
	cr_assert(c->result.prompt_tokens > 3 && c->result.ttft_ms > 0);
	cr_assert(c->result.total_ms >= c->result.ttft_ms);
	buf_release(&want);
	heard_free(h);
	rig_free(r);
}

Test(engine, each_choice_is_the_request_with_the_next_seed)
{
	struct rig *r = rig_new();
	int32_t prompt[45];
	rig_prompt(prompt, 45, 3);
	struct job *j = rig_job(r, prompt, 45);
	j->n_choices = 5;
	j->sampling.temperature = 0.9f;
	j->sampling.seed = 100;
	struct heard *all = rig_run(r, j);
	for (int i = 0; i < 5; i++) {
		j = rig_job(r, prompt, 45);
		j->sampling.temperature = 0.9f;
		j->sampling.seed = 100 + (uint64_t)i;
		struct heard *one = rig_run(r, j);
		heard_must_equal(&all->choices[i], &one->choices[0], "choice");
		cr_assert_eq(all->choices[i].n_done, 1);
		heard_free(one);
	}
	cr_assert_neq(memcmp(all->choices[0].ids, all->choices[1].ids, 16 * sizeof(int32_t)), 0);
	heard_free(all);
	rig_free(r);
}

Test(engine, sixteen_choices_run_where_only_two_slots_are)
{
	struct rig *r = rig_open(1, RIG_KV, 2);
	rig_start(r);
	struct job *j = rig_text_job(r, "Two roads");
	j->n_choices = LIMIT_N;
	j->sampling.temperature = 1;
	struct heard *h = rig_run(r, j);
	for (int i = 0; i < LIMIT_N; i++)
		cr_assert(h->choices[i].n_done == 1 && h->choices[i].n > 0);
	heard_free(h);
	rig_free(r);
}

/* -- endings ------------------------------------------------------------------------------- */

static struct heard *greedy(struct rig *r, size_t max_tokens)
{
	struct job *j = rig_text_job(r, "The old man looked at the sea and said");
	j->max_tokens = max_tokens;
	return rig_run(r, j);
}

static struct job *greedy_job(struct rig *r)
{
	struct job *j = rig_text_job(r, "The old man looked at the sea and said");
	j->max_tokens = 30;
	return j;
}

Test(engine, a_stop_string_that_spans_tokens_ends_the_text_before_it)
{
	struct rig *r = rig_new();
	struct heard *plain = greedy(r, 30);
	char *text = xstrdup(buf_cstr(&plain->choices[0].text));
	/* Ten bytes from the middle of the text: more than most tokens are long. */
	char *stop = xstrndup(text + 20, 10);
	size_t first = (size_t)(strstr(text, stop) - text);
	for (int include = 0; include < 2; include++) {
		struct job *j = greedy_job(r);
		j->stops = xcalloc(1, sizeof *j->stops);
		j->stops[0] = xstrdup(stop);
		j->n_stops = 1;
		j->include_stop = include;
		struct heard *h = rig_run(r, j);
		struct heard_choice *c = &h->choices[0];
		cr_assert_eq(c->result.finish, FINISH_STOP);
		cr_assert_eq(c->result.stop_detail, STOP_STRING);
		cr_assert_eq(c->text.n_bytes, first + (include ? 10 : 0));
		cr_assert_arr_eq(buf_cstr(&c->text), text, c->text.n_bytes);
		cr_assert_lt(c->n, 30);
		heard_free(h);
	}
	free(stop);
	free(text);
	heard_free(plain);
	rig_free(r);
}

Test(engine, a_held_back_beginning_of_a_stop_is_shown_at_the_end)
{
	struct rig *r = rig_new();
	struct heard *plain = greedy(r, 8);
	char *text = xstrdup(buf_cstr(&plain->choices[0].text));
	struct job *j = greedy_job(r);
	j->max_tokens = 8;
	j->stops = xcalloc(1, sizeof *j->stops);
	j->stops[0] = xasprintf("%s and never this", text + strlen(text) - 3);
	j->n_stops = 1;
	struct heard *h = rig_run(r, j);
	cr_assert_str_eq(buf_cstr(&h->choices[0].text), text);
	cr_assert_eq(h->choices[0].result.finish, FINISH_LENGTH);
	free(text);
	heard_free(plain);
	heard_free(h);
	rig_free(r);
}

Test(engine, a_stop_id_is_delivered_without_its_text)
{
	struct rig *r = rig_new();
	struct heard *plain = greedy(r, 30);
	struct heard_choice *p = &plain->choices[0];
	size_t at = 0;
	while (p->ids[at] != p->ids[9])
		at++;
	struct job *j = greedy_job(r);
	j->stop_ids = xcalloc(1, sizeof *j->stop_ids);
	j->stop_ids[0] = p->ids[9];
	j->n_stop_ids = 1;
	struct heard *h = rig_run(r, j);
	struct heard_choice *c = &h->choices[0];
	cr_assert_eq(c->n, at + 1);
	cr_assert_eq(c->ids[at], p->ids[9]);
	cr_assert_eq(c->result.stop_detail, STOP_TOKEN);
	cr_assert_lt(c->text.n_bytes, p->text.n_bytes);
	cr_assert_arr_eq(buf_cstr(&c->text), p->text.data, c->text.n_bytes);
	heard_free(h);
	j = greedy_job(r);
	j->stop_ids = xcalloc(1, sizeof *j->stop_ids);
	j->stop_ids[0] = p->ids[9];
	j->n_stop_ids = 1;
	j->min_tokens = 30;
	h = rig_run(r, j);
	cr_assert_eq(h->choices[0].n, 30, "min_tokens bans what would end the text");
	for (size_t i = 0; i < 30; i++)
		cr_assert_neq(h->choices[0].ids[i], p->ids[9]);
	heard_free(h);
	heard_free(plain);
	rig_free(r);
}

static struct job *eager_to_end(struct rig *r)
{
	struct job *j = greedy_job(r);
	struct logit_bias *bias = xcalloc(1, sizeof *bias);
	*bias = (struct logit_bias) { model_defaults(model_ref_model(r->model))->eos[0], 100 };
	j->sampling.bias = bias;
	j->sampling.n_bias = 1;
	return j;
}

Test(engine, eos_ends_the_text_unless_it_is_ignored_or_too_early)
{
	struct rig *r = rig_new();
	struct heard *h = rig_run(r, eager_to_end(r));
	cr_assert_eq(h->choices[0].n, 1);
	cr_assert_eq(h->choices[0].text.n_bytes, 0);
	cr_assert_eq(h->choices[0].result.finish, FINISH_STOP);
	cr_assert_eq(h->choices[0].result.stop_detail, STOP_EOS);
	heard_free(h);
	struct job *j = eager_to_end(r);
	j->min_tokens = 5;
	h = rig_run(r, j);
	cr_assert_eq(h->choices[0].n, 6);
	cr_assert_eq(h->choices[0].result.stop_detail, STOP_EOS);
	heard_free(h);
	j = eager_to_end(r);
	j->ignore_eos = true;
	h = rig_run(r, j);
	cr_assert_eq(h->choices[0].n, 30);
	cr_assert_eq(h->choices[0].result.finish, FINISH_LENGTH);
	heard_free(h);
	rig_free(r);
}

Test(engine, echo_puts_the_prompt_first)
{
	struct rig *r = rig_new();
	struct heard *plain = greedy(r, 10);
	struct job *j = greedy_job(r);
	j->max_tokens = 10;
	j->echo = true;
	struct heard *h = rig_run(r, j);
	struct buf *text = &h->choices[0].text, *tail = &plain->choices[0].text;
	cr_assert_gt(text->n_bytes, tail->n_bytes + 10);
	cr_assert_arr_eq(text->data + text->n_bytes - tail->n_bytes, tail->data, tail->n_bytes);
	size_t n_prompt_bytes = text->n_bytes - tail->n_bytes;
	heard_free(h);
	j = greedy_job(r);
	j->max_tokens = 0;
	j->echo = true;
	h = rig_run(r, j);
	cr_assert_eq(h->choices[0].n, 0);
	cr_assert_eq(h->choices[0].result.finish, FINISH_LENGTH);
	cr_assert_eq(h->choices[0].text.n_bytes, n_prompt_bytes);
	heard_free(h);
	heard_free(plain);
	rig_free(r);
}

Test(engine, generation_ends_where_the_context_does)
{
	struct rig *r = rig_new();
	int32_t prompt[RIG_CONTEXT];
	rig_prompt(prompt, RIG_CONTEXT, 8);
	for (size_t n = RIG_CONTEXT - 3; n < RIG_CONTEXT; n++) {
		struct job *j = rig_job(r, prompt, n);
		j->max_tokens = 100;
		j->ignore_eos = true;
		struct heard *h = rig_run(r, j);
		cr_assert_eq(h->choices[0].n, RIG_CONTEXT - n);
		cr_assert_eq(h->choices[0].result.finish, FINISH_LENGTH);
		heard_free(h);
	}
	rig_free(r);
}

Test(engine, a_prompt_that_fills_the_context_is_refused_with_the_counts)
{
	struct rig *r = rig_new();
	int32_t prompt[RIG_CONTEXT + 88];
	rig_prompt(prompt, RIG_CONTEXT + 88, 8);
	struct job *j = rig_job(r, prompt, RIG_CONTEXT);
	j->n_choices = 2;
	struct heard *h = rig_run(r, j);
	const struct fault *f = &h->choices[0].result.fault;
	cr_assert_eq(f->err, ERR_CONTEXT_OVERFLOW);
	cr_assert_not_null(strstr(f->text, "512"));
	cr_assert_not_null(strstr(f->data, "\"prompt_tokens\":512"));
	cr_assert_not_null(strstr(f->data, "\"max\":512"));
	cr_assert(h->choices[0].n_done == 1 && h->choices[1].n_done == 1);
	heard_free(h);
	rig_free(r);
}

Test(engine, truncate_left_keeps_the_end_and_a_leading_bos)
{
	struct rig *r = rig_new();
	int32_t prompt[600], kept[600];
	rig_prompt(prompt, 600, 8);
	prompt[0] = tokenizer_bos(model_tokenizer(model_ref_model(r->model)));
	struct job *j = rig_job(r, prompt, 600);
	j->truncate_left = true;
	struct heard *h = rig_run(r, j);
	size_t n = h->choices[0].result.prompt_tokens;
	cr_assert_eq(n, RIG_CONTEXT - 16, "room for max_tokens");
	cr_assert_eq(h->choices[0].result.truncated_tokens, 600 - n);
	kept[0] = prompt[0];
	memcpy(kept + 1, prompt + 600 - (n - 1), (n - 1) * sizeof *kept);
	struct heard *same = rig_run(r, rig_job(r, kept, n));
	heard_must_equal(&h->choices[0], &same->choices[0], "truncated");
	heard_free(h);
	heard_free(same);
	rig_free(r);
}

Test(engine, logits_of_nothing_but_banned_tokens_are_an_error_and_nobody_elses)
{
	struct rig *r = rig_new();
	size_t vocab = model_info(model_ref_model(r->model))->vocab_size;
	struct job *j = greedy_job(r);
	struct logit_bias *bias = xcalloc(vocab, sizeof *bias);
	for (size_t i = 0; i < vocab; i++)
		bias[i] = (struct logit_bias) { (int32_t)i, -INFINITY };
	j->sampling.bias = bias;
	j->sampling.n_bias = vocab;
	struct heard *bad = rig_submit(r, j), *good = rig_submit(r, greedy_job(r));
	rig_wait(bad);
	cr_assert_eq(bad->choices[0].result.finish, FINISH_ERROR);
	cr_assert_eq(bad->choices[0].result.fault.err, ERR_GENERATION);
	rig_wait(good);
	cr_assert_eq(good->choices[0].n, 30);
	heard_free(bad);
	heard_free(good);
	rig_free(r);
}

Test(engine, progress_counts_the_prompt_in_chunks)
{
	struct rig *r = rig_new();
	int32_t prompt[400];
	rig_prompt(prompt, 400, 1);
	struct heard *h = rig_run(r, rig_job(r, prompt, 400));
	cr_assert_eq(h->n_progress, 2);
	cr_assert_eq(h->processed, 400);
	heard_free(h);
	rig_free(r);
}
