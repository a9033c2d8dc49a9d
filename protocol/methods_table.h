/* methods_table.h - the rows behind methods.h, one file per subject, ended by a NULL name.
 *
 * JSON Schemas of results are put together from the F_* pieces: F_OBJECT(F_STR("text") ","
 * F_INT("count")). */
#ifndef PROTOCOL_METHODS_TABLE_H
#define PROTOCOL_METHODS_TABLE_H
#include "protocol/methods.h"

extern const struct method METHODS_SESSION[];  /* the process itself, cancelling, ending */
extern const struct method METHODS_MODELS[];   /* loading and listing models */
extern const struct method METHODS_TEXT[];     /* text to tokens and back, embeddings */
extern const struct method METHODS_GENERATE[]; /* generate, check_draft, their batches */

#define ROWS(array) .params = array, .n_params = sizeof array / sizeof array[0]

#define F_TYPE(name, type)   "\"" name "\":{\"type\":\"" type "\"}"
#define F_STR(name)          F_TYPE(name, "string")
#define F_INT(name)          F_TYPE(name, "integer")
#define F_NUM(name)          F_TYPE(name, "number")
#define F_BOOL(name)         F_TYPE(name, "boolean")
#define F_ANY_OBJECT(name)   F_TYPE(name, "object")
#define F_MAYBE(name, type)  "\"" name "\":{\"type\":[\"" type "\",\"null\"]}"
#define F_OBJECT(fields)     "{\"type\":\"object\",\"properties\":{" fields "}}"
#define F_SUB(name, fields)  "\"" name "\":" F_OBJECT(fields)
#define F_LIST(name, type)   "\"" name "\":{\"type\":\"array\",\"items\":{\"type\":\"" type "\"}}"
#define F_EACH(name, fields) "\"" name "\":{\"type\":\"array\",\"items\":" F_OBJECT(fields) "}"

/* What every batch_* method answers. */
#define F_RESULTS                                                                                 \
	F_OBJECT(F_EACH("results", F_BOOL("success") "," F_MAYBE("result", "object") "," F_MAYBE( \
					   "error", "string") "," F_MAYBE("error_code",           \
					   "integer") "," F_MAYBE("error_data", "object")))

/* Parameters that several methods share. */
#define PARAM_ROW_MODEL_ID                                                    \
	{                                                                     \
		.name = "model_id", .type = PARAM_MODEL_ID, .required = true, \
		.doc = "The id the model was loaded under."                   \
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
