/* config.h - a config.json read with suspicion.
 *
 * Every field that is asked for is remembered. What is left at the end is either known to
 * leave the maths alone (config_neutral.c lists it), switched off (null, false, [], {}), or
 * refused by name: a model is never computed with a setting that was not understood.
 *
 * Errors are sticky: the first one is kept in the root, later getters return their preset,
 * so that reading a config is a straight line with one check at its end. A value with the
 * wrong type is always an error; explicit null counts as absent. */
#ifndef WORKER_MODEL_CONFIG_H
#define WORKER_MODEL_CONFIG_H
#include "protocol/err.h"
#include "protocol/json_scan.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_BYTES_MAX ((size_t)8 << 20)

struct config;

/* Parse an object. `where` names it in errors ("…/config.json"). *out: config_free. */
int config_parse(
	const char *json, size_t n, const char *where, struct config **out, struct fault *f);
int config_open(const char *path, struct config **out, struct fault *f);
void config_free(struct config *c); /* a root; NULL is fine */

bool config_has(const struct config *c, const char *key); /* present and not null */
/* Present and null, which some references tell from absent. */
bool config_is_null(struct config *c, const char *key);
bool config_is_object(const struct config *c, const char *key);
/* Required ones record an error when absent. Sizes are 1..2^31-1 (config_count: 0 too). */
size_t config_size(struct config *c, const char *key);
size_t config_size_or(struct config *c, const char *key, size_t preset);
size_t config_count_or(struct config *c, const char *key, size_t preset);
double config_num(struct config *c, const char *key);
double config_num_or(struct config *c, const char *key, double preset);
bool config_bool_or(struct config *c, const char *key, bool preset);
/* Borrowed until config_free; "" after an error. */
const char *config_str(struct config *c, const char *key);
const char *config_str_or(struct config *c, const char *key, const char *preset);
/* The raw value (absent span if there is none), counted as understood. */
struct json_span config_value(struct config *c, const char *key);
/* A nested object, or NULL if absent; owned by the root. Its fields are tracked alike. */
struct config *config_object(struct config *c, const char *key);
/* Fill out[n] from an array of exactly n (or at least n when longer_is_fine) numbers. False
 * if the field is absent or an error was recorded. */
bool config_nums(struct config *c, const char *key, double *out, size_t n, bool longer_is_fine);
/* Element i of an array of strings; "" after an error. config_array_count: 0 if absent. */
size_t config_array_count(struct config *c, const char *key);
const char *config_array_str(struct config *c, const char *key, size_t i);

/* Count a field as understood without reading it (the reference ignores it too). */
void config_ignore(struct config *c, const char *key);
/* Record an error about a field: "<where>: <key>: <sentence>". Returns ERR_MODEL_LOAD. */
int config_refuse(struct config *c, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
const char *config_where(const struct config *c);

/* 0, or the first error recorded so far. */
int config_status(const struct config *c, struct fault *f);
/* config_status, and then: every remaining field of c and of what lies in it is neutral. */
int config_finish(struct config *c, struct fault *f);

/* config_neutral.c: does this field leave the logits of a plain forward pass alone? */
bool config_is_neutral(const char *key);
#endif
