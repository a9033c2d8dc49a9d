/* safetensors.c - the header of a .safetensors file, believed only after it adds up. */
#include "worker/model/safetensors.h"
#include "protocol/buf.h"
#include "protocol/json_scan.h"
#include "protocol/mem.h"
#include "worker/model/mapped_file.h"
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define PREFIX_BYTES 8

struct entry {
	struct tensor t;   /* t.name owned */
	size_t begin, end; /* from the start of the data */
	UT_hash_handle hh; /* by t.name */
};

struct metadata {
	char *key, *value; /* owned */
};

struct safetensors {
	struct tensor_source base;
	struct mapped_file file; /* zeroed when parsing borrowed bytes */
	char *where;
	const uint8_t *data;
	size_t n_data;
	struct entry *entries; /* [n_entries], in order of begin after check_layout */
	size_t n_entries, cap_entries;
	struct entry *by_name;
	struct metadata *metadata;
	size_t n_metadata;
};

static const struct {
	const char *name;
	size_t bits;
	enum tensor_kind kind;
	enum dtype dtype;
} TYPES[] = {
	{ "F32", 32, TENSOR_WEIGHT, DTYPE_F32 },
	{ "F16", 16, TENSOR_WEIGHT, DTYPE_F16 },
	{ "BF16", 16, TENSOR_WEIGHT, DTYPE_BF16 },
	{ "F8_E4M3", 8, TENSOR_WEIGHT, DTYPE_F8_E4M3 },
	{ "U8", 8, TENSOR_U8, 0 },
	{ "U32", 32, TENSOR_U32, 0 },
	{ "BOOL", 8, TENSOR_OTHER, 0 },
	{ "I8", 8, TENSOR_OTHER, 0 },
	{ "I16", 16, TENSOR_OTHER, 0 },
	{ "U16", 16, TENSOR_OTHER, 0 },
	{ "I32", 32, TENSOR_OTHER, 0 },
	{ "I64", 64, TENSOR_OTHER, 0 },
	{ "U64", 64, TENSOR_OTHER, 0 },
	{ "F64", 64, TENSOR_OTHER, 0 },
	{ "C64", 64, TENSOR_OTHER, 0 },
	{ "F8_E5M2", 8, TENSOR_OTHER, 0 },
	{ "F8_E8M0", 8, TENSOR_OTHER, 0 },
	{ "F4", 4, TENSOR_OTHER, 0 },
};

static size_t type_bits(struct json_span dtype, struct tensor *t)
{
	for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
		if (!json_str_is(dtype, TYPES[i].name))
			continue;
		t->dtype_name = TYPES[i].name;
		t->kind = TYPES[i].kind;
		t->dtype = TYPES[i].dtype;
		return TYPES[i].bits;
	}
	return 0;
}

static int bad(
	const struct safetensors *s, const struct entry *e, const char *what, struct fault *f)
{
	return fault_set(f, ERR_MODEL_LOAD, "%s: tensor %s: %s", s->where, e->t.name, what);
}

static bool get_size(struct json_span v, size_t *out)
{
	int64_t n;

	if (!json_get_int(v, &n) || n < 0)
		return false;
	*out = (size_t)n;
	return true;
}

static int parse_shape(struct safetensors *s, struct entry *e, struct json_span v, struct fault *f)
{
	struct json_cursor at;
	struct json_span dim;
	struct tensor *t = &e->t;

	if (json_kind(v) != '[')
		return bad(s, e, "shape is not an array", f);
	t->n_values = 1;
	for (at = json_iterate(v); json_next_element(&at, &dim);) {
		if (t->n_dims == TENSOR_DIMS_MAX)
			return bad(s, e, "more than 8 dimensions", f);
		if (!get_size(dim, &t->dims[t->n_dims]))
			return bad(s, e, "shape holds something that is not a size", f);
		if (!mem_mul(t->n_values, t->dims[t->n_dims++], &t->n_values))
			return bad(s, e, "shape overflows", f);
	}
	return 0;
}

static int parse_offsets(
	struct safetensors *s, struct entry *e, struct json_span v, struct fault *f)
{
	struct json_cursor at;
	struct json_span element;
	size_t pair[2], n = 0;

	if (json_kind(v) != '[')
		return bad(s, e, "data_offsets is not an array", f);
	for (at = json_iterate(v); json_next_element(&at, &element); n++)
		if (n >= 2 || !get_size(element, &pair[n]))
			return bad(s, e, "data_offsets is not a pair of sizes", f);
	if (n != 2)
		return bad(s, e, "data_offsets is not a pair of sizes", f);
	if (pair[0] > pair[1] || pair[1] > s->n_data)
		return bad(s, e, "data_offsets lie outside the file (truncated?)", f);
	e->begin = pair[0];
	e->end = pair[1];
	return 0;
}

static int parse_entry(struct safetensors *s, struct entry *e, struct json_span v, struct fault *f)
{
	struct json_span dtype, key, ignored;
	size_t bits, n_bits;
	int rc;

	if (json_kind(v) != '{')
		return bad(s, e, "not an object", f);
	for (struct json_cursor at = json_iterate(v); json_next_member(&at, &key, &ignored);)
		if (!json_str_is(key, "dtype") && !json_str_is(key, "shape") &&
			!json_str_is(key, "data_offsets"))
			return bad(s, e, "has a member that the format does not know", f);
	dtype = json_find(v, "dtype");
	bits = type_bits(dtype, &e->t);
	if (bits == 0)
		return bad(s, e, "its dtype is missing or not known", f);
	if ((rc = parse_shape(s, e, json_find(v, "shape"), f)) < 0 ||
		(rc = parse_offsets(s, e, json_find(v, "data_offsets"), f)) < 0)
		return rc;
	if (!mem_mul(e->t.n_values, bits, &n_bits))
		return bad(s, e, "shape overflows", f);
	if (n_bits % 8 != 0 || n_bits / 8 != e->end - e->begin)
		return bad(s, e, "shape and dtype do not give the size of its span", f);
	e->t.n_bytes = n_bits / 8;
	e->t.data = s->data + e->begin;
	return 0;
}

static char *key_text(struct json_span key)
{
	struct buf name = BUF_INIT;

	json_get_str(key, &name);
	buf_cstr(&name);
	return buf_detach(&name);
}

static int parse_metadata(struct safetensors *s, struct json_span v, struct fault *f)
{
	struct json_cursor at;
	struct json_span key, value;
	size_t cap = 0;

	if (json_kind(v) != '{')
		return fault_set(f, ERR_MODEL_LOAD, "%s: __metadata__ is not an object", s->where);
	for (at = json_iterate(v); json_next_member(&at, &key, &value);) {
		if (json_kind(value) != '"')
			return fault_set(f, ERR_MODEL_LOAD,
				"%s: __metadata__ holds a value that is not a string", s->where);
		if (s->n_metadata == cap) {
			cap = cap ? 2 * cap : 8;
			s->metadata = xreallocarray(s->metadata, cap, sizeof *s->metadata);
		}
		s->metadata[s->n_metadata++] = (struct metadata) { key_text(key), key_text(value) };
	}
	return 0;
}

static int parse_members(struct safetensors *s, struct json_span header, struct fault *f)
{
	struct json_cursor at;
	struct json_span key, value;
	int rc = 0;

	for (at = json_iterate(header); rc == 0 && json_next_member(&at, &key, &value);) {
		if (json_str_is(key, "__metadata__")) {
			rc = parse_metadata(s, value, f);
			continue;
		}
		if (s->n_entries == s->cap_entries) {
			s->cap_entries = s->cap_entries ? 2 * s->cap_entries : 64;
			s->entries = xreallocarray(s->entries, s->cap_entries, sizeof *s->entries);
		}
		struct entry *e = &s->entries[s->n_entries++];
		*e = (struct entry) { .t.name = key_text(key) };
		rc = parse_entry(s, e, value, f);
	}
	return rc;
}

static int by_begin(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	/* Empty tensors may share a begin with the one that follows. */
	return x->end < y->end ? -1 : x->end > y->end;
}

static int check_layout(struct safetensors *s, struct fault *f)
{
	size_t at = 0;

	if (s->n_entries)
		qsort(s->entries, s->n_entries, sizeof *s->entries, by_begin);
	for (size_t i = 0; i < s->n_entries; i++) {
		const struct entry *e = &s->entries[i];
		if (e->begin != at)
			return bad(s, e,
				e->begin < at ? "overlaps the tensor before it"
					      : "there is a hole before it",
				f);
		at = e->end;
	}
	if (at != s->n_data)
		return fault_set(f, ERR_MODEL_LOAD, "%s: %zu bytes follow the last tensor",
			s->where, s->n_data - at);
	for (size_t i = 0; i < s->n_entries; i++) {
		struct entry *e = &s->entries[i];
		HASH_ADD_KEYPTR(hh, s->by_name, e->t.name, strlen(e->t.name), e);
	}
	return 0;
}

static int parse(struct safetensors *s, const uint8_t *bytes, size_t n_bytes, struct fault *f)
{
	struct fault why = { 0 };
	uint64_t n_header = 0;
	int rc;

	if (n_bytes < PREFIX_BYTES)
		return fault_set(
			f, ERR_MODEL_LOAD, "%s: shorter than a safetensors header", s->where);
	for (int i = PREFIX_BYTES - 1; i >= 0; i--)
		n_header = n_header << 8 | bytes[i];
	if (n_header > SAFETENSORS_HEADER_MAX)
		return fault_set(f, ERR_MODEL_LOAD, "%s: header of more than 100 MB", s->where);
	if (n_header > n_bytes - PREFIX_BYTES)
		return fault_set(
			f, ERR_MODEL_LOAD, "%s: ends inside its header (truncated?)", s->where);
	struct json_span header = { (const char *)bytes + PREFIX_BYTES, (size_t)n_header };
	if (json_scan(header.at, header.n, &why) < 0)
		return fault_set(f, ERR_MODEL_LOAD, "%s: header: %s", s->where, why.text);
	header = json_whole(header.at, header.n);
	if (json_kind(header) != '{')
		return fault_set(f, ERR_MODEL_LOAD, "%s: header is not a JSON object", s->where);
	s->data = bytes + PREFIX_BYTES + n_header;
	s->n_data = n_bytes - PREFIX_BYTES - (size_t)n_header;
	rc = parse_members(s, header, f);
	return rc < 0 ? rc : check_layout(s, f);
}

static const struct tensor *find(const struct tensor_source *base, const char *name)
{
	const struct safetensors *s = (const struct safetensors *)base;
	struct entry *e;

	HASH_FIND_STR(s->by_name, name, e);
	return e ? &e->t : NULL;
}

static const struct tensor *at(const struct tensor_source *base, size_t i)
{
	const struct safetensors *s = (const struct safetensors *)base;

	return i < s->n_entries ? &s->entries[i].t : NULL;
}

static const char *metadata(const struct tensor_source *base, const char *key)
{
	const struct safetensors *s = (const struct safetensors *)base;

	for (size_t i = 0; i < s->n_metadata; i++)
		if (strcmp(s->metadata[i].key, key) == 0)
			return s->metadata[i].value;
	return NULL;
}

static void close_source(struct tensor_source *base)
{
	struct safetensors *s = (struct safetensors *)base;

	HASH_CLEAR(hh, s->by_name);
	for (size_t i = 0; i < s->n_entries; i++)
		free((void *)(uintptr_t)s->entries[i].t.name);
	for (size_t i = 0; i < s->n_metadata; i++) {
		free(s->metadata[i].key);
		free(s->metadata[i].value);
	}
	free(s->metadata);
	free(s->entries);
	mapped_file_close(&s->file);
	free(s->where);
	free(s);
}

static const char *file(const struct tensor_source *base, size_t i)
{
	return i == 0 ? base->where : NULL;
}

static const struct tensor_source_ops OPS = { "safetensors", find, at, metadata, file,
	close_source };

static struct safetensors *new_source(const char *where)
{
	struct safetensors *s = xcalloc(1, sizeof *s);

	s->where = xstrdup(where);
	s->base = (struct tensor_source) { &OPS, s->where };
	return s;
}

int safetensors_parse(const void *bytes, size_t n_bytes, const char *where,
	struct tensor_source **out, struct fault *f)
{
	struct safetensors *s = new_source(where);
	int rc = parse(s, bytes, n_bytes, f);

	if (rc < 0)
		close_source(&s->base);
	else
		*out = &s->base;
	return rc;
}

int safetensors_open(const char *path, struct tensor_source **out, struct fault *f)
{
	struct safetensors *s = new_source(path);
	int rc = mapped_file_open(&s->file, path, f);

	if (rc == 0)
		rc = parse(s, s->file.data, s->file.n_bytes, f);
	if (rc < 0)
		close_source(&s->base);
	else
		*out = &s->base;
	return rc;
}
