/* glance.h - is this a model, of which kind and how large? By a look at names, sizes and the
 * first bytes alone; whether it loads is model_open's to say. */
#ifndef WORKER_GLANCE_H
#define WORKER_GLANCE_H
#include <stdbool.h>
#include <stdint.h>

struct glance {
	const char *format;
	char architecture[64]; /* "" = not told */
	uint64_t n_bytes;      /* of the weights, all shards and parts */
};

bool glance_is_folder(const char *path); /* a model folder: config.json is there */
bool glance_is_file(const char *path);   /* any regular file */
/* A folder with config.json and safetensors; a .gguf, of a split one the first part. */
bool glance_folder(const char *path, struct glance *out);
bool glance_file(const char *path, struct glance *out);
#endif
