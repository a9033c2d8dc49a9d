/* methods.h - the one table of methods: who handles each, what it takes, what it gives.
 *
 * docs/protocol.md, rpc.discover, --help, the controller's dispatch and the worker's
 * parameter checks all read this table, so page and program cannot drift. A new method is
 * a row here and a handler in worker/handlers.c (or controller/local.c). */
#ifndef PROTOCOL_METHODS_H
#define PROTOCOL_METHODS_H
#include "protocol/buf.h"
#include "protocol/err.h"
#include "protocol/json_scan.h"
#include <json-c/json.h>

enum method_class {
	METHOD_LOCAL, /* each process answers for itself: initialize, ping, runtime/…, shutdown */
	METHOD_CANCEL,  /* cancel: a request that reaches another request */
	METHOD_CATALOG, /* load_model, unload_model, list_models: changes or lists the models */
	METHOD_PURE,    /* one model, no state: tokenize, detokenize, check_draft, embed … */
	METHOD_STREAM,  /* generate */
	METHOD_BATCH,   /* batch_tokenize …: requests[] of a PURE or STREAM method */
	METHOD_TOOL,    /* tools/call: another method, asked for and answered in MCP's envelope */
};

enum param_type {
	PARAM_STRING,
	PARAM_INT,
	PARAM_NUMBER,
	PARAM_BOOL,
	PARAM_OBJECT,
	PARAM_STRINGS, /* string[] */
	PARAM_TOKENS,  /* token id[] */
	PARAM_OBJECTS, /* object[]; its handler checks the items */
	PARAM_STRING_OR_STRINGS,
	PARAM_BOOL_OR_INT, /* logprobs */
	PARAM_MODEL_ID,    /* string of [A-Za-z0-9_\-./@:]+, 1..512, no ".." */
	PARAM_TOKEN_VALUE, /* progress tokens: string or integer */
	PARAM_ANY,
};

struct param {
	const char *name;
	const char *aliases; /* space-separated, or NULL */
	enum param_type type;
	bool required;
	bool nullable;              /* explicit null = absent (the reference's hosts send nulls) */
	bool is_for_streams;        /* says nothing to a caller that gets one answer: no tool's */
	double min, max;            /* INT, NUMBER: the value; STRING: characters; arrays and
				       objects: items. Both 0 = no bounds. A bounded string is one
				       that is used as a C string: it may not contain NUL */
	bool min_open;              /* min itself is refused, as in top_p's (0,1] */
	double item_max;            /* STRINGS: characters of each item, 1..item_max; 0 = any */
	const char *choices;        /* space-separated values of a STRING, or NULL */
	const struct param *fields; /* OBJECT: its members, checked like params; or NULL */
	size_t n_fields;
	const char *preset;  /* default, as JSON text for the page; NULL = none */
	const char *doc;     /* one sentence */
	const char *refused; /* not NULL: present → ERR_INVALID_PARAMS with this sentence, unless
				null, false or one of `choices` (here: JSON texts), which
				mean what happens anyway and are removed */
};

struct method {
	const char *name;
	enum method_class cls;
	const struct param *params;
	size_t n_params;
	const char *positional; /* names a params array stands for, space-separated, or NULL */
	const char *batch_name; /* tokenize → "batch_tokenize"; NULL = never gathered */
	const char *item_name;  /* batch_tokenize → "tokenize" */
	const char *refused;    /* not NULL: the whole method is refused with this sentence */
	const char *doc;
	/* Shape of the result, members separated by spaces: `count:integer`, `tokens:integer[]`,
	 * `error:string?` (may be null), `usage{…}` an object, `results[…]` a list of objects.
	 * "" = an object nothing is said about; NULL: a notification. */
	const char *result;
	const char *example; /* a params object that works */
};

const struct method *method_find(const char *name); /* NULL if there is none */
const struct method *method_at(size_t i);           /* NULL past the end; page order */
size_t method_index(const struct method *m); /* so that method_at finds it; else past the end */

/* `-32601` with did_you_mean in data. Returns ERR_METHOD_NOT_FOUND. */
int method_unknown(const char *name, struct fault *f);

/* Check params against m's row: unknown names (data.path, data.did_you_mean), types,
 * bounds, choices, required ones, refused ones, two spellings of one parameter at once.
 * Aliases are renamed in place to the canonical name; explicit nulls of nullable params
 * are removed, integers written as 1e2 or 1.0 become integers. The items
 * of a METHOD_BATCH are each checked by themselves, against m->item_name, so that a bad
 * one fails alone. Every method takes the reserved members `_meta`, an object, and
 * `workDoneToken`, `partialResultToken` and `_meta.progressToken`, strings or integers.
 * `params` may be NULL (= {}) when nothing is required. */
int method_check(const struct method *m, struct json_object *params, struct fault *f);

/* Positional → named: append `{"name":value,…}` for an array span; false if m names no
 * order or there are too many values (*f says so). An object span is appended as it is,
 * an absent one as {}. */
bool method_name_params(
	const struct method *m, struct json_span params, struct buf *out, struct fault *f);

/* Nearest of n names to `word` (edit distance ≤ 2, or a third of its length), or NULL. */
const char *method_nearest(const char *word, const char *const *names, size_t n);

/* JSON Schema of m's params and of its result, and the whole rpc.discover result. */
void method_write_schema(struct buf *out, const struct method *m);
void method_write_result_schema(struct buf *out, const struct method *m);
void method_write_discover(struct buf *out);

/* MCP's view of the table: a tool is a method that a model answers or that loads one. */
bool method_is_tool(const struct method *m);
void method_write_tools(struct buf *out); /* the tools/list result */

/* The method half of docs/protocol.md (Markdown), which a test compares with the page. */
void method_write_page(struct buf *out);
#endif
