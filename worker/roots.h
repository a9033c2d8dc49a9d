/* roots.h - the folders where models are looked up by model_id.
 *
 * A model is a folder with config.json and safetensors, or a .gguf file (of a split one its
 * first part). Its id is its path below the root, of a file with or without ".gguf"; in a
 * Hugging Face cache (models--org--name/snapshots/…, in the root or its hub/) the revision
 * that refs/main names goes by org/name. What leads out of the root by a link is not found. */
#ifndef WORKER_ROOTS_H
#define WORKER_ROOTS_H
#include "protocol/err.h"
#include "worker/options.h"

/* The path of a model ("models" is the root when none was given): owned, or NULL with
 * ERR_MODEL_LOAD naming what was looked for. */
char *roots_find(const struct worker_options *o, const char *model_id, struct fault *f);

/* A path the host gave: owned, and as it came. With roots_only it must lie in a root when its links
 * are followed; NULL with ERR_MODEL_LOAD otherwise, whether it exists or not. */
char *roots_admit(const struct worker_options *o, const char *path, struct fault *f);

/* With roots_only: 0 if the files of the model at an admitted path lie in a root as well when their
 * links are followed, else ERR_MODEL_LOAD naming one that does not. */
int roots_check_links(const struct worker_options *o, const char *path, struct fault *f);

struct found_model {
	const char *model_id, *path;
	const char *format;       /* "safetensors" or "gguf" */
	const char *architecture; /* model_type, or a GGUF's own word for it; NULL = unreadable */
	uint64_t n_bytes;         /* of its weights, all shards and parts */
};

#define ROOTS_DEPTH_MAX   4     /* folders below the root */
#define ROOTS_ENTRIES_MAX 65536 /* names looked at, all roots together */
#define ROOTS_MODELS_MAX  4096

/* fn(arg, model) for every model whose id load_model takes, each id once: roots_find of it
 * gives that path. Reads folders and the beginnings of files: may take its time. False if a
 * bound ended the walk early. */
bool roots_each(const struct worker_options *o, void (*fn)(void *arg, const struct found_model *m),
	void *arg);
#endif
