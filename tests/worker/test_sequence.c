/* Which rows a sequence asks for, and how they are marked. */
#include "tests/worker/rig.h"
#include "worker/engine/inbox.h"
#include "worker/engine/sequence.h"
#include "worker/engine/task.h"
#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(sequence, .timeout = 60);

struct bench {
	struct rig *rig;
	struct inbox inbox;
	struct kv_pool *pool;
	struct task *task;
	struct sequence *s;
	struct batch_row rows[64];
	size_t n_rows, n_logits;
};

static void open(struct bench *b, struct job *j)
{
	struct fault f = { 0 };
	inbox_init(&b->inbox);
	b->pool = model_kv_pool(model_ref_model(b->rig->model), 8 << 20, &f);
	cr_assert_not_null(b->pool, "%s", f.text);
	b->task = task_new(j, &b->inbox);
	b->s = sequence_new(b->task, 0, b->pool);
}

static void close_bench(struct bench *b)
{
	sequence_free(b->s);
	task_free(b->task);
	kv_pool_free(b->pool);
	inbox_release(&b->inbox);
	rig_start(b->rig);
	rig_free(b->rig);
}

/* As a step would: reserve, take the rows, and count them as computed. */
static void take(struct bench *b, size_t n_prefill, size_t n_exact)
{
	struct sched_share share = { n_prefill, n_exact };
	cr_assert_eq(kv_reserve(&b->s->kv, n_prefill + n_exact), 0);
	b->n_rows = sequence_rows(b->s, &share, b->rows, &b->n_logits);
	b->s->kv.n_tokens += b->n_rows;
}

static void must_want(const struct bench *b, size_t n_prefill, size_t n_exact)
{
	struct sched_seq wants;
	sequence_wants(b->s, &wants);
	cr_assert_eq(wants.n_prefill, n_prefill);
	cr_assert_eq(wants.n_exact, n_exact);
}

static void must_be(const struct bench *b, size_t i, size_t pos, bool prefill, bool logits)
{
	cr_assert_eq(b->rows[i].pos, (int32_t)pos);
	cr_assert_eq(b->rows[i].token, b->s->ids[pos]);
	cr_assert_eq(b->rows[i].prefill, prefill, "row of position %zu", pos);
	cr_assert_eq(b->rows[i].want_logits, logits, "row of position %zu", pos);
}

Test(sequence, prompt_rows_are_marked_and_only_the_last_wants_logits)
{
	struct bench b = { .rig = rig_open(1, RIG_KV, 1) };
	int32_t prompt[20];
	rig_prompt(prompt, 20, 1);
	open(&b, rig_job(b.rig, prompt, 20));
	must_want(&b, 20, 0);
	take(&b, 12, 0);
	cr_assert_eq(b.n_logits, 0);
	must_be(&b, 11, 11, true, false);
	must_want(&b, 8, 0);
	take(&b, 8, 0);
	cr_assert_eq(b.n_logits, 1);
	must_be(&b, 6, 18, true, false);
	must_be(&b, 7, 19, true, true);
	must_want(&b, 0, 0);
	close_bench(&b);
}

Test(sequence, a_generated_token_is_one_exact_row)
{
	struct bench b = { .rig = rig_open(1, RIG_KV, 1) };
	int32_t prompt[3];
	struct job_token t;
	enum finish finish;
	enum stop_detail detail;
	rig_prompt(prompt, 3, 1);
	open(&b, rig_job(b.rig, prompt, 3));
	take(&b, 3, 0);
	cr_assert_not(sequence_accept(b.s, &(struct sampled) { .id = 99 }, &t, &finish, &detail));
	must_want(&b, 0, 1);
	take(&b, 0, 1);
	must_be(&b, 0, 3, false, true);
	close_bench(&b);
}

Test(sequence, draft_rows_are_exact_and_all_want_logits)
{
	struct bench b = { .rig = rig_open(1, RIG_KV, 1) };
	int32_t prompt[5], draft[] = { 50, 51, 52 };
	rig_prompt(prompt, 5, 1);
	open(&b, rig_check_job(b.rig, prompt, 5, draft, 3));
	must_want(&b, 5, 3);
	take(&b, 5, 3);
	cr_assert_eq(b.n_logits, 4);
	must_be(&b, 3, 3, true, false);
	must_be(&b, 4, 4, true, true);
	for (size_t i = 5; i < 8; i++)
		must_be(&b, i, i, false, true);
	close_bench(&b);
}

Test(sequence, resumed_tokens_are_exact_rows_and_only_the_last_wants_logits)
{
	struct bench b = { .rig = rig_open(1, RIG_KV, 1) };
	int32_t prompt[9];
	rig_prompt(prompt, 9, 1);
	struct job *j = rig_job(b.rig, prompt, 9);
	j->n_resumed = 4;
	open(&b, j);
	must_want(&b, 5, 4);
	take(&b, 5, 2);
	cr_assert_eq(b.n_logits, 0);
	must_be(&b, 4, 4, true, false);
	must_be(&b, 6, 6, false, false);
	take(&b, 0, 2);
	cr_assert_eq(b.n_logits, 1);
	must_be(&b, 1, 8, false, true);
	close_bench(&b);
}
