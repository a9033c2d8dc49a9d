/* format.h - a way models are kept on disk: everything model.c needs from one path.
 *
 * One file and one row in model.c per format. Whatever the files call things, a format hands
 * out Hugging Face's names: config fields as in config.json (a GGUF translates its
 * metadata), tensor names as transformers saves them. */
#ifndef WORKER_MODEL_FORMAT_H
#define WORKER_MODEL_FORMAT_H
#include "worker/model/config.h"
#include "worker/model/tensor_source.h"
#include "worker/text/chat.h"
#include "worker/text/tokenizer.h"

struct model_files {
	const char *format;        /* "safetensors" … */
	struct config *config;     /* hyper-parameters */
	struct config *generation; /* generation_config.json, or NULL */
	struct tensor_source *tensors;
	struct tokenizer *tokenizer;
	struct chat *chat; /* templates, if any */
};

struct format {
	const char *name;
	/* By a look at the path alone; the first format that says yes opens it. */
	bool (*recognises)(const char *path);
	/* All or nothing: on failure what was opened is closed again by model_files_close. */
	int (*open)(const char *path, struct model_files *out, struct fault *f);
};

void model_files_close(struct model_files *m); /* of a half-opened one too */

extern const struct format FORMAT_HF_FOLDER, FORMAT_GGUF;
#endif
