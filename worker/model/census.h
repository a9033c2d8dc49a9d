/* census.h - what a model's tensors are for, how they are kept, and how much of each there is.
 *
 * Tensors are told apart by the names Hugging Face gives them, which every format hands out;
 * only the tables in the files' headers are read, no weight. */
#ifndef WORKER_MODEL_CENSUS_H
#define WORKER_MODEL_CENSUS_H
#include "worker/model/config.h"
#include "worker/model/tensor_source.h"

enum tensor_group {
	GROUP_EMBEDDING,
	GROUP_ATTENTION,
	GROUP_FFN,
	GROUP_EXPERTS, /* their router too */
	GROUP_NORMS,
	GROUP_HEAD,
	GROUP_OTHER,
	GROUP_COUNT
};
const char *tensor_group_name(enum tensor_group g);
enum tensor_group tensor_group_of(const char *tensor_name);

#define CENSUS_ROWS_MAX 64

/* Tensors of one group kept in one way. Scales count as bytes of the numbers they scale. */
struct census_row {
	enum tensor_group group;
	char type[32]; /* as the file calls it, or "4-bit, groups of 64" */
	size_t n_tensors;
	uint64_t n_parameters, n_bytes;
};

struct census {
	struct census_row rows[CENSUS_ROWS_MAX]; /* by group, then the larger first */
	size_t n_rows;
	size_t n_tensors; /* those beyond the last row are in the sums alone */
	uint64_t n_parameters, n_bytes;
};

/* quantization: MLX's settings (quantization.h), or NULL. */
void census_take(struct census *out, const struct tensor_source *s, struct config *quantization);
#endif
