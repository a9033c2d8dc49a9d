/* generate_request.c - parameters of generate → a job. Stop 14; next: engine/engine.c */
#include "worker/generate_request.h"
#include "protocol/limits.h"
#include "protocol/mem.h"
#include "worker/chat_prompt.h"
#include "worker/model/model.h"
#include "worker/params.h"
#include "worker/text/tokenizer.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Longest draft, where the request does not say; a caller's own guess is worth a longer one. */
#define DRAFT_TOKENS     16
#define PREDICTED_TOKENS LIMIT_DRAFT

static int refuse(struct fault *f, const char *path, const char *why)
{
	fault_set(f, ERR_INVALID_PARAMS, "%s %s", path, why);
	fault_add_str(f, "path", path);
	return ERR_INVALID_PARAMS;
}

bool generate_request_is_long(const struct request *rq)
{
	size_t n_prompt, n_text, n_prediction = 0;
	struct json_object *prediction = params_get(rq->params, "prediction");
	params_bytes(rq->params, "prompt", &n_prompt);
	params_bytes(rq->params, "text", &n_text);
	if (prediction)
		params_bytes(prediction, "content", &n_prediction);
	return rq->is_bulky || n_prompt > LONG_TEXT_BYTES || n_text > LONG_TEXT_BYTES ||
	       n_prediction > LONG_TEXT_BYTES;
}

/* -- prompt -------------------------------------------------------------------------------- */

/* From the prompt's text, or (text NULL) from messages. */
static int encode_prompt(
	struct job *j, struct json_object *params, const char *text, size_t n, struct fault *f)
{
	const struct model *m = model_ref_model(j->model);
	struct tok_ids ids = { 0 };
	const int err = text ? tokenizer_encode(model_tokenizer(m), text, n,
				       TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids, f)
			     : chat_prompt_encode(m, params, &ids, f);
	if (err != 0) {
		tok_ids_release(&ids);
		fault_add_str(f, "model_id", model_ref_id(j->model));
		return err;
	}
	j->prompt = ids.ids;
	j->n_prompt = ids.n;
	for (size_t i = 0; i < ids.n; i++)
		if (ids.ids[i] < 0 || (size_t)ids.ids[i] >= model_info(m)->vocab_size)
			return fault_set(f, ERR_TOKENIZER,
				"the tokenizer made id %d, the model has %zu rows", ids.ids[i],
				model_info(m)->vocab_size);
	return 0;
}

int generate_request_prompt(struct job *j, struct json_object *params, struct fault *f)
{
	const size_t vocab_size = model_info(model_ref_model(j->model))->vocab_size;
	const bool has_ids = params_has(params, "prompt_tokens");
	const bool has_messages = params_has(params, "messages");
	size_t n;
	const char *text = params_bytes(params, "prompt", &n);
	int err;
	if ((text != NULL) + has_ids + has_messages != 1)
		return refuse(f, "prompt",
			text || has_ids || has_messages ? "and prompt_tokens and messages exclude "
							  "each other: give one of them"
							: "is missing: give exactly one of prompt, "
							  "prompt_tokens and messages");
	if (has_ids)
		err = params_token_ids(
			params, "prompt_tokens", vocab_size, &j->prompt, &j->n_prompt, f);
	else
		err = encode_prompt(j, params, text, n, f);
	if (err == 0 && j->n_prompt == 0)
		return has_ids ? refuse(f, "prompt_tokens",
					 "is empty: there is nothing to continue")
			       : refuse(f, "prompt",
					 "is empty, and this model has no token that begins a "
					 "text");
	return err;
}

/* -- sampling ------------------------------------------------------------------------------ */

/* A setting that the model's generation_config.json may preset. That file is not checked like
 * a request: what nobody could ask for is as if it said nothing. */
struct setting {
	double of_model; /* NAN = not said */
	double least, most;
	double ours;
};

/* The model's value, else ours. */
static double preset(const struct setting *s)
{
	return s->of_model >= s->least && s->of_model <= s->most ? s->of_model : s->ours;
}
#define PRESET(...) preset(&(const struct setting) { __VA_ARGS__ })

static uint64_t random_seed(void)
{
	uint32_t random;
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		random = (uint32_t)(clock_now() * 1e6);
	return random;
}

static int bias_value(struct json_object *v, float *out)
{
	if (json_object_is_type(v, json_type_boolean) && !json_object_get_boolean(v)) {
		*out = -INFINITY;
		return 0;
	}
	if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_double))
		return ERR_INVALID_PARAMS;
	const double x = json_object_get_double(v);
	*out = (float)x;
	return x >= -100 && x <= 100 ? 0 : ERR_INVALID_PARAMS;
}

/* Keys are token ids written as decimal numbers: "17", not "017" or "1e1". */
static bool bias_id(const char *key, size_t vocab_size, int32_t *out)
{
	const size_t n = strlen(key);
	if (n == 0 || n > 9 || strspn(key, "0123456789") != n || (n > 1 && key[0] == '0'))
		return false;
	*out = (int32_t)strtol(key, NULL, 10);
	return (size_t)*out < vocab_size;
}

static int take_bias(struct job *j, struct json_object *bias, size_t vocab_size, struct fault *f)
{
	struct logit_bias *list;
	size_t n = 0;
	char path[64];
	list = xcalloc((size_t)json_object_object_length(bias) + 1, sizeof *list);
	free((void *)j->sampling.bias);
	j->sampling.bias = list;
	j->sampling.n_bias = 0;
	json_object_object_foreach(bias, key, value)
	{
		snprintf(path, sizeof path, "logit_bias.%.40s", key);
		if (!bias_id(key, vocab_size, &list[n].id))
			return refuse(f, path, "is not a token id of this model");
		if (bias_value(value, &list[n].bias) != 0)
			return refuse(f, path, "must be a number from -100 to 100, or false");
		n++;
	}
	j->sampling.n_bias = n;
	return 0;
}

/* logprobs is a bool, or how many alternatives; top_logprobs says how many. */
static void take_logprobs(struct json_object *params, bool *logprobs, int *top)
{
	struct json_object *v = params_get(params, "logprobs");
	const bool is_count = v && !json_object_is_type(v, json_type_boolean);
	*top = (int)params_int(
		params, "top_logprobs", is_count ? params_int(params, "logprobs", 0) : 0);
	*logprobs = *top > 0 || is_count || (v && json_object_get_boolean(v));
}

static void sampling_of_model(struct sampling *s, const struct model_defaults *d)
{
	const double cold = d->do_sample == 0 ? 0 : d->temperature;
	*s = (struct sampling) {
		.temperature = (float)PRESET(cold, 0, 2, 0.7),
		.top_p = (float)PRESET(d->top_p, DBL_MIN, 1, 1),
		.min_p = (float)PRESET(d->min_p, 0, 1, 0),
		.typical_p = (float)PRESET(d->typical_p, DBL_MIN, 1, 1),
		.top_k = (int32_t)PRESET(d->top_k, 0, LIMIT_TOKEN_ID, 0),
		.repetition_penalty = (float)PRESET(d->repetition_penalty, DBL_MIN, 10, 1),
		.repetition_window = -1,
	};
}

void generate_request_copy_sampling(struct sampling *to, const struct sampling *from)
{
	struct logit_bias *bias = NULL;
	*to = *from;
	if (from->n_bias > 0) {
		bias = xcalloc(from->n_bias, sizeof *bias);
		memcpy(bias, from->bias, from->n_bias * sizeof *bias);
	}
	to->bias = bias;
}

int generate_request_sampling(
	struct job *j, struct json_object *params, const struct sampling *of_text, struct fault *f)
{
	const struct model *m = model_ref_model(j->model);
	struct sampling *s = &j->sampling;
	struct json_object *bias = params_get(params, "logit_bias");
	if (of_text)
		generate_request_copy_sampling(s, of_text);
	else
		sampling_of_model(s, model_defaults(m));
	s->temperature = (float)params_num(params, "temperature", s->temperature);
	s->top_p = (float)params_num(params, "top_p", s->top_p);
	s->min_p = (float)params_num(params, "min_p", s->min_p);
	s->typical_p = (float)params_num(params, "typical_p", s->typical_p);
	s->top_k = (int32_t)params_int(params, "top_k", s->top_k);
	s->repetition_penalty =
		(float)params_num(params, "repetition_penalty", s->repetition_penalty);
	s->repetition_window =
		(int32_t)params_int(params, "repetition_window", s->repetition_window);
	s->presence_penalty = (float)params_num(params, "presence_penalty", s->presence_penalty);
	s->frequency_penalty = (float)params_num(params, "frequency_penalty", s->frequency_penalty);
	if (params_has(params, "seed"))
		s->seed = (uint64_t)params_int(params, "seed", 0);
	else if (!of_text)
		s->seed = random_seed();
	take_logprobs(params, &s->logprobs, &s->top_logprobs);
	return bias ? take_bias(j, bias, model_info(m)->vocab_size, f) : 0;
}

/* -- the rest ------------------------------------------------------------------------------ */

static int take_stops(struct job *j, struct json_object *params, struct fault *f)
{
	struct json_object *v = params_get(params, "stop_sequences");
	const bool is_one = json_object_is_type(v, json_type_string);
	const size_t n = !v ? 0 : is_one ? 1 : json_object_array_length(v);
	j->stops = xcalloc(n + 1, sizeof *j->stops);
	for (size_t i = 0; i < n; i++) {
		struct json_object *one = is_one ? v : json_object_array_get_idx(v, i);
		const char *text = json_object_get_string(one);
		if (strlen(text) != (size_t)json_object_get_string_len(one))
			return refuse(f, "stop_sequences", "hold a NUL, which no stop string may");
		j->stops[j->n_stops++] = xstrdup(text);
	}
	return 0;
}

static int take_limits(struct job *j, struct json_object *params, struct fault *f)
{
	const struct model *m = model_ref_model(j->model);
	const size_t vocab_size = model_info(m)->vocab_size;
	const int64_t timeout = params_int(params, "timeout_ms", 0);
	const char *truncate = params_str(params, "truncate");
	const double most = PRESET(model_defaults(m)->max_new_tokens, 1, LIMIT_MAX_TOKENS, 512);
	j->max_tokens = (size_t)params_num(params, "max_tokens", most);
	j->min_tokens = (size_t)params_int(params, "min_tokens", 0);
	if (!params_has(params, "max_tokens") && j->max_tokens < j->min_tokens)
		j->max_tokens = j->min_tokens;
	if (j->min_tokens > j->max_tokens)
		return refuse(f, "min_tokens", "is larger than max_tokens");
	j->n_choices = (int)params_int(params, "n", 1);
	j->include_stop = params_bool(params, "include_stop", false);
	j->ignore_eos = params_bool(params, "ignore_eos", false);
	j->echo = params_bool(params, "echo", false);
	j->truncate_left = truncate && strcmp(truncate, "left") == 0;
	j->deadline = timeout > 0 ? j->arrived + (double)timeout / 1e3 : 0;
	j->idle_timeout = (double)params_int(params, "idle_timeout_ms", 0) / 1e3;
	return params_token_ids(
		params, "stop_token_ids", vocab_size, &j->stop_ids, &j->n_stop_ids, f);
}

int generate_request_cache(struct job *j, struct json_object *params, struct fault *f)
{
	size_t n;
	const char *scope = params_bytes(params, "cache_scope", &n);
	j->cache_prompt = params_bool(params, "cache_prompt", true);
	if (!scope)
		return 0;
	if (strlen(scope) != n)
		return refuse(f, "cache_scope", "holds a NUL, which no scope may");
	j->cache_scope = xstrdup(scope);
	return 0;
}

static int take_prediction(struct job *j, struct json_object *prediction, struct fault *f)
{
	const struct model *m = model_ref_model(j->model);
	struct tok_ids ids = { 0 };
	size_t n;
	const char *text = params_bytes(prediction, "content", &n);
	const int err = tokenizer_encode(model_tokenizer(m), text, n, TOK_PARSE_SPECIAL, &ids, f);
	j->prediction = ids.ids;
	j->n_prediction = err ? 0 : ids.n;
	for (size_t i = 0; i < j->n_prediction; i++)
		if (ids.ids[i] < 0 || (size_t)ids.ids[i] >= model_info(m)->vocab_size)
			return refuse(f, "prediction.content",
				"has a token that the model has no row for");
	return err;
}

/* Drafted from the caller's guess, from the text itself, by another model, or not at all. */
static int take_drafting(struct job *j, struct json_object *params, struct fault *f)
{
	struct json_object *prediction = params_get(params, "prediction");
	struct json_object *speculative = params_get(params, "speculative");
	const bool by_model = params_has(params, "draft_model");
	const char *mode = speculative ? params_str(speculative, "mode") : "off";
	j->look_up = !mode || strcmp(mode, "ngram") == 0;
	j->draft_always = speculative && !params_bool(speculative, "adaptive", true);
	if (!prediction && !speculative && !by_model &&
		params_int(params, "num_draft_tokens", 0) > 0)
		return refuse(f, "num_draft_tokens",
			"says how long a draft is, but nothing to draft from is given: add "
			"draft_model, prediction or speculative");
	if (prediction || j->look_up || by_model)
		j->max_draft = (size_t)params_int(
			params, "num_draft_tokens", prediction ? PREDICTED_TOKENS : DRAFT_TOKENS);
	return prediction && j->max_draft > 0 ? take_prediction(j, prediction, f) : 0;
}

/* The n tokens of an earlier run behind the prompt, those of the first choice first. of: which
 * choice each belongs to, NULL = there is one. */
static void append_resumed(struct job *j, const int32_t *ids, const int32_t *of, size_t n)
{
	j->prompt = xreallocarray(j->prompt, j->n_prompt + n, sizeof *j->prompt);
	for (int choice = 0; choice < j->n_choices; choice++)
		for (size_t i = 0; i < n; i++) {
			if (of && of[i] != choice)
				continue;
			j->prompt[j->n_prompt++] = ids[i];
			j->resumed[choice]++;
		}
	j->n_resumed = n;
}

static int check_choices(
	const struct job *j, size_t n, const int32_t *of, size_t n_of, struct fault *f)
{
	if (n_of != n && (n_of > 0 || j->n_choices > 1))
		return refuse(f, "resume_choices",
			"must say of each of resume_tokens which choice's it is");
	for (size_t i = 0; i < n_of; i++)
		if (of[i] >= j->n_choices)
			return refuse(f, "resume_choices", "name a choice that n does not have");
	return 0;
}

static int take_resumed(struct job *j, struct json_object *params, struct fault *f)
{
	const size_t vocab_size = model_info(model_ref_model(j->model))->vocab_size;
	int32_t *ids = NULL, *of = NULL;
	size_t n = 0, n_of = 0;
	int err = params_token_ids(params, "resume_tokens", vocab_size, &ids, &n, f);
	if (err == 0)
		err = params_token_ids(params, "resume_choices", SIZE_MAX, &of, &n_of, f);
	if (err == 0)
		err = check_choices(j, n, of, n_of, f);
	if (err == 0 && n > 0)
		append_resumed(j, ids, of, n);
	for (int i = 0; err == 0 && i < j->n_choices; i++)
		if (j->resumed[i] > j->max_tokens)
			err = refuse(f, "resume_tokens", "are more than max_tokens");
	free(ids);
	free(of);
	return err;
}

enum job_priority generate_request_priority(const char *name)
{
	return !name || strcmp(name, "default") == 0 ? PRIORITY_DEFAULT
	       : strcmp(name, "urgent") == 0         ? PRIORITY_URGENT
						     : PRIORITY_BACKGROUND;
}

int generate_request_build(struct json_object *params, struct model_ref *model, double arrived,
	struct job **out, struct fault *f)
{
	struct job *j = xcalloc(1, sizeof *j);
	int err;
	j->kind = JOB_GENERATE;
	j->model = model_ref_take(model);
	j->arrived = arrived;
	j->skip_special = true;
	j->priority = generate_request_priority(params_str(params, "priority"));
	if (params_str(params, "client"))
		j->client = xstrdup(params_str(params, "client"));
	/* Cheap refusals first: tokenizing may take long. */
	if ((err = take_stops(j, params, f)) != 0 || (err = take_limits(j, params, f)) != 0 ||
		(err = generate_request_cache(j, params, f)) != 0 ||
		(err = generate_request_sampling(j, params, NULL, f)) != 0 ||
		(err = generate_request_prompt(j, params, f)) != 0 ||
		(err = take_drafting(j, params, f)) != 0 ||
		(err = take_resumed(j, params, f)) != 0 || (err = job_fit(j, f)) != 0) {
		job_free(j);
		return err;
	}
	*out = j;
	return 0;
}

int generate_request_wire(struct json_object *params, struct wire_options *out, struct fault *f)
{
	struct json_object *o = params_get(params, "stream_options");
	*out = (struct wire_options) { .stream = params_bool(params, "stream", true),
		.max_delay = -1,
		.include_usage = true };
	take_logprobs(params, &out->logprobs, &out->top_logprobs);
	if (o && !out->stream)
		return refuse(f, "stream_options", "needs stream: true");
	if (params_has(o, "max_delay_ms"))
		out->max_delay = params_num(o, "max_delay_ms", 0) / 1e3;
	out->interval = (size_t)params_int(o, "interval_tokens", 0);
	out->ack_window = (size_t)params_int(o, "ack_window", 0);
	out->include_usage = params_bool(o, "include_usage", true);
	out->cumulative_text = params_bool(o, "cumulative_text", false);
	return 0;
}
