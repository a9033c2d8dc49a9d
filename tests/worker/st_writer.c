#include "tests/worker/st_writer.h"
#include "protocol/mem.h"
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void st_add(struct st_writer *w, const char *name, const char *dtype, const char *shape,
	const void *bytes, size_t n_bytes)
{
	buf_addf(&w->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
		w->header.n_bytes ? "," : "{", name, dtype, shape, w->data.n_bytes,
		w->data.n_bytes + n_bytes);
	buf_add(&w->data, bytes, n_bytes);
}

void st_write(struct st_writer *w, const char *folder, const char *name)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "wb");
	uint8_t prefix[8];

	cr_assert_not_null(file, "%s", path);
	buf_addc(&w->header, '}');
	for (int i = 0; i < 8; i++)
		prefix[i] = (uint8_t)((uint64_t)w->header.n_bytes >> 8 * i);
	cr_assert_eq(fwrite(prefix, 1, 8, file), 8);
	cr_assert_eq(fwrite(w->header.data, 1, w->header.n_bytes, file), w->header.n_bytes);
	cr_assert_eq(fwrite(w->data.data, 1, w->data.n_bytes, file), w->data.n_bytes);
	cr_assert_eq(fclose(file), 0);
	buf_release(&w->header);
	buf_release(&w->data);
	free(path);
}
