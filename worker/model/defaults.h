/* defaults.h - how a model asks to be sampled: generation_config.json, and every id that
 * ends a text. */
#ifndef WORKER_MODEL_DEFAULTS_H
#define WORKER_MODEL_DEFAULTS_H
#include "worker/model/config.h"
#include "worker/model/model.h"

/* generation may be NULL. A field of the wrong type is ERR_MODEL_LOAD naming it. */
int defaults_read(struct model_defaults *d, struct config *config, struct config *generation,
	struct fault *f);
#endif
