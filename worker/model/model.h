/* model.h - a loaded model: weights, tokenizer, defaults, and one ragged forward pass.
 *
 * A model is immutable after model_open and may be shared by threads for reading. What
 * changes while generating lives elsewhere: the KV cache (kv.h) and a context of scratch
 * memory, both owned by the compute thread.
 *
 * Determinism: a row's logits depend on its own token, position, `prefill` mark and KV
 * history alone, never on which rows travel with it, how a prompt was cut into chunks, or
 * the number of threads: bit for bit. */
#ifndef WORKER_MODEL_MODEL_H
#define WORKER_MODEL_MODEL_H
#include "protocol/err.h"
#include "worker/model/kv.h"
#include <stdint.h>

struct artifact_store; /* artifact_store.h */
struct census;         /* census.h */
struct chat;
struct pooling_defaults; /* pooling.h */
struct tokenizer;
struct pool; /* kernels/pool.h */
struct model;
struct model_context;

/* What weights are multiplied with, where the CPU has the products: int8 for quantized ones of a
 * packed kind (kernels/packed.h), bf16 for bf16; else, and with FLOAT, products are exact. AUTO
 * does as the format's own engine: like INT8 for GGUF and for what is quantized at load, floats for
 * the others. */
enum activations { ACTIVATIONS_AUTO, ACTIVATIONS_FLOAT, ACTIVATIONS_INT8 };

/* What weights stored as floats become when they are loaded (quantizing.h). */
enum quantize { QUANTIZE_NONE, QUANTIZE_INT8, QUANTIZE_INT4 };

struct model_options {
	const char *path;      /* folder or file; borrowed during model_open */
	size_t context_length; /* 0 = the model's own; larger than its own is refused */
	const char *dtype;     /* NULL = as stored; else "float32" "float16" "bfloat16": refused
				  with a sentence where it cannot be honoured */
	enum kv_dtype kv_dtype;
	enum activations activations;
	enum quantize quantize;
	size_t n_threads;                   /* that make weights ready; 0 = one */
	const struct artifact_store *cache; /* of what is made out of the weights; NULL = none;
					       borrowed until model_close */
	/* For inspection: everything is checked, but of large tensors nothing is read, so the
	 * model cannot compute; and *out is set on failure too, with what was found till then:
	 * facts may be 0 or NULL, so may tokenizer and chat. */
	bool headers_only;
	/* Called now and then during the load with 0..1 and what is being done; may be NULL.
	 * Returning false abandons the load with ERR_CANCELLED. */
	bool (*progress)(void *arg, double fraction, const char *stage);
	void *progress_arg;
};

/* Facts for load_model, list_models, check_draft. Strings are borrowed from the model. */
struct model_info {
	const char *architecture;   /* config.json model_type: "llama" … */
	const char *format;         /* "safetensors" … */
	const char *dtype;          /* of the weights: "bfloat16", "float32" … */
	const char *quantization;   /* "none" … */
	const char *tokenizer_type; /* "bpe" … */
	const char *path;           /* real path */
	uint64_t parameter_count;
	size_t vocab_size;     /* rows of the output matrix: length of a logits row */
	size_t context_length; /* tokens */
	size_t n_layers, n_heads, n_kv_heads, head_dim, dim, ffn_dim;
	size_t weight_bytes; /* mapped or resident, but for what packed forms stand in for */
	size_t shared_bytes; /* of them mapped from files: one copy for all workers */
	size_t packed_bytes; /* of them in the artifact cache, shared with its other users */
	size_t kv_bytes_per_token;
	/* Prompts up to this length share their KV wherever they share their beginning; a longer
	 * one's rotary frequencies depend on its length. */
	size_t plain_length;
};

/* generation_config.json; absent values are NAN / -1. */
struct model_defaults {
	double temperature, top_p, top_k, min_p, typical_p, repetition_penalty;
	double max_new_tokens;
	int do_sample;   /* 0: temperature defaults to 0; 1; -1 unknown */
	int32_t eos[16]; /* every id that ends a text (config and generation_config together) */
	size_t n_eos;
};

/* Errors: ERR_MODEL_LOAD naming the file, tensor or config field; ERR_TOKENIZER; ERR_NOMEM;
 * ERR_CANCELLED. *out is owned: model_close once no context uses it. */
int model_open(const struct model_options *opt, struct model **out, struct fault *f);
void model_close(struct model *m);

const struct model_info *model_info(const struct model *m);
void model_census(const struct model *m, struct census *out);
const struct model_defaults *model_defaults(const struct model *m);
const struct pooling_defaults *model_pooling(const struct model *m);
const struct tokenizer *model_tokenizer(const struct model *m);
const struct chat *model_chat(const struct model *m); /* never NULL; may hold no template */
/* The block pool that fits this model, with at most max_bytes of KV. Owned: kv_pool_free. */
struct kv_pool *model_kv_pool(const struct model *m, size_t max_bytes, struct fault *f);

/* Scratch for steps of at most max_rows rows; allocates once, model_forward never does.
 * One context is used by one thread at a time; pool is borrowed until it is freed. NULL with
 * ERR_NOMEM in *f. */
struct model_context *model_context_new(
	const struct model *m, struct pool *pool, size_t max_rows, struct fault *f);
void model_context_free(struct model_context *c);
/* Its scratch is in memory afterwards: no step waits for the system to find any. */
void model_context_touch(struct model_context *c);

/* One row of a ragged step. Rows of one sequence are consecutive with rising positions,
 * starting at that sequence's current KV length; kv_reserve was called for them. */
struct batch_row {
	int32_t token; /* 0 <= token < vocab_size, checked by the caller */
	int32_t pos;   /* 0-based */
	struct kv_seq *seq;
	bool prefill; /* a prompt token (as opposed to a generated or drafted one): decides
			 which of the two row-exact multiply paths computes it */
	bool want_logits;
	float *hidden; /* [dim], where this row's last hidden state goes, after the final norm;
			  NULL = unwanted */
};

/* Run all rows through the model: K and V of every row are appended to its sequence (whose
 * length grows by its rows) and logits of the rows that want them are written, in row
 * order, to logits [n_wanted][vocab_size] float32. 0, or ERR_GENERATION. */
int model_forward(struct model_context *c, const struct batch_row *rows, size_t n_rows,
	float *logits, struct fault *f);
#endif
