/* gguf_model.h - what a GGUF file says about its model, in Hugging Face's words.
 *
 * A row per architecture (gguf_arch.c): its config fields, its tensors' names, and where the
 * file keeps numbers otherwise than Hugging Face does. */
#ifndef WORKER_MODEL_GGUF_MODEL_H
#define WORKER_MODEL_GGUF_MODEL_H
#include "protocol/buf.h"
#include "worker/model/config.h"
#include "worker/model/gguf.h"
#include "worker/text/chat.h"
#include "worker/text/tokenizer.h"

struct gguf_rename {
	const char *from, *to; /* before ".weight" or ".bias"; %N = the layer's number */
};

struct gguf_arch {
	const char *name;                /* general.architecture */
	const char *model_type;          /* of config.json */
	const struct gguf_rename *names; /* beyond those all share; ends with { NULL } */
	const char *fixed;     /* config members that the metadata does not carry, or "" */
	bool rope_pairs;       /* query and key rows permuted for neighbouring pairs */
	const char *eps_field; /* where the norm's epsilon goes */
	const char *dim_field, *layers_field, *heads_field, *ffn_field, *context_field; /* NULL:
				   hidden_size, num_hidden_layers, … */
};

/* The row of the file's general.architecture; NULL with ERR_MODEL_LOAD naming it. */
const struct gguf_arch *gguf_arch_of(const struct gguf *g, struct fault *f);

/* Metadata → config.json fields. A key of the architecture that is not understood is refused
 * by name. *out: config_free. */
int gguf_config(
	const struct gguf *g, const struct gguf_arch *arch, struct config **out, struct fault *f);

/* The tensors of all parts under Hugging Face's names. Takes the parts (also on failure). */
int gguf_tensors(struct gguf **parts, size_t n_parts, const struct gguf_arch *arch,
	struct tensor_source **out, struct fault *f);

int gguf_tokenizer(const struct gguf *g, struct tokenizer **out, struct fault *f);
struct chat *gguf_chat(const struct gguf *g);
#endif
