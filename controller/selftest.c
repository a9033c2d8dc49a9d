/* selftest.c - the same questions in many circumstances, token by token.
 *
 * A log-probability is printed with as many digits as tell its float from every other, so
 * equal texts are equal bits. */
#include "controller/selftest.h"
#include "controller/drain.h"
#include "controller/inner.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_BACKGROUND 3
#define TOKENS       12

enum { ID_LOAD = 1, ID_LOAD_DRAFT = 2, ID_BACKGROUND = 3, ID_QUESTION = 100 };

struct outcome {
	struct buf text, logprobs; /* the list of tokens, as JSON */
};

struct selftest;

struct circumstance {
	const char *name;
	/* NULL: plain */
	void (*change)(const struct selftest *s, struct buf *params, const struct outcome *alone);
	size_t at_once, n_passes;
	int n_workers;
	bool has_background;
	const char *worker_args[3];
};

struct selftest {
	const struct run_options *opt;
	int out;
	struct inner in;
	const struct circumstance *now;
	struct outcome *alone; /* [n_questions] */
	struct buf finding;    /* what differs first */
	size_t n_questions;    /* each prompt greedy and sampled */
	size_t n_sent, n_answered, n_differing, n_background, n_loading;
	int64_t n_cached, n_drafted, n_held; /* tokens, of all answers */
	char model_id[NAME_MAX + 1], draft_id[NAME_MAX + 1];
	bool is_over;
	int exit_code;
};

/* -- circumstances ---------------------------------------------------------------------- */

static void from_cache(const struct selftest *s, struct buf *params, const struct outcome *alone)
{
	(void)s;
	(void)alone;
	jout_key_bool(params, "cache_prompt", true);
}

/* Whether it pays or not. */
static void draft_always(struct buf *params, const char *mode)
{
	jout_key(params, "speculative");
	buf_addc(params, '{');
	jout_key_cstr(params, "mode", mode);
	jout_key_bool(params, "adaptive", false);
	buf_addc(params, '}');
}

static void with_n_gram(const struct selftest *s, struct buf *params, const struct outcome *alone)
{
	(void)s;
	(void)alone;
	draft_always(params, "ngram");
}

static void with_prediction(
	const struct selftest *s, struct buf *params, const struct outcome *alone)
{
	(void)s;
	jout_key(params, "prediction");
	buf_adds(params, "{\"content\":");
	jout_str(params, alone->text.data, alone->text.n_bytes);
	buf_addc(params, '}');
	draft_always(params, "off");
}

static void with_itself(const struct selftest *s, struct buf *params, const struct outcome *alone)
{
	(void)alone;
	jout_key_cstr(params, "draft_model", s->model_id);
	draft_always(params, "off");
}

static void with_draft_model(
	const struct selftest *s, struct buf *params, const struct outcome *alone)
{
	(void)alone;
	jout_key_cstr(params, "draft_model", s->draft_id);
	draft_always(params, "off");
}

#define ONE_THREAD "--threads=1"
static const struct circumstance CIRCUMSTANCES[] = {
	{ "alone", NULL, 1, 1, 1, false, { ONE_THREAD } },
	{ "again, in a fresh worker", NULL, 1, 1, 1, false, { ONE_THREAD } },
	{ "batch of 16", NULL, 16, 1, 1, false, { ONE_THREAD } },
	{ "background load", NULL, 2, 1, 1, true, { ONE_THREAD } },
	{ "prefill chunks of 1", NULL, 4, 1, 1, false, { ONE_THREAD, "--chunk-tokens=1" } },
	{ "prefill chunks of 16", NULL, 4, 1, 1, false, { ONE_THREAD, "--chunk-tokens=16" } },
	{ "prefill chunks of 256", NULL, 4, 1, 1, false, { ONE_THREAD, "--chunk-tokens=256" } },
	{ "prefix-cached", from_cache, 2, 2, 1, false, { ONE_THREAD } },
	{ "drafted by n-gram", with_n_gram, 2, 1, 1, false, { ONE_THREAD } },
	{ "drafted by prediction", with_prediction, 2, 1, 1, false, { ONE_THREAD } },
	{ "drafted by itself", with_itself, 4, 1, 1, false, { ONE_THREAD } },
	{ "drafted by --draft-model", with_draft_model, 4, 1, 1, false, { ONE_THREAD } },
	{ "2 threads", NULL, 1, 1, 1, false, { "--threads=2" } },
	{ "2 threads, batch of 16", NULL, 16, 1, 1, false, { "--threads=2" } },
	{ "2 workers", NULL, 8, 1, 2, false, { ONE_THREAD } },
};
#define N_CIRCUMSTANCES (sizeof CIRCUMSTANCES / sizeof *CIRCUMSTANCES)

static size_t n_to_ask(const struct selftest *s)
{
	return s->now->n_passes * s->n_questions;
}

/* -- asking ----------------------------------------------------------------------------- */

/* Of many lengths, the last longer than a chunk, and with something to look up. */
static void add_prompt(struct buf *params, size_t i, bool is_last)
{
	static const char text[] =
		"The harbour master counted the boats twice, wrote the number down, and counted "
		"them again. One was missing. \"Which one?\" asked the boy. \"The one we never "
		"count,\" said the harbour master, and closed the book. 17, 18, 19 and 20 lay at "
		"the quay; ";
	struct buf prompt = BUF_INIT;
	for (size_t k = 0; k < (is_last ? 5 : i % 3); k++)
		buf_adds(&prompt, text);
	buf_add(&prompt, text, 1 + i * 67 % (sizeof text - 2));
	jout_key_str(params, "prompt", prompt.data, prompt.n_bytes);
	buf_release(&prompt);
}

static void begin_params(const struct selftest *s, struct buf *params, size_t i)
{
	buf_addc(params, '{');
	jout_key_cstr(params, "model_id", s->model_id);
	add_prompt(params, i, i + 1 == s->opt->n_selftest);
	jout_key_cstr(params, "truncate", "left");
	jout_key_bool(params, "stream", false);
	jout_key_bool(params, "ignore_eos", true);
}

static void ask(struct selftest *s, size_t at)
{
	struct buf params = BUF_INIT;
	size_t k = at % s->n_questions;
	begin_params(s, &params, k / 2);
	jout_key_int(&params, "max_tokens", TOKENS);
	jout_key_num(&params, "temperature", k % 2 ? 0.8 : 0);
	jout_key_int(&params, "seed", (int64_t)(1000 + k));
	jout_key_bool(&params, "logprobs", true);
	if (s->now->change)
		s->now->change(s, &params, &s->alone[k]);
	if (s->now->change != from_cache)
		jout_key_bool(&params, "cache_prompt", false);
	buf_addc(&params, '}');
	inner_call(&s->in, ID_QUESTION + (int)at, "generate", &params);
	buf_release(&params);
}

static void ask_background(struct selftest *s)
{
	struct buf params = BUF_INIT;
	begin_params(s, &params, s->n_background % s->opt->n_selftest);
	jout_key_int(&params, "max_tokens", (int64_t)4 * TOKENS);
	jout_key_cstr(&params, "priority", "background");
	buf_addc(&params, '}');
	inner_call(&s->in, ID_BACKGROUND, "generate", &params);
	buf_release(&params);
	s->n_background++;
}

static void finish(struct selftest *s, int code)
{
	if (!s->is_over)
		s->exit_code = code;
	s->is_over = true;
	drain_begin(s->in.controller, "the circumstance is complete");
}

static void ask_on(struct selftest *s)
{
	while (s->n_sent < n_to_ask(s) && s->n_sent - s->n_answered < s->now->at_once)
		ask(s, s->n_sent++);
	if (s->n_answered == n_to_ask(s) && s->n_background == 0)
		finish(s, s->exit_code);
}

/* -- comparing -------------------------------------------------------------------------- */

static struct json_span whole(const struct buf *b)
{
	return (struct json_span) { b->data, b->n_bytes };
}

static void tell_token(struct buf *out, struct json_span t)
{
	struct json_span id = json_find(t, "token_id"), p = json_find(t, "logprob");
	if (!t.at)
		buf_adds(out, "missing");
	else
		buf_addf(out, "%.*s with %.*s", (int)id.n, id.at, (int)p.n, p.at);
}

/* An element of a list of logprobs, or an absent span after the last. */
static struct json_span next_token(struct json_cursor *c)
{
	struct json_span t;
	return json_next_element(c, &t) ? t : (struct json_span) { 0 };
}

static bool is_same(struct json_span a, struct json_span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.at, b.at, a.n) == 0);
}

/* Compare ids and log-probabilities (who guessed a token may differ); tell the first that is
 * not the same. */
static bool find_difference(
	struct selftest *s, size_t k, const struct buf *alone, struct json_span now)
{
	struct json_cursor a = json_iterate(whole(alone)), b = json_iterate(now);
	for (size_t at = 0;; at++) {
		struct json_span x = next_token(&a), y = next_token(&b);
		if (!x.at && !y.at)
			return false;
		if (is_same(json_find(x, "token_id"), json_find(y, "token_id")) &&
			is_same(json_find(x, "logprob"), json_find(y, "logprob")))
			continue;
		if (s->n_differing > 0)
			return true;
		buf_addf(&s->finding, "prompt %zu at temperature %s, token %zu is ", k / 2 + 1,
			k % 2 ? "0.8" : "0", at);
		tell_token(&s->finding, y);
		buf_adds(&s->finding, ", alone ");
		tell_token(&s->finding, x);
		return true;
	}
}

static void count(int64_t *sum, struct json_span usage, const char *key)
{
	int64_t n = 0;
	json_get_int(json_find(usage, key), &n);
	*sum += n;
}

static void take_answer(struct selftest *s, size_t k, struct json_span result)
{
	struct outcome *alone = &s->alone[k];
	struct json_span usage = json_find(result, "usage");
	count(&s->n_cached, usage, "cached_tokens");
	count(&s->n_drafted, usage, "draft_tokens");
	count(&s->n_held, usage, "accepted_draft_tokens");
	struct json_span logprobs = json_find(result, "logprobs");
	if (s->now == CIRCUMSTANCES) {
		json_get_str(json_find(result, "text"), &alone->text);
		buf_add(&alone->logprobs, logprobs.at, logprobs.n);
	} else {
		s->n_differing += find_difference(s, k, &alone->logprobs, logprobs);
	}
}

/* -- hearing ---------------------------------------------------------------------------- */

static void fail(struct selftest *s, struct json_span error)
{
	struct buf text = BUF_INIT;
	json_get_str(json_find(error, "message"), &text);
	log_error("%s: %s", s->now->name, buf_cstr(&text));
	buf_release(&text);
	finish(s, EXIT_FAILURE);
}

static void on_heard(void *arg, const struct rpc_msg *m)
{
	struct selftest *s = arg;
	int64_t id = 0;
	if (s->is_over || (m->kind != RPC_RESULT && m->kind != RPC_ERROR))
		return;
	json_get_int(m->id, &id);
	if (m->kind == RPC_ERROR) {
		fail(s, m->error);
		return;
	}
	if (id == ID_LOAD || id == ID_LOAD_DRAFT) {
		if (--s->n_loading > 0)
			return;
		for (int i = 0; s->now->has_background && i < N_BACKGROUND; i++)
			ask_background(s);
	} else if (id == ID_BACKGROUND) {
		s->n_background--;
		if (s->n_answered < n_to_ask(s))
			ask_background(s);
	} else {
		take_answer(s, (size_t)(id - ID_QUESTION) % s->n_questions, m->result);
		s->n_answered++;
	}
	ask_on(s);
}

static void on_signal(void *arg, int signal)
{
	struct selftest *s = arg;
	if (s->exit_code == 128 + signal)
		event_base_loopbreak(s->in.base);
	s->is_over = true;
	s->exit_code = 128 + signal;
	drain_begin(s->in.controller, strsignal(signal));
}

/* -- life ------------------------------------------------------------------------------- */

/* The user's own options for the workers, and then this circumstance's. */
static struct options options_for(const struct selftest *s)
{
	struct options o = s->opt->base;
	o.worker_argv = NULL;
	o.n_worker_argv = 0;
	o.n_workers = s->now->n_workers;
	for (size_t i = 0; i < s->opt->base.n_worker_argv; i++)
		options_pass_on(&o, s->opt->base.worker_argv[i]);
	for (size_t i = 0; s->now->worker_args[i]; i++)
		options_pass_on(&o, s->now->worker_args[i]);
	return o;
}

/* All else that o holds is the caller's. */
static void release_argv(struct options *o)
{
	for (size_t i = 0; i < o->n_worker_argv; i++)
		free(o->worker_argv[i]);
	free(o->worker_argv);
}

static void load(struct selftest *s)
{
	s->n_loading = s->now->change == with_draft_model ? 2 : 1;
	if (s->n_loading == 2)
		inner_load(&s->in, ID_LOAD_DRAFT, s->opt->draft_model, s->draft_id);
	inner_load(&s->in, ID_LOAD, s->opt->model, s->model_id);
}

static void run_one(struct selftest *s)
{
	struct options o = options_for(s);
	s->n_sent = s->n_answered = s->n_differing = s->n_background = 0;
	s->n_cached = s->n_drafted = s->n_held = 0;
	s->is_over = false;
	buf_clear(&s->finding);
	inner_open(&s->in, &o);
	load(s);
	inner_run(&s->in);
	inner_close(&s->in);
	release_argv(&o);
	if (s->exit_code == 0 && s->n_answered < n_to_ask(s))
		s->exit_code = EXIT_FAILURE;
}

/* One that compares nothing else than "alone" did would show nothing: what it did is told. */
static bool tell(struct selftest *s)
{
	const size_t n = n_to_ask(s);
	struct buf line = BUF_INIT;
	buf_addf(&line, "%-26s ", s->now->name);
	if (s->now == CIRCUMSTANCES)
		buf_addf(&line, "%zu answers of %d tokens", n, TOKENS);
	else if (s->n_differing == 0)
		buf_addf(&line, "%zu answers, all the same", n);
	else
		buf_addf(&line, "%zu of %zu DIFFER: %s", s->n_differing, n, buf_cstr(&s->finding));
	if (s->now->change == from_cache)
		buf_addf(&line, "; %" PRId64 " tokens were cached", s->n_cached);
	else if (s->now->change)
		buf_addf(&line, "; %" PRId64 " of %" PRId64 " drafted tokens held", s->n_held,
			s->n_drafted);
	const int rc = dprintf(s->out, "%s\n", buf_cstr(&line));
	buf_release(&line);
	return rc >= 0;
}

int selftest_run(int out, const struct run_options *opt)
{
	struct selftest s = { .opt = opt, .out = out, .n_questions = 2 * opt->n_selftest };
	bool any = false;
	s.alone = xcalloc(s.n_questions, sizeof *s.alone);
	s.in.heard = on_heard;
	s.in.signalled = on_signal;
	s.in.arg = &s;
	log_set_level(opt->base.is_verbose ? LOG_DEBUG : LOG_WARN);
	inner_name_model(opt->model, s.model_id, sizeof s.model_id);
	inner_name_draft(opt->draft_model, opt->model, s.draft_id, sizeof s.draft_id);
	for (size_t i = 0; i < N_CIRCUMSTANCES && s.exit_code == 0; i++) {
		s.now = &CIRCUMSTANCES[i];
		if (s.now->change == with_draft_model && !opt->draft_model)
			continue;
		run_one(&s);
		any |= s.n_differing > 0;
		if (s.exit_code == 0 && !tell(&s))
			s.exit_code = EXIT_FAILURE;
	}
	for (size_t k = 0; k < s.n_questions; k++) {
		buf_release(&s.alone[k].text);
		buf_release(&s.alone[k].logprobs);
	}
	free(s.alone);
	buf_release(&s.finding);
	return s.exit_code ? s.exit_code : any ? EXIT_FAILURE : EXIT_SUCCESS;
}
