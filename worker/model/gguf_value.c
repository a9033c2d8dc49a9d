/* gguf_value.c - a GGUF's metadata values as numbers, flags and strings. */
#include "worker/model/gguf.h"
#include <string.h>

static uint64_t little_endian(const uint8_t *at, size_t n_bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n_bytes; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

static bool scalar_int(enum gguf_type type, const uint8_t *at, int64_t *out)
{
	size_t n = gguf_type_bytes(type);
	uint64_t v;

	if (type == GGUF_F32 || type == GGUF_F64 || type == GGUF_BOOL || n == 0)
		return false;
	v = little_endian(at, n);
	if (type == GGUF_U64 && v > INT64_MAX)
		return false;
	if ((type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32) && v >> (8 * n - 1))
		v |= ~(uint64_t)0 << (8 * n);
	*out = (int64_t)v;
	return true;
}

static bool scalar_num(enum gguf_type type, const uint8_t *at, double *out)
{
	int64_t i;
	float f;

	if (type == GGUF_F32) {
		memcpy(&f, at, sizeof f);
		*out = f;
		return true;
	}
	if (type == GGUF_F64) {
		memcpy(out, at, sizeof *out);
		return true;
	}
	if (!scalar_int(type, at, &i))
		return false;
	*out = (double)i;
	return true;
}

bool gguf_get_int(const struct gguf *g, const char *key, int64_t *out)
{
	const struct gguf_value *v = gguf_find(g, key);

	return v && scalar_int(v->type, v->at, out);
}

bool gguf_get_num(const struct gguf *g, const char *key, double *out)
{
	const struct gguf_value *v = gguf_find(g, key);

	return v && scalar_num(v->type, v->at, out);
}

bool gguf_get_bool(const struct gguf *g, const char *key, bool *out)
{
	const struct gguf_value *v = gguf_find(g, key);

	if (!v || v->type != GGUF_BOOL)
		return false;
	*out = *v->at != 0;
	return true;
}

bool gguf_get_str(const struct gguf *g, const char *key, struct gguf_string *out)
{
	const struct gguf_value *v = gguf_find(g, key);

	if (!v || v->type != GGUF_STRING)
		return false;
	*out = (struct gguf_string) { (const char *)v->at, v->n };
	return true;
}

bool gguf_element_num(const struct gguf_value *v, size_t i, double *out)
{
	if (v->type != GGUF_ARRAY || i >= v->n)
		return false;
	if (v->element == GGUF_BOOL) {
		*out = v->at[i];
		return true;
	}
	return scalar_num(v->element, v->at + i * gguf_type_bytes(v->element), out);
}

struct gguf_string gguf_next_string(const uint8_t **cursor)
{
	uint64_t n = little_endian(*cursor, 8); /* checked against the file by take_array */
	struct gguf_string s = { (const char *)*cursor + 8, (size_t)n };

	*cursor += 8 + n;
	return s;
}
