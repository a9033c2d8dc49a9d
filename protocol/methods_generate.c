/* methods_generate.c - rows: generate, check_draft and their batches. */
#include "protocol/limits.h"
#include "protocol/methods_table.h"

#define FROM_MODEL "default: the model's generation_config.json, then "

#define PARAM_ROWS_PROMPT                                                                          \
	{                                                                                          \
		.name = "prompt",                                                                  \
		.type = PARAM_STRING,                                                              \
		.nullable = true,                                                                  \
		.doc = "The text to continue; control tokens written in it become control tokens." \
	},                                                                                         \
		{ .name = "prompt_tokens",                                                         \
			.type = PARAM_TOKENS,                                                      \
			.nullable = true,                                                          \
			.doc = "Or its token ids." },                                              \
		{ .name = "messages",                                                              \
			.type = PARAM_OBJECTS,                                                     \
			.nullable = true,                                                          \
			.doc = "Or a conversation (role, content …), through the model's chat "  \
			       "template; "                                                        \
			       "nothing in it becomes a control token." },                         \
		PARAM_ROWS_CHAT

#define NUMBER_ROW(name_, low, high, preset_, doc_)                                             \
	{                                                                                       \
		.name = name_, .type = PARAM_NUMBER, .nullable = true, .min = low, .max = high, \
		.preset = preset_, .doc = doc_                                                  \
	}
#define OPEN_ROW(name_, high, preset_, doc_)                                        \
	{                                                                           \
		.name = name_, .type = PARAM_NUMBER, .nullable = true, .max = high, \
		.min_open = true, .preset = preset_, .doc = doc_                    \
	}
#define INT_ROW(name_, low, high, preset_, doc_)                                             \
	{                                                                                    \
		.name = name_, .type = PARAM_INT, .nullable = true, .min = low, .max = high, \
		.preset = preset_, .doc = doc_                                               \
	}
#define BOOL_ROW(name_, preset_, doc_)                                                  \
	{                                                                               \
		.name = name_, .type = PARAM_BOOL, .nullable = true, .preset = preset_, \
		.doc = doc_                                                             \
	}
#define REFUSED_ROW(name_, type_, choices_, refused_)                                  \
	{                                                                              \
		.name = name_, .type = type_, .choices = choices_, .refused = refused_ \
	}

#define PARAM_ROWS_SAMPLING                                                                       \
	NUMBER_ROW(                                                                               \
		"temperature", 0, 2, "0.7", "0 takes the likeliest token; " FROM_MODEL "this."),  \
		OPEN_ROW("top_p", 1, "1", "Smallest set of tokens with this probability."),       \
		INT_ROW("top_k", 0, LIMIT_TOKEN_ID, "0", "The k likeliest tokens; 0 = all."),     \
		NUMBER_ROW("min_p", 0, 1, "0",                                                    \
			"Tokens at least this likely, relative to the likeliest."),               \
		OPEN_ROW("typical_p", 1, "1", "Locally typical sampling; 1 = off."),              \
		OPEN_ROW("repetition_penalty", 10, "1", "Over prompt and output; 1 = off."),      \
		INT_ROW("repetition_window", -1, LIMIT_TOKEN_ID, "-1",                            \
			"How many of the last tokens it looks at; -1 = all."),                    \
		NUMBER_ROW("presence_penalty", -2, 2, "0", "For tokens generated before."),       \
		NUMBER_ROW(                                                                       \
			"frequency_penalty", -2, 2, "0", "For each time a token was generated."), \
		{ .name = "logit_bias",                                                           \
			.type = PARAM_OBJECT,                                                     \
			.nullable = true,                                                         \
			.max = LIMIT_LOGIT_BIAS,                                                  \
			.doc = "Token id to a number from -100 to 100, or false: never." },       \
		INT_ROW("seed", 0, 4294967295.0, NULL,                                            \
			"Same seed, same text; without one it is chosen and returned.")

static const struct param STREAM_OPTIONS[] = {
	INT_ROW("max_delay_ms", 0, 60000, NULL,
		"Longest time a token waits to go out with others."),
	INT_ROW("interval_tokens", 1, LIMIT_MAX_TOKENS, NULL, "Tokens that go out together."),
	INT_ROW("ack_window", 1, LIMIT_ACK_WINDOW, NULL,
		"Tokens sent beyond the last stream.ack at most; then the stream waits for one."),
	BOOL_ROW("include_usage", "true", "Put `usage` into stream.stats."),
	BOOL_ROW("cumulative_text", "false", "Add the whole text so far to each chunk."),
};

static const struct param PREDICTION[] = {
	{ .name = "type",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "content",
		.preset = "\"content\"",
		.doc = "What the guess is." },
	{ .name = "content", .type = PARAM_STRING, .required = true, .doc = "The text." },
};

static const struct param SPECULATIVE[] = {
	{ .name = "mode",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "ngram off",
		.preset = "\"ngram\"",
		.doc = "ngram: what followed the last tokens when they came before." },
	BOOL_ROW("adaptive", "true",
		"Draft only where it is faster than going without. false: always, and as much as "
		"`num_draft_tokens` allows."),
};

#define PARAM_ROWS_CACHE                                                                         \
	BOOL_ROW("cache_prompt", "true",                                                         \
		"Reuse the KV cache of earlier prompts that began alike, and keep this one's."), \
	{                                                                                        \
		.name = "cache_scope", .type = PARAM_STRING, .nullable = true,                   \
		.max = LIMIT_CACHE_SCOPE,                                                        \
		.doc = "Share them only with requests that name the same scope."                 \
	}

static const struct param GENERATE[] = {
	PARAM_ROW_MODEL_ID,
	PARAM_ROWS_PROMPT,
	{ .name = "max_tokens",
		.aliases = "max_new_tokens n_predict max_completion_tokens",
		.type = PARAM_INT,
		.nullable = true,
		.min = 1,
		.max = LIMIT_MAX_TOKENS,
		.preset = "512",
		.doc = "Tokens to generate at most; " FROM_MODEL "this." },
	INT_ROW("min_tokens", 0, LIMIT_MAX_TOKENS, "0", "No end of text before this many."),
	PARAM_ROWS_SAMPLING,
	{ .name = "stop_sequences",
		.aliases = "stop",
		.type = PARAM_STRING_OR_STRINGS,
		.nullable = true,
		.max = LIMIT_STOPS,
		.item_max = LIMIT_STOP_CHARS,
		.doc = "Texts that end the generation." },
	{ .name = "stop_token_ids",
		.type = PARAM_TOKENS,
		.nullable = true,
		.max = LIMIT_STOP_IDS,
		.doc = "Tokens that end it." },
	BOOL_ROW("include_stop", "false", "Keep what ended it in the text."),
	BOOL_ROW("ignore_eos", "false", "Go on past the model's own end of text."),
	INT_ROW("n", 1, LIMIT_N, "1",
		"Continuations of one prompt; they draw with seed, seed + 1 …"),
	{ .name = "logprobs",
		.type = PARAM_BOOL_OR_INT,
		.nullable = true,
		.max = LIMIT_TOP_LOGPROBS,
		.preset = "false",
		.doc = "Log-probability of each token; a number is `top_logprobs` too." },
	INT_ROW("top_logprobs", 0, LIMIT_TOP_LOGPROBS, "0", "And of this many alternatives."),
	BOOL_ROW("echo", "false", "Begin the text with the prompt."),
	{ .name = "stream",
		.aliases = "streaming",
		.type = PARAM_BOOL,
		.nullable = true,
		.is_for_streams = true,
		.preset = "true",
		.doc = "false answers once, with the whole text." },
	{ .name = "stream_id",
		.type = PARAM_STRING,
		.nullable = true,
		.min = 1,
		.max = LIMIT_STREAM_ID,
		.doc = "Names the stream; default: a fresh one." },
	{ .name = "stream_options",
		.type = PARAM_OBJECT,
		.nullable = true,
		.is_for_streams = true,
		.fields = STREAM_OPTIONS,
		.n_fields = sizeof STREAM_OPTIONS / sizeof STREAM_OPTIONS[0],
		.doc = "How tokens are sent." },
	{ .name = "truncate",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "left",
		.doc = "Cut a prompt that is too long from the left instead of refusing it." },
	PARAM_ROWS_CACHE,
	INT_ROW("idle_timeout_ms", 0, LIMIT_TIMEOUT_MS, "0",
		"Give up when for this long no token comes and nothing of the prompt is computed, "
		"once it has left the line; 0 = never."),
	PARAM_ROWS_SCHEDULING,
	PARAM_ROW_IDEMPOTENCY,
	{ .name = "resume",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "replay error",
		.preset = "\"replay\"",
		.doc = "When the worker dies: continue on another as if nothing had been, or end "
		       "with an error." },
	{ .name = "resume_tokens",
		.type = PARAM_TOKENS,
		.nullable = true,
		.max = (double)LIMIT_MAX_TOKENS * LIMIT_N,
		.doc = "Tokens that an earlier run of this request generated: it goes on after "
		       "them as that run would have, with the same seed." },
	{ .name = "resume_choices",
		.type = PARAM_TOKENS,
		.nullable = true,
		.max = (double)LIMIT_MAX_TOKENS * LIMIT_N,
		.doc = "With n above 1: which choice each of `resume_tokens` belongs to." },
	{ .name = "guidance",
		.aliases = "response_format",
		.type = PARAM_OBJECT,
		.choices = "{\"type\":\"text\"}",
		.refused = "structured output is not available; only {\"type\":\"text\"} is" },
	{ .name = "draft_model",
		.type = PARAM_MODEL_ID,
		.nullable = true,
		.doc = "Another loaded model, much smaller and of the same vocabulary, that drafts "
		       "where `prediction` and `speculative` have nothing. The text never depends "
		       "on it." },
	INT_ROW("num_draft_tokens", 0, LIMIT_DRAFT, NULL,
		"Longest draft; 0 = draft nothing. Default 16, with `prediction` 64. How long one "
		"is follows from what drafts cost and how many hold."),
	{ .name = "prediction",
		.type = PARAM_OBJECT,
		.nullable = true,
		.fields = PREDICTION,
		.n_fields = sizeof PREDICTION / sizeof PREDICTION[0],
		.doc = "A guess of the text: what of it the model would have written too comes "
		       "sooner. The text never depends on it." },
	{ .name = "speculative",
		.type = PARAM_OBJECT,
		.nullable = true,
		.fields = SPECULATIVE,
		.n_fields = sizeof SPECULATIVE / sizeof SPECULATIVE[0],
		.doc = "Guess the next tokens without being told." },
	REFUSED_ROW("required_dtype", PARAM_STRING, NULL,
		"required_dtype is not available; load_model reports the dtype of the weights"),
};

static const struct param CHECK_DRAFT[] = {
	{ .name = "primary_id",
		.type = PARAM_MODEL_ID,
		.nullable = true,
		.doc = "Pair form: the model that would verify." },
	{ .name = "draft_id",
		.type = PARAM_MODEL_ID,
		.nullable = true,
		.doc = "Pair form: the model that would draft." },
	{ .name = "model_id",
		.type = PARAM_MODEL_ID,
		.nullable = true,
		.doc = "Token form: the model that verifies." },
	PARAM_ROWS_PROMPT,
	{ .name = "draft_tokens",
		.type = PARAM_TOKENS,
		.nullable = true,
		.max = LIMIT_DRAFT,
		.doc = "What may come next; empty = one plain step." },
	{ .name = "draft_text",
		.type = PARAM_STRING,
		.nullable = true,
		.doc = "The same as text." },
	PARAM_ROWS_SAMPLING,
	{ .name = "logprobs",
		.type = PARAM_BOOL_OR_INT,
		.nullable = true,
		.max = LIMIT_TOP_LOGPROBS,
		.preset = "false",
		.doc = "Log-probability of each token; a number is `top_logprobs` too." },
	INT_ROW("top_logprobs", 0, LIMIT_TOP_LOGPROBS, "0", "And of this many alternatives."),
	PARAM_ROWS_CACHE,
	PARAM_ROWS_SCHEDULING,
	PARAM_ROW_IDEMPOTENCY,
	{ .name = "stream_id",
		.type = PARAM_STRING,
		.nullable = true,
		.min = 1,
		.max = LIMIT_STREAM_ID,
		.doc = "Token form, instead of a prompt: the draft follows what this running "
		       "stream of the model (n 1) has so far. Sampling parameters that are not "
		       "given are the stream's." },
	INT_ROW("index", 0, LIMIT_MAX_TOKENS, NULL,
		"With `stream_id`: the index that the draft's first token would have in the "
		"stream, at most that of its next token; default: that. The result says it."),
	BOOL_ROW("measure", "false",
		"Pair form: generate a short text with drafts and without, and say what was "
		"measured: `performance_estimate` then has `acceptance_rate`, `tokens_per_second`, "
		"`tokens_per_second_drafted` and `best_draft_tokens`. false: estimates from the "
		"parameter counts."),
};

static const struct param BATCH[] = {
	{ .name = "requests",
		.type = PARAM_OBJECTS,
		.required = true,
		.max = LIMIT_BATCH,
		.doc = "Params of the single method, one object each." },
	PARAM_ROWS_SCHEDULING,
};

const struct method METHODS_GENERATE[] = {
	{ .name = "generate",
		.cls = METHOD_STREAM,
		ROWS(GENERATE),
		.positional = "model_id prompt max_tokens temperature",
		.batch_name = "batch_generate",
		.doc = "Continue a prompt. Exactly one of `prompt`, `prompt_tokens` and "
		       "`messages`.",
		.result = "stream_id:string started_at:number text:string tokens:integer[] "
			  "finish_reason:string stop_detail:string? seed:integer usage:object "
			  "timings:object",
		.example = "{\"model_id\":\"novel-7m\",\"prompt\":\"It was a cold evening\","
			   "\"max_tokens\":32,\"temperature\":0,\"stream_id\":\"s1\"}" },
	{ .name = "batch_generate",
		.cls = METHOD_BATCH,
		ROWS(BATCH),
		.positional = "requests",
		.item_name = "generate",
		.doc = "Start many generations; results in request order, a bad item fails alone.",
		.result = RESULTS_SHAPE,
		.example = "{\"requests\":[{\"model_id\":\"novel-7m\",\"prompt\":\"One\","
			   "\"stream_id\":\"a\"},{\"model_id\":\"novel-7m\",\"prompt\":\"Two\","
			   "\"stream_id\":\"b\"}]}" },
	{ .name = "check_draft",
		.cls = METHOD_PURE,
		ROWS(CHECK_DRAFT),
		.positional = "primary_id draft_id",
		.batch_name = "batch_check_draft",
		.doc = "Pair form: could one model draft for another? Token form: how much of a "
		       "draft "
		       "would the model itself have written?",
		.result = "compatible:boolean errors:string[] warnings:string[] details:object "
			  "accepted:integer next_token{id:integer text:string kind:string} "
			  "tokens[id:integer logprob:number? accepted:boolean argmax:integer] "
			  "stopped_by:string index:integer usage:object timings:object",
		.example = "{\"model_id\":\"novel-7m\",\"prompt\":\"It was a cold\","
			   "\"draft_text\":\" evening in\",\"temperature\":0}" },
	{ .name = "batch_check_draft",
		.cls = METHOD_BATCH,
		ROWS(BATCH),
		.positional = "requests",
		.item_name = "check_draft",
		.doc = "Many check_draft calls in one; results in request order, a bad item fails "
		       "alone.",
		.result = RESULTS_SHAPE,
		.example = "{\"requests\":[{\"primary_id\":\"novel-7m\",\"draft_id\":\"novel-1m\"}]"
			   "}" },
	{ 0 },
};
