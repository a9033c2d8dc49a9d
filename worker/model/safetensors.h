/* safetensors.h - one .safetensors file, checked whole before the first tensor is used.
 *
 *   u64 n (little-endian) | n bytes of JSON | the tensors' bytes
 *
 * The JSON maps a name to {dtype, shape, data_offsets [begin, end)}, offsets counted from
 * the end of the header; "__metadata__" maps strings to strings. As the format's own
 * reader does (huggingface/safetensors, README and lib.rs), we refuse headers over 100 MB,
 * duplicate names, spans that overlap or leave holes, a span that is not shape × dtype, and
 * a file that does not end with the last tensor. */
#ifndef WORKER_MODEL_SAFETENSORS_H
#define WORKER_MODEL_SAFETENSORS_H
#include "worker/model/tensor_source.h"

#define SAFETENSORS_HEADER_MAX 100000000

/* ERR_MODEL_LOAD naming the file and tensor. *out is owned: tensor_source_close. */
int safetensors_open(const char *path, struct tensor_source **out, struct fault *f);

/* The same over bytes that stay valid until close; `where` names them in errors. */
int safetensors_parse(const void *bytes, size_t n_bytes, const char *where,
	struct tensor_source **out, struct fault *f);
#endif
