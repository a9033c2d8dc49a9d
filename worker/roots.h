/* roots.h - the folders where models are looked up by model_id. */
#ifndef WORKER_ROOTS_H
#define WORKER_ROOTS_H
#include "protocol/err.h"
#include "worker/options.h"

/* root/<model_id> of the first root that has it ("models" when no root was given): owned
 * path, or NULL with ERR_MODEL_LOAD naming what was looked for. */
char *roots_find(const struct worker_options *o, const char *model_id, struct fault *f);

/* fn(arg, model_id, path) for every model folder (one with a config.json) in the roots,
 * root/name and root/organisation/name. */
void roots_each(const struct worker_options *o,
	void (*fn)(void *arg, const char *model_id, const char *path), void *arg);
#endif
