/* st_writer.h - a .safetensors file put together tensor by tensor, for tests. */
#ifndef TESTS_WORKER_ST_WRITER_H
#define TESTS_WORKER_ST_WRITER_H
#include "protocol/buf.h"

struct st_writer {
	struct buf header, data;
};

/* shape as JSON: "[2,3]". */
void st_add(struct st_writer *w, const char *name, const char *dtype, const char *shape,
	const void *bytes, size_t n_bytes);
/* Write folder/name and empty the writer. */
void st_write(struct st_writer *w, const char *folder, const char *name);
#endif
