/* rig.c - what the engine's tests share. */
#include "tests/worker/rig.h"
#include "protocol/mem.h"
#include "worker/engine/lane.h"
#include "worker/text/tokenizer.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t n_over;

struct rig *rig_open_with(const struct engine_options *opt)
{
	struct rig *r = xcalloc(1, sizeof *r);
	struct model *m = NULL;
	struct fault f = { 0 };
	struct model_options load = { .path = RIG_MODEL };
	cr_assert_eq(model_open(&load, &m, &f), 0, "%s", f.text);
	r->catalog = catalog_new();
	catalog_put(r->catalog, "novel", m);
	r->model = catalog_get(r->catalog, "novel", &f);
	r->engine = engine_new(opt);
	return r;
}

struct rig *rig_open(int threads, size_t kv_bytes, size_t max_running)
{
	return rig_open_with(&(struct engine_options) {
		.threads = threads, .kv_bytes = kv_bytes, .max_running = max_running });
}

size_t rig_block_bytes(void)
{
	struct fault f = { 0 };
	struct rig *r = rig_open(1, RIG_KV, 1);
	struct kv_pool *p = model_kv_pool(model_ref_model(r->model), RIG_KV, &f);
	cr_assert_not_null(p, "%s", f.text);
	size_t n = kv_pool_block_bytes(p);
	kv_pool_free(p);
	rig_free(r);
	return n;
}

static void *run(void *arg)
{
	engine_run(((struct rig *)arg)->engine);
	return NULL;
}

void rig_start(struct rig *r)
{
	cr_assert_eq(pthread_create(&r->thread, NULL, run, r), 0);
	r->running = true;
}

struct rig *rig_new(void)
{
	struct rig *r = rig_open(1, RIG_KV, 32);
	rig_start(r);
	return r;
}

void rig_stop(struct rig *r, bool drain)
{
	engine_stop(r->engine, drain);
	pthread_join(r->thread, NULL);
	r->running = false;
}

void rig_free(struct rig *r)
{
	if (r->running)
		rig_stop(r, true);
	model_ref_release(r->model);
	catalog_free(r->catalog);
	engine_free(r->engine);
	free(r);
}

/* -- jobs ---------------------------------------------------------------------------------- */

struct job *rig_job(struct rig *r, const int32_t *prompt, size_t n)
{
	struct job *j = xcalloc(1, sizeof *j);
	j->kind = JOB_GENERATE;
	j->priority = PRIORITY_DEFAULT;
	j->key = ++r->last_key;
	j->model = model_ref_take(r->model);
	j->prompt = xcalloc(n, sizeof *prompt);
	memcpy(j->prompt, prompt, n * sizeof *prompt);
	j->n_prompt = n;
	j->sampling = (struct sampling) { .top_p = 1,
		.typical_p = 1,
		.repetition_penalty = 1,
		.repetition_window = -1,
		.logprobs = true };
	j->n_choices = 1;
	j->max_tokens = 16;
	j->skip_special = true;
	j->arrived = clock_now();
	return j;
}

struct job *rig_long_job(struct rig *r, uint64_t salt, size_t n_tokens)
{
	int32_t prompt[40];
	rig_prompt(prompt, 40, salt);
	struct job *j = rig_job(r, prompt, 40);
	j->max_tokens = n_tokens;
	j->ignore_eos = true;
	return j;
}

void rig_must_owe_nothing(const struct rig *r)
{
	const struct lane *l = model_ref_state(r->model);
	cr_assert(l->promised.blocks == 0 && l->promised.slots == 0);
}

struct job *rig_text_job(struct rig *r, const char *prompt)
{
	struct tok_ids ids = { 0 };
	struct fault f = { 0 };
	const struct tokenizer *t = model_tokenizer(model_ref_model(r->model));
	int rc = tokenizer_encode(t, prompt, strlen(prompt), TOK_ADD_SPECIAL, &ids, &f);
	cr_assert_eq(rc, 0, "%s", f.text);
	struct job *j = rig_job(r, ids.ids, ids.n);
	tok_ids_release(&ids);
	return j;
}

struct job *rig_check_job(
	struct rig *r, const int32_t *prompt, size_t n, const int32_t *draft, size_t n_draft)
{
	struct job *j = rig_job(r, prompt, n);
	j->kind = JOB_CHECK_DRAFT;
	j->draft = xcalloc(n_draft + 1, sizeof *draft);
	if (n_draft)
		memcpy(j->draft, draft, n_draft * sizeof *draft);
	j->n_draft = n_draft;
	return j;
}

void rig_prompt(int32_t *ids, size_t n, uint64_t salt)
{
	for (size_t i = 0; i < n; i++)
		ids[i] = 10 + (int32_t)(sampler_uniform(salt, i) * 4000);
}

/* -- sinks --------------------------------------------------------------------------------- */

static void on_tokens(void *arg, const struct job_token *t, size_t n)
{
	struct heard *h = arg;
	for (size_t i = 0; i < n; i++) {
		struct heard_choice *c = &h->choices[t[i].choice];
		if (h->on_token)
			h->on_token(h, &t[i]);
		pthread_mutex_lock(&h->lock);
		h->broken |= c->n_done > 0 || t[i].index != c->n + c->n_before || c->n == HEARD_MAX;
		if (!h->broken) {
			c->ids[c->n] = t[i].sampled->id;
			c->logprobs[c->n++] = t[i].sampled->logprob;
			buf_add(&c->text, t[i].text, t[i].n_text);
			c->text_at[c->n] = c->text.n_bytes;
		}
		h->n_tokens++;
		pthread_mutex_unlock(&h->lock);
	}
}

static void on_done(void *arg, int choice, const struct job_result *r, const char *tail,
	size_t n_tail, bool last)
{
	struct heard *h = arg;
	struct heard_choice *c = &h->choices[choice];
	pthread_mutex_lock(&h->lock);
	h->broken |= h->over;
	c->n_done++;
	c->result = *r;
	buf_add(&c->text, tail, n_tail);
	if (r->n_verdicts)
		memcpy(h->verdicts, r->verdicts, r->n_verdicts * sizeof *r->verdicts);
	if (r->n_judged)
		memcpy(h->draft_logprobs, r->draft_logprobs,
			r->n_judged * sizeof *r->draft_logprobs);
	h->over = last;
	if (last)
		h->order = atomic_fetch_add(&n_over, 1);
	pthread_cond_broadcast(&h->moved);
	pthread_mutex_unlock(&h->lock);
}

static void on_progress(void *arg, size_t processed, size_t total)
{
	struct heard *h = arg;
	if (h->on_progress)
		h->on_progress(h);
	pthread_mutex_lock(&h->lock);
	h->broken |= processed <= h->processed || processed > total;
	h->processed = processed;
	h->n_progress++;
	pthread_mutex_unlock(&h->lock);
}

static void on_resumed(void *arg, int choice, const char *text, size_t n)
{
	struct heard *h = arg;
	struct heard_choice *c = &h->choices[choice];
	pthread_mutex_lock(&h->lock);
	h->broken |= c->n + c->n_done + c->before.n_bytes > 0;
	buf_add(&c->before, text, n);
	pthread_mutex_unlock(&h->lock);
}

static const struct job_sink SINK = { on_tokens, on_done, on_progress, on_resumed };

struct heard *rig_submit_hooked(struct rig *r, struct job *j, const struct heard *hooks)
{
	struct heard *h = xcalloc(1, sizeof *h);
	if (hooks) {
		h->on_token = hooks->on_token;
		h->on_progress = hooks->on_progress;
		h->hook_arg = hooks->hook_arg;
	}
	h->rig = r;
	h->key = j->key;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->moved, NULL);
	/* test_allocations counts what the engine asks for, not what this sink does. */
	for (int i = 0; i < j->n_choices; i++) {
		buf_reserve(&h->choices[i].text, (size_t)16 * HEARD_MAX);
		job_resumed(j, i, &h->choices[i].n_before);
	}
	j->sink = &SINK;
	j->sink_arg = h;
	engine_submit(r->engine, j);
	return h;
}

struct heard *rig_submit(struct rig *r, struct job *j)
{
	return rig_submit_hooked(r, j, NULL);
}

void rig_wait(struct heard *h)
{
	pthread_mutex_lock(&h->lock);
	while (!h->over)
		pthread_cond_wait(&h->moved, &h->lock);
	pthread_mutex_unlock(&h->lock);
	cr_assert_not(h->broken, "the sink was called out of order");
}

struct heard *rig_run(struct rig *r, struct job *j)
{
	struct heard *h = rig_submit(r, j);
	rig_wait(h);
	return h;
}

void heard_free(struct heard *h)
{
	rig_wait(h);
	for (int i = 0; i < LIMIT_N; i++) {
		buf_release(&h->choices[i].text);
		buf_release(&h->choices[i].before);
	}
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->moved);
	free(h);
}

void heard_must_equal(const struct heard_choice *a, const struct heard_choice *b, const char *what)
{
	cr_assert_eq(a->n, b->n, "%s: %zu and %zu tokens", what, a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		cr_assert_eq(a->ids[i], b->ids[i], "%s: token %zu", what, i);
		cr_assert(a->logprobs[i] == b->logprobs[i] ||
				  (isnan(a->logprobs[i]) && isnan(b->logprobs[i])),
			"%s: logprob %zu: %a and %a", what, i, (double)a->logprobs[i],
			(double)b->logprobs[i]);
	}
	cr_assert_eq(a->result.finish, b->result.finish, "%s", what);
	cr_assert_eq(a->text.n_bytes, b->text.n_bytes, "%s", what);
	if (a->text.n_bytes)
		cr_assert_arr_eq(a->text.data, b->text.data, a->text.n_bytes);
}
