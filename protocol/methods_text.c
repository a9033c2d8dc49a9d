/* methods_text.c - rows: text to tokens and back, templates, embeddings. */
#include "protocol/limits.h"
#include "protocol/methods_table.h"

static const struct param TOKENIZE[] = {
	PARAM_ROW_MODEL_ID,
	{ .name = "text", .type = PARAM_STRING, .required = true, .doc = "What to encode." },
	{ .name = "add_special_tokens",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "true",
		.doc = "Add what the model expects around a text, such as bos." },
	{ .name = "parse_special",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "true",
		.doc = "Control tokens written in the text become control tokens; false keeps them "
		       "text." },
	{ .name = "return_strings",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "true",
		.doc = "Also give each token's vocabulary piece." },
	{ .name = "count_only",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "Only `count`." },
	PARAM_ROWS_SCHEDULING,
	PARAM_ROW_IDEMPOTENCY,
};

static const struct param DETOKENIZE[] = {
	PARAM_ROW_MODEL_ID,
	{ .name = "tokens", .type = PARAM_TOKENS, .required = true, .doc = "Token ids." },
	{ .name = "skip_special_tokens",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "Leave control tokens out of the text." },
	PARAM_ROWS_SCHEDULING,
	PARAM_ROW_IDEMPOTENCY,
};

static const struct param TEMPLATE[] = {
	PARAM_ROW_MODEL_ID,
	{ .name = "messages",
		.type = PARAM_OBJECTS,
		.required = true,
		.doc = "The conversation: role and content each." },
	PARAM_ROWS_CHAT,
	{ .name = "tokenize",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "Give `tokens` instead of `text`." },
};

static const struct param EMBED[] = {
	PARAM_ROW_MODEL_ID,
	{ .name = "input",
		.type = PARAM_STRING_OR_STRINGS,
		.required = true,
		.min = 1,
		.max = LIMIT_BATCH,
		.doc = "One text or several; each must fit in the model's context." },
	{ .name = "pooling",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "mean cls last",
		.doc = "Which of a text's last hidden states make its vector: the mean of all, the "
		       "first, the last. Default: what the model's files say (modules.json and "
		       "1_Pooling, or pooling_type of a GGUF), else last." },
	{ .name = "normalize",
		.type = PARAM_BOOL,
		.nullable = true,
		.doc = "Scale vectors to unit length. Default: whether modules.json has a "
		       "Normalize "
		       "module; true for models without a modules.json." },
	PARAM_ROWS_SCHEDULING,
	PARAM_ROW_IDEMPOTENCY,
};

static const struct param BATCH[] = {
	{ .name = "requests",
		.type = PARAM_OBJECTS,
		.required = true,
		.max = LIMIT_BATCH,
		.doc = "Params of tokenize, one object each." },
	PARAM_ROWS_SCHEDULING,
};

const struct method METHODS_TEXT[] = {
	{ .name = "tokenize",
		.cls = METHOD_PURE,
		ROWS(TOKENIZE),
		.positional = "model_id text add_special_tokens",
		.batch_name = "batch_tokenize",
		.doc = "Text to token ids.",
		.result = "tokens:integer[] token_strings:string[] count:integer",
		.example = "{\"model_id\":\"novel-7m\",\"text\":\"It was a cold evening\"}" },
	{ .name = "batch_tokenize",
		.cls = METHOD_BATCH,
		ROWS(BATCH),
		.positional = "requests",
		.item_name = "tokenize",
		.doc = "Many tokenize calls in one; results in request order, a bad item fails "
		       "alone.",
		.result = RESULTS_SHAPE,
		.example = "{\"requests\":[{\"model_id\":\"novel-7m\",\"text\":\"one\"},"
			   "{\"model_id\":\"novel-7m\",\"text\":\"two\"}]}" },
	{ .name = "detokenize",
		.cls = METHOD_PURE,
		ROWS(DETOKENIZE),
		.positional = "model_id tokens skip_special_tokens",
		.doc = "Token ids to text.",
		.result = "text:string",
		.example = "{\"model_id\":\"novel-7m\",\"tokens\":[1,2,3]}" },
	{ .name = "apply_chat_template",
		.cls = METHOD_PURE,
		ROWS(TEMPLATE),
		.positional = "model_id messages",
		.doc = "A conversation as the text the model was trained on.",
		.result = "text:string? tokens:integer[]? count:integer?",
		.example = "{\"model_id\":\"novel-7m\",\"messages\":[{\"role\":\"user\","
			   "\"content\":\"Good evening.\"}]}" },
	{ .name = "embed",
		.cls = METHOD_PURE,
		ROWS(EMBED),
		.positional = "model_id input",
		.doc = "Texts to vectors. An answer is one frame, with room for 127 vectors of "
		       "4096 numbers or 508 of 1024.",
		.result =
			"data[index:integer embedding:number[]] pooling:string normalized:boolean "
			"usage{prompt_tokens:integer total_tokens:integer}",
		.example = "{\"model_id\":\"novel-7m\",\"input\":\"a text\"}" },
	{ 0 },
};
