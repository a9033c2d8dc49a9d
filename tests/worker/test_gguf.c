/* test_gguf.c - a GGUF is believed only after it adds up. */
#include "protocol/buf.h"
#include "worker/model/gguf.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct buf file;

static void put(uint64_t v, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i++)
		buf_addc(&file, (char)(v >> (8 * i)));
}

static void put_str(const char *s)
{
	put(strlen(s), 8);
	buf_adds(&file, s);
}

static void put_header(uint64_t n_tensors, uint64_t n_keys)
{
	buf_release(&file);
	buf_adds(&file, "GGUF");
	put(3, 4);
	put(n_tensors, 8);
	put(n_keys, 8);
}

static void put_int_key(const char *key, uint32_t v)
{
	put_str(key);
	put(GGUF_U32, 4);
	put(v, 4);
}

struct placed_tensor {
	const char *name;
	uint64_t dims[5];
	uint32_t n_dims, type;
	uint64_t offset;
};

static void put_tensor(struct placed_tensor t)
{
	put_str(t.name);
	put(t.n_dims, 4);
	for (uint32_t i = 0; i < t.n_dims; i++)
		put(t.dims[i], 8);
	put(t.type, 4);
	put(t.offset, 8);
}

static void put_data(size_t n)
{
	while (file.n_bytes % 32)
		buf_addc(&file, 0);
	for (size_t i = 0; i < n; i++)
		buf_addc(&file, (char)i);
}

enum { F32 = 0, Q4_0 = 2 };

/* Two tensors, 96 + 36 bytes: one row of 24 floats, two rows of 32 in Q4_0. */
static void put_good_file(void)
{
	put_header(2, 3);
	put_int_key("general.alignment", 32);
	put_str("names");
	put(GGUF_ARRAY, 4);
	put(GGUF_STRING, 4);
	put(2, 8);
	put_str("one");
	put_str("two");
	put_str("flag");
	put(GGUF_BOOL, 4);
	put(1, 1);
	put_tensor((struct placed_tensor) { "a", { 24 }, 1, F32, 0 });
	put_tensor((struct placed_tensor) { "b", { 32, 2 }, 2, Q4_0, 96 });
	put_data(96 + 36);
}

static void expect_refused(const char *because)
{
	struct gguf *g = NULL;
	struct fault f = { 0 };
	/* A copy of exactly the bytes, so that a sanitizer sees a read beyond them. */
	uint8_t *bytes = malloc(file.n_bytes + 1);
	memcpy(bytes, file.data, file.n_bytes);
	cr_expect_eq(gguf_parse(bytes, file.n_bytes, "x.gguf", &g, &f), ERR_MODEL_LOAD);
	cr_expect(
		strstr(f.text, because) && strstr(f.text, "x.gguf"), "%s, not %s", f.text, because);
	free(bytes);
}

Test(gguf, a_whole_file_gives_its_keys_and_tensors)
{
	struct gguf *g;
	struct fault f = { 0 };
	bool flag = false;
	put_good_file();
	cr_assert_eq(gguf_parse((uint8_t *)file.data, file.n_bytes, "x", &g, &f), 0, "%s", f.text);
	const struct gguf_value *names = gguf_find(g, "names");
	const uint8_t *cursor = names->at;
	cr_expect_eq(names->n, 2);
	cr_expect_eq(gguf_next_string(&cursor).n, 3);
	cr_expect_eq(memcmp(gguf_next_string(&cursor).at, "two", 3), 0);
	cr_expect(gguf_get_bool(g, "flag", &flag) && flag);
	const struct tensor *b = gguf_tensor_named(g, "b");
	cr_expect(b && b->n_dims == 2 && b->dims[0] == 2 && b->dims[1] == 32, "outermost first");
	cr_expect_eq(b->n_bytes, 36);
	cr_expect_eq(((const uint8_t *)b->data)[0], 96);
	gguf_close(g);
}

Test(gguf, a_file_cut_at_any_byte_is_refused)
{
	put_good_file();
	size_t whole = file.n_bytes;
	for (size_t n = 0; n < whole; n++) {
		put_good_file();
		file.n_bytes = n;
		expect_refused("x.gguf");
	}
}

Test(gguf, any_byte_of_the_header_may_lie)
{
	put_good_file();
	size_t n = file.n_bytes - 132;
	for (size_t i = 0; i < n; i++) {
		for (unsigned flip = 1; flip < 256; flip <<= 1) {
			struct gguf *g;
			put_good_file();
			file.data[i] = (char)(file.data[i] ^ (char)flip);
			uint8_t *bytes = malloc(file.n_bytes);
			memcpy(bytes, file.data, file.n_bytes);
			if (gguf_parse(bytes, file.n_bytes, "x", &g, NULL) == 0)
				gguf_close(g);
			free(bytes);
		}
	}
}

static void one_tensor(struct placed_tensor t, size_t n_data)
{
	put_header(1, 0);
	put_tensor(t);
	put_data(n_data);
}

Test(gguf, tensors_that_do_not_add_up_are_named)
{
	one_tensor((struct placed_tensor) { "w", { 8 }, 1, F32, 0 }, 28);
	expect_refused("tensor w: its data runs beyond the end");
	one_tensor((struct placed_tensor) { "w", { 8 }, 1, F32, 32 }, 96);
	expect_refused("tensor w: there is a hole before it");
	one_tensor((struct placed_tensor) { "w", { 8 }, 1, F32, 4 }, 96);
	expect_refused("tensor w: its offset is not aligned");
	one_tensor((struct placed_tensor) { "w", { 8 }, 1, F32, 0 }, 96);
	expect_refused("something after the last tensor");
	one_tensor((struct placed_tensor) { "w", { 31 }, 1, Q4_0, 0 }, 32);
	expect_refused("tensor w: rows that are no whole number of its type's blocks");
	one_tensor((struct placed_tensor) { "w", { 8 }, 1, 77, 0 }, 32);
	expect_refused("tensor w: a type that is not supported");
	one_tensor((struct placed_tensor) { "w", { 0 }, 1, F32, 0 }, 32);
	expect_refused("tensor w: a dimension of 0");
	one_tensor((struct placed_tensor) { "w", { 1ull << 33, 1ull << 33 }, 2, F32, 0 }, 32);
	expect_refused("tensor w: a shape that overflows");
	one_tensor((struct placed_tensor) { "w", { 1ull << 62 }, 1, F32, 0 }, 32);
	expect_refused("tensor w: a size that overflows");
	one_tensor((struct placed_tensor) { "w", { 1, 1, 1, 1 }, 5, F32, 0 }, 32);
	expect_refused("tensor w: more than 4 dimensions");
	put_header(2, 0);
	put_tensor((struct placed_tensor) { "a", { 16 }, 1, F32, 0 });
	put_tensor((struct placed_tensor) { "b", { 16 }, 1, F32, 32 });
	put_data(96);
	expect_refused("tensor b: overlaps another tensor");
	put_header(2, 0);
	put_tensor((struct placed_tensor) { "a", { 8 }, 1, F32, 0 });
	put_tensor((struct placed_tensor) { "a", { 8 }, 1, F32, 32 });
	put_data(64);
	expect_refused("tensor a: is there twice");
}

Test(gguf, metadata_that_does_not_add_up_is_named)
{
	put_header(0, 1);
	put_int_key("general.alignment", 24);
	expect_refused("general.alignment is not a power of two");
	put_header(0, 1);
	put_str("general.alignment");
	put(GGUF_F32, 4);
	put(0, 4);
	expect_refused("general.alignment is not an integer");
	put_header(0, 2);
	put_int_key("k", 1);
	put_int_key("k", 2);
	expect_refused("key k appears twice");
	put_header(0, 1);
	put_str("k");
	put(GGUF_ARRAY, 4);
	put(GGUF_ARRAY, 4);
	put(1, 8);
	expect_refused("key k has an array of arrays");
	put_header(0, 1);
	put_str("k");
	put(GGUF_ARRAY, 4);
	put(GGUF_U64, 4);
	put(1ull << 61, 8);
	expect_refused("key k has a value that runs beyond the file");
	put_header(0, 1);
	put_str("k");
	put(99, 4);
	expect_refused("key k has a value of an unknown type");
	put_header(1ull << 40, 0);
	expect_refused("claims more than the file holds");
	put_header(0, 1ull << 62);
	expect_refused("claims more than the file holds");
}

Test(gguf, versions_other_than_2_and_3_are_refused)
{
	put_good_file();
	file.data[4] = 1;
	expect_refused("version 1 is not supported");
	put_good_file();
	file.data[4] = 2;
	struct gguf *g;
	cr_assert_eq(gguf_parse((uint8_t *)file.data, file.n_bytes, "x", &g, NULL), 0);
	gguf_close(g);
	put_good_file();
	file.data[0] = 'g';
	expect_refused("not a GGUF file");
}
