/* load_spec.h - what a load_model asks for, kept so that the same can be loaded once more. */
#ifndef WORKER_LOAD_SPEC_H
#define WORKER_LOAD_SPEC_H
#include "worker/model/model.h"
#include "worker/worker.h"

/* keep_alive of a model that stays until others need its room, and of one that always stays. */
#define KEEP_WHILE_ROOM (-2.0)
#define KEEP_PINNED     (-1.0)

struct load_spec {
	char *model_id, *path, *dtype;
	char *asked;                  /* options and files as one text: equal for equal loads */
	struct model_options options; /* its strings are those above; no progress */
	double keep_alive;            /* seconds unused, or one of the two above */
	bool is_draft, warmup;
};

/* From checked parameters. ERR_INVALID_PARAMS, ERR_MODEL_LOAD. */
int load_spec_read(struct load_spec *s, const struct request *rq, struct fault *f);
void load_spec_copy(struct load_spec *to, const struct load_spec *from);
void load_spec_release(struct load_spec *s);
/* What it will take, about: told by the bytes of the weights on disk, before it is loaded. */
uint64_t load_spec_bytes(const struct load_spec *s);
#endif
