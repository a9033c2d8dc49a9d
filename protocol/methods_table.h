/* methods_table.h - the rows behind methods.h, one file per subject, ended by a NULL name. */
#ifndef PROTOCOL_METHODS_TABLE_H
#define PROTOCOL_METHODS_TABLE_H
#include "protocol/methods.h"

extern const struct method METHODS_SESSION[];  /* the process itself, cancelling, ending */
extern const struct method METHODS_MODELS[];   /* loading and listing models */
extern const struct method METHODS_TEXT[];     /* text to tokens and back, embeddings */
extern const struct method METHODS_GENERATE[]; /* generate, check_draft, their batches */

/* What the two readers of the table, schema and page, share. */
bool method_takes_list(enum param_type t);
bool method_takes_number(enum param_type t);
typedef void method_word_fn(void *arg, const char *word, size_t n);
void method_each_word(const char *words, method_word_fn *fn, void *arg); /* NULL = none */

#define ROWS(array) .params = array, .n_params = sizeof array / sizeof array[0]

/* What every batch_* method answers. */
#define RESULTS_SHAPE                                                               \
	"results[success:boolean result:object? error:string? error_code:integer? " \
	"error_data:object?]"

/* Parameters that several methods share. */
#define PARAM_ROW_MODEL_ID                                                    \
	{                                                                     \
		.name = "model_id", .type = PARAM_MODEL_ID, .required = true, \
		.doc = "The id the model was loaded under."                   \
	}
/* A conversation instead of a prompt, and what its template is given. */
#define PARAM_ROWS_CHAT                                                                          \
	{ .name = "tools",                                                                       \
		.type = PARAM_OBJECTS,                                                           \
		.nullable = true,                                                                \
		.doc = "Function descriptions for the template." },                              \
		{ .name = "add_generation_prompt",                                               \
			.type = PARAM_BOOL,                                                      \
			.nullable = true,                                                        \
			.preset = "true",                                                        \
			.doc = "End with the opening of the answer." },                          \
		{ .name = "chat_template",                                                       \
			.type = PARAM_STRING,                                                    \
			.nullable = true,                                                        \
			.doc = "A Jinja template instead of the model's, or the name of one of " \
			       "the model's." },                                                 \
		{ .name = "chat_template_kwargs",                                                \
			.aliases = "template_kwargs kwargs",                                     \
			.type = PARAM_OBJECT,                                                    \
			.nullable = true,                                                        \
			.doc = "Further variables for the template." },                          \
		{ .name = "documents",                                                           \
			.type = PARAM_OBJECTS,                                                   \
			.nullable = true,                                                        \
			.doc = "The template variable of that name." },                          \
		{ .name = "enable_thinking",                                                     \
			.type = PARAM_BOOL,                                                      \
			.nullable = true,                                                        \
			.doc = "The template variable of that name." },                          \
	{                                                                                        \
		.name = "reasoning_effort", .type = PARAM_STRING, .nullable = true,              \
		.doc = "The template variable of that name."                                     \
	}
#define PARAM_ROW_IDEMPOTENCY                                                                      \
	{                                                                                          \
		.name = "idempotency_key", .type = PARAM_STRING, .nullable = true, .min = 1,       \
		.max = LIMIT_IDEMPOTENCY,                                                          \
		.doc = "A repeated call with the same key gets the first one's answer instead of " \
		       "being done again; see Repeated calls. Of tandem, not of a worker alone."   \
	}
#define PARAM_ROWS_SCHEDULING                                                           \
	{ .name = "timeout_ms",                                                         \
		.type = PARAM_INT,                                                      \
		.nullable = true,                                                       \
		.max = LIMIT_TIMEOUT_MS,                                                \
		.preset = "0",                                                          \
		.doc = "Give up this long after arrival; 0 = never." },                 \
		{ .name = "priority",                                                   \
			.type = PARAM_STRING,                                           \
			.nullable = true,                                               \
			.choices = "urgent default background",                         \
			.preset = "\"default\"",                                        \
			.doc = "Who goes first when calls wait." },                     \
	{                                                                               \
		.name = "client", .type = PARAM_STRING, .nullable = true, .min = 1,     \
		.max = LIMIT_STREAM_ID, .doc = "Calls of different clients take turns." \
	}
#endif
