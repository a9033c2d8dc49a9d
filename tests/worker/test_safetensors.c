#include "protocol/buf.h"
#include "protocol/mem.h"
#include "worker/model/safetensors.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A file of this header and n_data zero bytes. */
static struct buf file_of(const char *header, size_t n_data)
{
	struct buf b = BUF_INIT;
	size_t n = strlen(header);

	for (int i = 0; i < 8; i++)
		buf_addc(&b, (char)(n >> 8 * i));
	buf_adds(&b, header);
	buf_reserve(&b, n_data);
	memset(b.data + b.n_bytes, 0, n_data);
	b.n_bytes += n_data;
	return b;
}

static struct tensor_source *open_good(const struct buf *b)
{
	struct tensor_source *s = NULL;
	struct fault f = { 0 };

	cr_assert_eq(safetensors_parse(b->data, b->n_bytes, "test", &s, &f), 0, "%s", f.text);
	return s;
}

#define GOOD                                                                     \
	"{\"__metadata__\":{\"format\":\"pt\"},"                                 \
	"\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"     \
	"\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"     \
	"\"none\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[24,24]}," \
	"\"one\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[32,40]}}  "

Test(safetensors, tensors_are_found_with_their_shape_and_bytes)
{
	struct buf b = file_of(GOOD, 40);
	struct tensor_source *s = open_good(&b);
	const struct tensor *a = tensor_find(s, "a"), *t;

	cr_assert(a && a->kind == TENSOR_WEIGHT && a->dtype == DTYPE_F32);
	cr_assert(a->n_dims == 2 && a->dims[0] == 2 && a->dims[1] == 3 && a->n_bytes == 24);
	t = tensor_find(s, "b");
	cr_assert(t && t->dtype == DTYPE_BF16 && t->n_values == 4);
	cr_assert_eq((const uint8_t *)t->data, (const uint8_t *)a->data + 24);
	t = tensor_find(s, "none");
	cr_assert(t && t->n_values == 0 && t->n_bytes == 0);
	t = tensor_find(s, "one");
	cr_assert(t && t->n_dims == 0 && t->n_values == 1 && t->kind == TENSOR_OTHER);
	cr_assert_null(tensor_find(s, "c"));
	cr_assert_str_eq(s->ops->metadata(s, "format"), "pt");
	cr_assert_null(s->ops->metadata(s, "other"));
	cr_assert_not_null(tensor_at(s, 3));
	cr_assert_null(tensor_at(s, 4));
	tensor_source_close(s);
	buf_release(&b);
}

/* Any prefix of a good file is missing something and must be refused; the bytes are copied to
 * a block of their exact size, so that a sanitizer sees a read past the end. */
Test(safetensors, a_file_cut_anywhere_is_refused)
{
	struct buf b = file_of(GOOD, 40);

	for (size_t n = 0; n < b.n_bytes; n++) {
		struct tensor_source *s = NULL;
		struct fault f = { 0 };
		char *cut = malloc(n ? n : 1);
		memcpy(cut, b.data, n);
		cr_assert_eq(
			safetensors_parse(cut, n, "test", &s, &f), ERR_MODEL_LOAD, "cut at %zu", n);
		cr_assert(strstr(f.text, "test: ") == f.text, "%s", f.text);
		free(cut);
	}
	buf_release(&b);
}

#define T(dtype, shape, offsets) \
	"{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define PAIR(first, second)                                                   \
	"{\"v\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first "}," \
	"\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

Test(safetensors, hostile_headers_are_refused_by_name)
{
	static const struct {
		const char *header;
		size_t n_data;
		const char *says;
	} BAD[] = {
		{ "", 0, "header" },
		{ "[]", 0, "not a JSON object" },
		{ "{\"w\":1}", 0, "tensor w: not an object" },
		{ "{", 0, "header" },
		{ "{}", 4, "4 bytes follow" },
		{ T("\"F32\"", "[1]", "[0,4]"), 8, "4 bytes follow" },
		{ T("\"F32\"", "[1]", "[0,4]"), 3, "outside the file" },
		{ T("\"F32\"", "[2]", "[0,4]"), 4, "tensor w: shape and dtype" },
		{ T("\"F33\"", "[1]", "[0,4]"), 4, "tensor w: its dtype" },
		{ T("7", "[1]", "[0,4]"), 4, "dtype" },
		{ T("\"F32\"", "[-1]", "[0,4]"), 4, "not a size" },
		{ T("\"F32\"", "[1.5]", "[0,4]"), 4, "not a size" },
		{ T("\"F32\"", "\"x\"", "[0,4]"), 4, "shape is not an array" },
		{ T("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "8 dimensions" },
		{ T("\"F32\"", "[4294967296,4294967296]", "[0,4]"), 4, "overflows" },
		{ T("\"F32\"", "[4611686018427387905]", "[0,4]"), 4, "overflows" },
		{ T("\"F32\"", "[1]", "[4,0]"), 4, "outside" },
		{ T("\"F32\"", "[1]", "[0]"), 4, "pair" },
		{ T("\"F32\"", "[1]", "[0,4,4]"), 4, "pair" },
		{ T("\"F32\"", "[1]", "[-4,0]"), 4, "pair" },
		{ T("\"F32\"", "[1]", "[0,9223372036854775807]"), 4, "outside" },
		{ T("\"F4\"", "[3]", "[0,2]"), 2, "shape and dtype" },
		{ T("\"F32\"", "[1]", "null"), 4, "not an array" },
		{ "{\"w\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets" },
		{ "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1,
			"does not know" },
		{ PAIR("[0,4]", "[2,6]"), 6, "overlaps" },
		{ PAIR("[0,4]", "[0,4]"), 4, "overlaps" },
		{ PAIR("[0,4]", "[6,10]"), 10, "hole" },
		{ PAIR("[4,8]", "[8,12]"), 12, "hole" },
		{ "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
		  "\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
			1, "header" },
		{ "{\"__metadata__\":3}", 0, "__metadata__" },
		{ "{\"__metadata__\":{\"a\":1}}", 0, "not a string" },
	};

	for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
		struct buf b = file_of(BAD[i].header, BAD[i].n_data);
		struct tensor_source *s = NULL;
		struct fault f = { 0 };
		cr_expect_eq(safetensors_parse(b.data, b.n_bytes, "test", &s, &f), ERR_MODEL_LOAD,
			"%s", BAD[i].header);
		cr_expect(strstr(f.text, BAD[i].says), "%s: \"%s\" lacks \"%s\"", BAD[i].header,
			f.text, BAD[i].says);
		buf_release(&b);
	}
}

Test(safetensors, a_header_of_more_than_100_mb_is_refused_unread)
{
	const uint8_t bytes[16] = { 0x01, 0xe1, 0xf5, 0x05 }; /* 100 000 001 */
	struct tensor_source *s = NULL;
	struct fault f = { 0 };

	cr_assert_eq(safetensors_parse(bytes, sizeof bytes, "test", &s, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "100 MB"), "%s", f.text);
}

Test(safetensors, every_byte_of_a_header_may_be_anything)
{
	struct buf b = file_of(GOOD, 40);
	uint32_t r = 7;

	for (size_t i = 0; i < 20000; i++) {
		struct tensor_source *s = NULL;
		r = r * 1664525 + 1013904223;
		size_t at = r % (b.n_bytes - 40);
		char old = b.data[at];
		b.data[at] = (char)(r >> 24);
		if (safetensors_parse(b.data, b.n_bytes, "test", &s, NULL) == 0)
			tensor_source_close(s);
		b.data[at] = old;
	}
	buf_release(&b);
}

Test(safetensors, a_missing_file_or_a_folder_is_an_error_with_its_path)
{
	struct tensor_source *s = NULL;
	struct fault f = { 0 };

	cr_assert_eq(safetensors_open("/nonexistent/x.safetensors", &s, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "/nonexistent/x.safetensors: No such file"), "%s", f.text);
	cr_assert_eq(safetensors_open("/tmp", &s, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "not a regular file"), "%s", f.text);
}
