/* params.h - reading parameters that method_check accepted.
 *
 * Types and bounds are known here; only what depends on the model is left to check.
 * Strings are borrowed from the object. */
#ifndef WORKER_PARAMS_H
#define WORKER_PARAMS_H
#include "protocol/err.h"
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct json_object *params_get(struct json_object *params, const char *key); /* NULL if absent */
bool params_has(struct json_object *params, const char *key);
const char *params_str(struct json_object *params, const char *key); /* NULL if absent */
/* The bytes, which may include NUL. */
const char *params_bytes(struct json_object *params, const char *key, size_t *n);
bool params_bool(struct json_object *params, const char *key, bool absent);
int64_t params_int(struct json_object *params, const char *key, int64_t absent);
double params_num(struct json_object *params, const char *key, double absent);

/* ids[i] = element i of array `key`, each 0 <= id < vocab_size; data.path names the first
 * bad one. *ids is owned by the caller (NULL when absent or empty). */
int params_token_ids(struct json_object *params, const char *key, size_t vocab_size, int32_t **ids,
	size_t *n, struct fault *f);
#endif
