/* pooling.h - how the rows of a text become one vector, and what a model says about it.
 *
 * A folder of sentence-transformers says it in modules.json (Transformer, Pooling, Normalize
 * in a line) and 1_Pooling/config.json; a GGUF in <architecture>.pooling_type. */
#ifndef WORKER_MODEL_POOLING_H
#define WORKER_MODEL_POOLING_H
#include "worker/model/config.h"

enum pooling {
	POOLING_MEAN, /* of all rows */
	POOLING_CLS,  /* the first row */
	POOLING_LAST, /* the last row */
};
const char *pooling_name(enum pooling p); /* "mean" … */
enum pooling pooling_parse(const char *name);

struct pooling_defaults {
	enum pooling pooling; /* last where the model says nothing: in a decoder, the one row
				 that has seen the whole text */
	bool normalize;       /* to unit length; true where the model says nothing */
	char trouble[256];    /* "", or what the model asks for and we do not have */
};

/* path: the model's folder or file. What is wrong is kept as `trouble`, so that it costs
 * nobody but embed. Asks config for pooling_type, which gguf_config.c writes. */
void pooling_read(struct pooling_defaults *out, const char *path, struct config *config);
#endif
