/* tok_field.h - a value of tokenizer.json that knows where it stands.
 *
 * Every complaint names the file and the path of the field ("tokenizer.json:
 * pre_tokenizer.pretokenizers[1].behavior: …"). The path is a chain of parents on the
 * caller's stack, so reading a good file builds no strings. */
#ifndef WORKER_TEXT_TOK_FIELD_H
#define WORKER_TEXT_TOK_FIELD_H
#include "protocol/buf.h"
#include "protocol/err.h"
#include "protocol/json_scan.h"

struct tok_field {
	const struct tok_field *parent; /* NULL: the whole file */
	const char *name;               /* the file's name at the root; NULL: an element */
	size_t index;                   /* of an element */
	struct json_span value;         /* .at == NULL: not in the file */
	struct fault *fault;
};

/* A file whose text json_scan() accepts; ERR_TOKENIZER if it does not. */
int tok_field_root(
	struct tok_field *root, const char *where, struct json_span text, struct fault *f);
struct tok_field tok_field_get(const struct tok_field *object, const char *key);
/* Element of an array, for a loop over json_next_element. */
struct tok_field tok_field_element(
	const struct tok_field *array, size_t index, struct json_span value);

bool tok_field_is_set(const struct tok_field *x); /* in the file and not null */

/* All below return 0 or ERR_TOKENIZER with the path in the fault. */
int tok_field_wrong(const struct tok_field *x, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int tok_field_is_object(const struct tok_field *x);
int tok_field_is_array(const struct tok_field *x);
/* x is an object and has no member but the space-separated ones. */
int tok_field_knows(const struct tok_field *x, const char *members);
int tok_field_str(const struct tok_field *x, struct buf *out); /* appended */
/* Absent or null gives the preset. */
int tok_field_bool(const struct tok_field *x, bool preset, bool *out);
int tok_field_int(const struct tok_field *x, int64_t preset, int64_t *out);
/* One of the space-separated words; *out is its index. Absent gives the preset unless < 0. */
int tok_field_choice(const struct tok_field *x, const char *words, int preset, int *out);
#endif
