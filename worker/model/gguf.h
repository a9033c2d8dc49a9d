/* gguf.h - a GGUF file, version 2 or 3: metadata and tensor table, believed only after they
 * add up. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 *
 * gguf.c reads the container (gguf_value.c its values) and knows nothing of models; gguf_config.c
 * turns metadata into config.json's fields, gguf_names.c gives tensors Hugging Face's names,
 * gguf_vocab.c makes the tokenizer; gguf_format.c puts them together. */
#ifndef WORKER_MODEL_GGUF_H
#define WORKER_MODEL_GGUF_H
#include "protocol/err.h"
#include "worker/model/mapped_file.h"
#include "worker/model/tensor_source.h"
#include <stdbool.h>
#include <stdint.h>

enum gguf_type {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	GGUF_TYPE_COUNT
};

size_t gguf_type_bytes(enum gguf_type t); /* of a scalar; 0 for strings, arrays, unknown ones */

struct gguf_value {
	enum gguf_type type;
	enum gguf_type element; /* GGUF_ARRAY; never GGUF_ARRAY itself */
	size_t n;               /* GGUF_ARRAY: elements; GGUF_STRING: bytes */
	const uint8_t *at; /* the payload; strings without their length, arrays' first element */
};

struct gguf_string {
	const char *at; /* UTF-8 by convention, not checked; not terminated */
	size_t n;
};

struct gguf;

/* Map and check one file. ERR_MODEL_LOAD names the file and the key or tensor. */
int gguf_open(const char *path, struct gguf **out, struct fault *f);
/* Parse bytes that outlive the result (for tests and fuzzing); `where` names them. */
int gguf_parse(
	const uint8_t *bytes, size_t n, const char *where, struct gguf **out, struct fault *f);
void gguf_close(struct gguf *g); /* NULL is fine */
const char *gguf_where(const struct gguf *g);

/* NULL if the key is absent. */
const struct gguf_value *gguf_find(const struct gguf *g, const char *key);
const char *gguf_key(const struct gguf *g, size_t i); /* in file order; NULL past the end */
/* false when absent or of another kind. Integers of any width that fit; floats widen. */
bool gguf_get_int(const struct gguf *g, const char *key, int64_t *out);
bool gguf_get_num(const struct gguf *g, const char *key, double *out);
bool gguf_get_bool(const struct gguf *g, const char *key, bool *out);
bool gguf_get_str(const struct gguf *g, const char *key, struct gguf_string *out);
/* Element i of an array value; false when it is of another kind. i < v->n. */
bool gguf_element_num(const struct gguf_value *v, size_t i, double *out);
/* Strings follow one another, so arrays of them are walked: *cursor starts at v->at. */
struct gguf_string gguf_next_string(const uint8_t **cursor);

/* In file order; NULL past the end. Names are those of the file. */
const struct tensor *gguf_tensor(const struct gguf *g, size_t i);
const struct tensor *gguf_tensor_named(const struct gguf *g, const char *name);
#endif
