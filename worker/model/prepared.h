/* prepared.h - what one load makes out of a model's tensors, kept for every later load.
 *
 * weights_room() asks for a part by what it is; the artifact cache has it, or the caller makes it,
 * in pages of the file that will keep it. The cache is not looked at before the first part is
 * asked for, so a model that is used where its file lies costs nothing here. One thread. */
#ifndef WORKER_MODEL_PREPARED_H
#define WORKER_MODEL_PREPARED_H
#include "worker/model/artifact_store.h"
#include "worker/model/tensor_source.h"

/* Raise when weights_*.c makes other bytes of the same request. */
#define PREPARED_LAYOUT 1
/* Smaller ones are made anew: quicker than looked up. */
#define PREPARED_PART_MIN 65536

struct prepared_options {
	const struct artifact_store *store; /* borrowed; its folder may be NULL: nothing is kept */
	const struct tensor_source *source; /* borrowed */
	const char *config;                 /* path of what else decides, or NULL */
	const char *kernels;                /* the instruction set */
	const char *choices;                /* the load's own, that decide what is made */
	const char *model;                  /* path, for people */
	/* As model_options.progress, for what takes time here; may be NULL. */
	bool (*progress)(void *arg, double fraction, const char *stage);
	void *progress_arg;
};

struct prepared;

struct prepared *prepared_new(const struct prepared_options *o); /* strings are borrowed too */
/* Parts stay valid until here. NULL is fine. */
void prepared_free(struct prepared *p);

struct prepared_part {
	const void *ready; /* made before, or … */
	void *room;        /* … to be filled by the caller; both NULL: keep it yourself */
};

/* The next part of this load: the n-th request of a load is told from the others by n, `what`
 * and n_bytes. ERR_CANCELLED. */
int prepared_next(struct prepared *p, const char *what, size_t n_bytes, struct prepared_part *out,
	struct fault *f);
/* No more will be asked for: what was made is kept. Never fails a load. */
void prepared_end(struct prepared *p);
size_t prepared_bytes(const struct prepared *p); /* of mapped parts, shared with other workers */
#endif
