/* err.h - every way a call can fail, and the text a person reads about it.
 *
 * Functions return 0 (or a count) or a negative `enum err`. Where a human will read
 * the cause, the function also fills a `struct fault`: the code, a sentence that names
 * the file, field or tensor, and extra members for the JSON-RPC error's `data` object.
 * docs/protocol.md section 5 lists the wire codes; err.c holds the one table. */
#ifndef PROTOCOL_ERR_H
#define PROTOCOL_ERR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum err {
	ERR_OK = 0,
	/* on the wire */
	ERR_PARSE = -1,
	ERR_INVALID_REQUEST = -2,
	ERR_METHOD_NOT_FOUND = -3,
	ERR_INVALID_PARAMS = -4,
	ERR_INTERNAL = -5,
	ERR_MODEL_LOAD = -6,
	ERR_GENERATION = -7,
	ERR_TOKENIZER = -8,
	ERR_GUIDANCE = -9,
	ERR_MODEL_NOT_LOADED = -10,
	ERR_OVERLOADED = -11,
	ERR_CONTEXT_OVERFLOW = -12,
	ERR_TIMEOUT = -13,
	ERR_WORKER_CRASHED = -14,
	ERR_SHUTTING_DOWN = -15,
	ERR_MODEL_BUSY = -16,
	ERR_NOMEM = -17,
	ERR_DRAFT_INCOMPATIBLE = -18,
	ERR_RUNTIME = -19,
	ERR_CANCELLED = -20,
	/* inside one process only; answered as ERR_INTERNAL if one ever escapes */
	ERR_AGAIN = -21,
	ERR_NOT_FOUND = -22,
	ERR_IO = -23,
	ERR_LAST = ERR_IO
};

struct err_info {
	int code;         /* JSON-RPC error.code */
	const char *type; /* error.data.type, what clients should key on */
	bool retryable;   /* error.data.retryable unless the fault overrides it */
};

/* The table row of `e`; any int is safe to pass. Static storage. */
const struct err_info *err_info(int e);

/* The err whose JSON-RPC code is `code`, or ERR_RUNTIME for one we do not know. */
enum err err_from_code(int code);

#define FAULT_TEXT_MAX 512
#define FAULT_DATA_MAX 1024

/* One failure, told once. Plain data on the caller's stack; nothing to free.
 * Zero-initialised means "no failure". Overlong text is cut at a UTF-8 boundary; a
 * member that does not fit in `data` is left out whole, never truncated. */
struct fault {
	int err;                   /* enum err */
	int code;                  /* 0, or a JSON-RPC code that came from elsewhere verbatim */
	char text[FAULT_TEXT_MAX]; /* error.message, valid UTF-8 */
	char data[FAULT_DATA_MAX]; /* `"k":v,"k2":v2`: members to add to error.data, or "" */
};

/* Fill *f (which may be NULL) and return `err`, so that
 * `return fault_set(f, ERR_X, "layer %d: …", i);` is one line. Clears data. */
int fault_set(struct fault *f, enum err err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Add a member to error.data; f may be NULL. Values are escaped here. */
void fault_add_str(struct fault *f, const char *key, const char *value);
void fault_add_int(struct fault *f, const char *key, int64_t value);
void fault_add_bool(struct fault *f, const char *key, bool value);
void fault_add_json(struct fault *f, const char *key, const char *json); /* trusted text */
#endif
