/* shards.h - weights in several .safetensors files, with an index that says which tensor is
 * where (model.safetensors.index.json: {"weight_map": {name: file}}).
 *
 * File names are names in the index's own folder: no '/' and no "..". Every tensor that the
 * index names must be in the file it names. */
#ifndef WORKER_MODEL_SHARDS_H
#define WORKER_MODEL_SHARDS_H
#include "worker/model/tensor_source.h"

#define SHARDS_MAX 4096

/* ERR_MODEL_LOAD naming the index, file or tensor. *out is owned: tensor_source_close. */
int shards_open(const char *index_path, struct tensor_source **out, struct fault *f);
#endif
