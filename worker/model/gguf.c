/* gguf.c - the container: header, metadata, tensor table. Every count, length and offset is
 * held against the bytes that are there before it is used. */
#include "worker/model/gguf.h"
#include "kernels/quant.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define KEY_BYTES_MAX  65535
#define NAME_BYTES_MAX 255
#define GGUF_DIMS_MAX  4
#define KEYS_MAX       16384 /* far above any file; the tables are sized by the header's word */
#define TENSORS_MAX    131072

struct entry {
	char *key; /* owned; NULL while not read yet */
	struct gguf_value value;
	UT_hash_handle hh;
};

struct placed {
	struct tensor t; /* t.name owned */
	uint64_t offset; /* from the start of the data */
	UT_hash_handle hh;
};

struct gguf {
	struct mapped_file file; /* zeroed when parsing borrowed bytes */
	char *where;
	struct entry *entries;  /* [n_entries] in file order */
	struct entry *metadata; /* by key */
	struct placed *tensors; /* [n_tensors] in file order */
	struct placed *by_name;
	size_t n_entries, n_tensors, alignment;
};

struct reader {
	const uint8_t *at, *end;
	bool short_read; /* something was asked for that is not there */
};

static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (r->short_read || (size_t)(r->end - r->at) < n) {
		r->short_read = true;
		return NULL;
	}
	r->at += n;
	return p;
}

static uint64_t take_uint(struct reader *r, size_t n_bytes)
{
	const uint8_t *p = take(r, n_bytes);
	uint64_t v = 0;

	for (size_t i = 0; p && i < n_bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static struct gguf_string take_string(struct reader *r)
{
	uint64_t n = take_uint(r, 8);
	const uint8_t *p = n <= (uint64_t)(r->end - r->at) ? take(r, (size_t)n) : NULL;

	if (!p)
		r->short_read = true;
	return (struct gguf_string) { (const char *)p, p ? (size_t)n : 0 };
}

size_t gguf_type_bytes(enum gguf_type t)
{
	static const uint8_t bytes[GGUF_TYPE_COUNT] = { [GGUF_U8] = 1,
		[GGUF_I8] = 1,
		[GGUF_U16] = 2,
		[GGUF_I16] = 2,
		[GGUF_U32] = 4,
		[GGUF_I32] = 4,
		[GGUF_F32] = 4,
		[GGUF_BOOL] = 1,
		[GGUF_U64] = 8,
		[GGUF_I64] = 8,
		[GGUF_F64] = 8 };
	return t < GGUF_TYPE_COUNT ? bytes[t] : 0;
}

/* -- metadata ------------------------------------------------------------------------------ */

static const char *take_array(struct reader *r, struct gguf_value *v)
{
	uint64_t element = take_uint(r, 4), n = take_uint(r, 8);
	size_t each = element < GGUF_TYPE_COUNT ? gguf_type_bytes((enum gguf_type)element) : 0;

	v->element = (enum gguf_type)element;
	v->n = (size_t)n;
	v->at = r->at;
	if (element == GGUF_STRING) {
		/* Eight bytes of length each, so the count is bounded by the file. */
		for (uint64_t i = 0; i < n && !r->short_read; i++)
			take_string(r);
		return NULL;
	}
	if (each == 0)
		return element == GGUF_ARRAY ? "an array of arrays" : "an array of an unknown type";
	if (n > (uint64_t)(r->end - r->at) / each)
		r->short_read = true;
	else
		take(r, (size_t)n * each);
	return NULL;
}

/* NULL, or what is wrong with the value. */
static const char *take_value(struct reader *r, struct gguf_value *v)
{
	uint64_t type = take_uint(r, 4);

	v->type = (enum gguf_type)type;
	if (type == GGUF_ARRAY)
		return take_array(r, v);
	if (type == GGUF_STRING) {
		struct gguf_string s = take_string(r);
		v->at = (const uint8_t *)s.at;
		v->n = s.n;
		return NULL;
	}
	if (type >= GGUF_TYPE_COUNT)
		return "a value of an unknown type";
	v->at = take(r, gguf_type_bytes(v->type));
	return type == GGUF_BOOL && v->at && *v->at > 1 ? "a bool that is neither 0 nor 1" : NULL;
}

static int bad(const struct gguf *g, const char *what, struct fault *f)
{
	return fault_set(f, ERR_MODEL_LOAD, "%s: %s", g->where, what);
}

static int read_entry(struct gguf *g, struct reader *r, struct fault *f)
{
	struct gguf_string key = take_string(r);
	struct entry *e, *same;
	const char *wrong;

	if (r->short_read || key.n == 0 || key.n > KEY_BYTES_MAX || memchr(key.at, 0, key.n))
		return bad(g, r->short_read ? "the metadata is cut off" : "a key is malformed", f);
	e = &g->entries[g->n_entries++];
	e->key = xstrndup(key.at, key.n);
	HASH_FIND_STR(g->metadata, e->key, same);
	if (same)
		return fault_set(
			f, ERR_MODEL_LOAD, "%s: key %.100s appears twice", g->where, e->key);
	HASH_ADD_KEYPTR(hh, g->metadata, e->key, key.n, e);
	wrong = take_value(r, &e->value);
	if (r->short_read)
		wrong = "a value that runs beyond the file";
	return wrong ? fault_set(
			       f, ERR_MODEL_LOAD, "%s: key %.100s has %s", g->where, e->key, wrong)
		     : 0;
}

/* -- tensors ------------------------------------------------------------------------------- */

static int bad_tensor(
	const struct gguf *g, const struct tensor *t, const char *what, struct fault *f)
{
	return fault_set(f, ERR_MODEL_LOAD, "%s: tensor %s: %s", g->where, t->name, what);
}

static const char *take_shape(struct reader *r, struct tensor *t)
{
	uint64_t n_dims = take_uint(r, 4), dims[GGUF_DIMS_MAX];

	if (n_dims > GGUF_DIMS_MAX)
		return "more than 4 dimensions";
	t->n_dims = (size_t)n_dims;
	t->n_values = 1;
	for (size_t i = 0; i < t->n_dims; i++)
		dims[i] = take_uint(r, 8);
	for (size_t i = 0; i < t->n_dims && !r->short_read; i++) {
		t->dims[i] = (size_t)dims[t->n_dims - 1 - i]; /* the file has the innermost first */
		if (t->dims[i] == 0)
			return "a dimension of 0";
		if (!mem_mul(t->n_values, t->dims[i], &t->n_values))
			return "a shape that overflows";
	}
	return NULL;
}

static const char *take_type(struct reader *r, struct tensor *t)
{
	uint32_t id = (uint32_t)take_uint(r, 4);
	size_t inner = t->n_dims ? t->dims[t->n_dims - 1] : 1;

	if (r->short_read)
		return NULL;
	if (!quant_from_gguf(id, &t->dtype))
		return "a type that is not supported";
	const struct quant_type *q = quant_type(t->dtype);
	t->kind = TENSOR_WEIGHT;
	t->dtype_name = q->name;
	if (inner % q->block_elements != 0)
		return "rows that are no whole number of its type's blocks";
	if (!mem_mul(t->n_values / q->block_elements, q->block_bytes, &t->n_bytes))
		return "a size that overflows";
	return NULL;
}

static int read_tensor(struct gguf *g, struct placed *p, struct reader *r, struct fault *f)
{
	struct gguf_string name = take_string(r);
	struct placed *same;
	const char *wrong;

	if (r->short_read || name.n == 0 || name.n > NAME_BYTES_MAX || memchr(name.at, 0, name.n))
		return bad(g,
			r->short_read ? "the tensor table is cut off"
				      : "a tensor's name is malformed",
			f);
	p->t.name = xstrndup(name.at, name.n);
	HASH_FIND_STR(g->by_name, p->t.name, same);
	if (same)
		return bad_tensor(g, &p->t, "is there twice", f);
	HASH_ADD_KEYPTR(hh, g->by_name, p->t.name, name.n, p);
	wrong = take_shape(r, &p->t);
	if (!wrong && !r->short_read)
		wrong = take_type(r, &p->t);
	p->offset = take_uint(r, 8);
	if (r->short_read)
		wrong = "the table is cut off";
	return wrong ? bad_tensor(g, &p->t, wrong, f) : 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct placed *const *x = a, *const *y = b;

	return ((*x)->offset > (*y)->offset) - ((*x)->offset < (*y)->offset);
}

/* Tensors lie one after another, padded to the alignment, and nothing else is there. */
static int check_layout(struct gguf *g, const uint8_t *data, size_t n_data, struct fault *f)
{
	struct placed **order = xcalloc(g->n_tensors + 1, sizeof *order);
	uint64_t end = 0;
	int rc = 0;

	for (size_t i = 0; i < g->n_tensors; i++)
		order[i] = &g->tensors[i];
	qsort(order, g->n_tensors, sizeof *order, by_offset);
	for (size_t i = 0; i < g->n_tensors && rc == 0; i++) {
		struct placed *p = order[i];
		uint64_t begin = (end + g->alignment - 1) / g->alignment * g->alignment;
		if (p->offset % g->alignment != 0)
			rc = bad_tensor(g, &p->t, "its offset is not aligned", f);
		else if (p->offset < end)
			rc = bad_tensor(g, &p->t, "overlaps another tensor", f);
		else if (p->offset != begin)
			rc = bad_tensor(g, &p->t, "there is a hole before it", f);
		else if (p->offset > n_data || p->t.n_bytes > n_data - p->offset)
			rc = bad_tensor(g, &p->t, "its data runs beyond the end of the file", f);
		else
			p->t.data = data + p->offset;
		end = p->offset + p->t.n_bytes;
	}
	if (rc == 0 && end < n_data && n_data - end >= g->alignment)
		rc = bad(g, "there is something after the last tensor", f);
	free(order);
	return rc;
}

/* -- the file ------------------------------------------------------------------------------ */

static int read_alignment(struct gguf *g, struct fault *f)
{
	int64_t alignment = 32;

	if (gguf_find(g, "general.alignment") && !gguf_get_int(g, "general.alignment", &alignment))
		return bad(g, "general.alignment is not an integer", f);
	if (alignment < 8 || alignment > (1 << 20) || (alignment & (alignment - 1)))
		return bad(g, "general.alignment is not a power of two from 8 to 1048576", f);
	g->alignment = (size_t)alignment;
	return 0;
}

static int read_header(struct gguf *g, struct reader *r, uint64_t counts[2], struct fault *f)
{
	const uint8_t *magic = take(r, 4);
	uint64_t version = take_uint(r, 4);

	if (!magic || memcmp(magic, "GGUF", 4) != 0)
		return bad(g, "not a GGUF file", f);
	if (version != 2 && version != 3)
		return fault_set(f, ERR_MODEL_LOAD,
			"%s: GGUF version %u is not supported (2 and 3 are)", g->where,
			(unsigned)version);
	counts[0] = take_uint(r, 8);
	counts[1] = take_uint(r, 8);
	/* The least a tensor and a key take; so the counts are bounded by the file. */
	if (r->short_read || counts[0] > (uint64_t)(r->end - r->at) / 24 ||
		counts[1] > (uint64_t)(r->end - r->at) / 13)
		return bad(g, "the header claims more than the file holds", f);
	if (counts[0] > TENSORS_MAX || counts[1] > KEYS_MAX)
		return bad(g, "too many tensors or metadata keys", f);
	return 0;
}

static int read_all(struct gguf *g, const uint8_t *bytes, size_t n, struct fault *f)
{
	struct reader r = { bytes, bytes + n, false };
	uint64_t counts[2] = { 0, 0 };
	int rc = read_header(g, &r, counts, f);

	if (rc != 0)
		return rc;
	g->entries = xcalloc((size_t)counts[1] + 1, sizeof *g->entries);
	for (uint64_t i = 0; rc == 0 && i < counts[1]; i++)
		rc = read_entry(g, &r, f);
	if (rc == 0)
		rc = read_alignment(g, f);
	if (rc != 0)
		return rc;
	g->tensors = xcalloc((size_t)counts[0] + 1, sizeof *g->tensors);
	for (uint64_t i = 0; rc == 0 && i < counts[0]; i++) {
		g->n_tensors++;
		rc = read_tensor(g, &g->tensors[i], &r, f);
	}
	if (rc != 0 || g->n_tensors == 0)
		return rc;
	size_t begin = ((size_t)(r.at - bytes) + g->alignment - 1) / g->alignment * g->alignment;
	if (begin > n)
		return bad(g, "the file ends before its data", f);
	return check_layout(g, bytes + begin, n - begin, f);
}

int gguf_parse(
	const uint8_t *bytes, size_t n, const char *where, struct gguf **out, struct fault *f)
{
	struct gguf *g = xcalloc(1, sizeof *g);
	int rc;

	g->where = xstrdup(where);
	rc = read_all(g, bytes, n, f);
	if (rc < 0)
		gguf_close(g);
	else
		*out = g;
	return rc;
}

int gguf_open(const char *path, struct gguf **out, struct fault *f)
{
	struct mapped_file file;
	int rc = mapped_file_open(&file, path, f);

	if (rc < 0)
		return rc;
	rc = gguf_parse(file.data, file.n_bytes, path, out, f);
	if (rc < 0)
		mapped_file_close(&file);
	else
		(*out)->file = file;
	return rc;
}

void gguf_close(struct gguf *g)
{
	if (!g)
		return;
	HASH_CLEAR(hh, g->metadata);
	HASH_CLEAR(hh, g->by_name);
	for (size_t i = 0; i < g->n_entries; i++)
		free(g->entries[i].key);
	free(g->entries);
	for (size_t i = 0; i < g->n_tensors; i++)
		free((char *)(uintptr_t)g->tensors[i].t.name);
	free(g->tensors);
	mapped_file_close(&g->file);
	free(g->where);
	free(g);
}

/* -- questions ----------------------------------------------------------------------------- */

const char *gguf_where(const struct gguf *g)
{
	return g->where;
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
	const struct entry *e;

	HASH_FIND_STR(g->metadata, key, e);
	return e ? &e->value : NULL;
}

const char *gguf_key(const struct gguf *g, size_t i)
{
	return i < g->n_entries ? g->entries[i].key : NULL;
}

const struct tensor *gguf_tensor(const struct gguf *g, size_t i)
{
	return i < g->n_tensors ? &g->tensors[i].t : NULL;
}

const struct tensor *gguf_tensor_named(const struct gguf *g, const char *name)
{
	const struct placed *p;

	HASH_FIND_STR(g->by_name, name, p);
	return p ? &p->t : NULL;
}
