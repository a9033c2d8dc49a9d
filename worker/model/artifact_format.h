/* artifact_format.h - the bytes of an artifact file, for artifact.c and artifact_write.c. */
#ifndef WORKER_MODEL_ARTIFACT_FORMAT_H
#define WORKER_MODEL_ARTIFACT_FORMAT_H
#include "worker/model/artifact.h"
#include <assert.h>

#define ARTIFACT_MAGIC "tandemWA"

struct artifact_header {
	char magic[8];
	uint32_t version, n_parts;
	struct artifact_id key;
	uint64_t n_bytes;   /* of the file */
	uint64_t index_at;  /* the last thing in it */
	uint64_t index_sum; /* of the index */
	char label[ARTIFACT_LABEL_MAX];
	uint64_t sum; /* of all before */
};
static_assert(sizeof(struct artifact_header) == 128, "no holes");

/* Rising by id, no two alike. */
struct artifact_entry {
	struct artifact_id id;
	uint64_t at, n_bytes, sum;
};
static_assert(sizeof(struct artifact_entry) == 40, "no holes");
#endif
