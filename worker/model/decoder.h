/* decoder.h - a causal transformer as numbers and weights, and what architectures share in
 * reading them from config.json and tensors.
 *
 * The struct is the union of what the architectures need, in the papers' words; an
 * architecture fills what it has and leaves the rest zero. Immutable once bound. */
#ifndef WORKER_MODEL_DECODER_H
#define WORKER_MODEL_DECODER_H
#include "worker/model/backend.h"
#include "worker/model/config.h"
#include "worker/model/rope.h"
#include "worker/model/weights.h"

#define DECODER_ROPES_MAX   2
#define DECODER_LAYERS_MAX  1024
#define DECODER_EXPERTS_MAX 1024
#define ROPE_NONE           (-1)

struct layer {
	struct norm_weight attn_norm;      /* before attention */
	struct norm_weight attn_post_norm; /* of its result, before it joins the residual */
	struct norm_weight q_norm, k_norm; /* n = head_dim: per head; else over the whole row */
	struct norm_weight ffn_norm, ffn_post_norm;
	struct matrix q, k, v, o;
	struct attention attention;
	int rope; /* table index or ROPE_NONE */
	struct ffn ffn;
	struct experts experts; /* n_experts 0: a dense layer, use ffn */
};

struct decoder {
	size_t n_layers, dim, n_heads, n_kv_heads, head_dim, ffn_dim, vocab_size;
	size_t context_length;
	size_t n_experts, n_experts_used, expert_dim; /* 0 = dense */
	enum routing routing;
	float expert_limit; /* ACTIVATION_CLAMPED_SWIGLU */
	float norm_eps;
	float norm_offset; /* Gemma: added to a norm's weight; 0 where the file has added it */
	enum activation activation;
	float residual_scale; /* of a branch as it joins the residual */
	bool tied;            /* the output matrix is the embedding */
	enum with_bias qkv_bias, o_bias, ffn_bias;
	bool straight; /* GPT-2, GPT-NeoX from GGUF: matrices are not turned round, and query, key
			  and value rows are three runs */
	bool parallel; /* attention and FFN read the same residual (GPT-NeoX) */

	struct rope_table ropes[DECODER_ROPES_MAX];
	size_t n_ropes;
	struct layer *layers;    /* [n_layers]; owned */
	struct ffn *expert_ffns; /* [n_layers][n_experts], where layers[].experts point; owned */
	struct embedding embedding;
	struct norm_weight final_norm;
	struct lm_head head;
};

/* How an architecture's config.json differs from the common one: other names of fields (NULL:
 * the common name), and what absent ones mean, as its reference has it. */
struct decoder_presets {
	const char *dim_field, *layers_field, *heads_field, *ffn_field, *context_field;
	const char *eps_field, *activation_field;
	bool tied;
	size_t ffn_of_dim; /* an absent FFN width is this many times dim; 0: it is required */
	size_t head_dim;   /* 0 = dim / n_heads */
	size_t n_heads, n_kv_heads, vocab_size, context_length; /* 0: required, or n_heads */
	double norm_eps, rope_theta;
	double partial_rotary; /* 0 = whole heads */
	const char *activation;
};

/* The fields nearly all share: sizes, heads, activation, tie_word_embeddings; makes the
 * layers with attention over everything, scale 1/sqrt(head_dim) and rope table 0, which it
 * does not fill. */
void decoder_configure(struct decoder *d, struct config *c, const struct decoder_presets *p);
/* Rope table i from the shared fields; layer_type as for rope_configure. */
void decoder_configure_rope(struct decoder *d, struct config *c, size_t i, const char *layer_type,
	const struct decoder_presets *p);
/* layer_types, where present: "full_attention", or with window > 0 "sliding_attention";
 * absent: what is_sliding says (NULL: none is). */
void decoder_configure_windows(struct decoder *d, struct config *c, size_t window,
	bool (*is_sliding)(size_t layer, const void *arg), const void *arg);
bool decoder_slides_always(size_t layer, const void *arg);
/* num_experts or num_local_experts, num_experts_per_tok; expert_dim is left to the caller. */
void decoder_configure_experts(struct decoder *d, struct config *c, size_t used_preset);
/* The activation of that name; `field` names it in errors. */
enum activation decoder_activation(struct config *c, const char *field, const char *name);
enum with_bias decoder_bias(struct config *c, const char *field, bool preset);

/* model.embed_tokens, model.norm (RMS), and lm_head unless tied. */
void decoder_bind_ends(struct decoder *d, struct weights *w);
/* The output matrix by its own name, or the embedding's. */
void decoder_bind_head(struct decoder *d, struct weights *w, const char *name);
/* Layer i's self_attn.{q,k,v,o}_proj. */
void decoder_bind_attention(struct decoder *d, struct weights *w, size_t i);
/* Layer i's self_attn.{q,k}_norm over n elements each. */
void decoder_bind_qk_norm(struct decoder *d, struct weights *w, size_t i, size_t n_q, size_t n_k);
/* Layer i's mlp.{gate,up,down}_proj. */
void decoder_bind_ffn(struct decoder *d, struct weights *w, size_t i);

/* Where a mixture's tensors are, below "model.layers.<i>.": a router, and per expert
 * "<experts>.<e>.<gate>" …, or all in one, as mlx-lm keeps them, "<stacked>.gate_proj" …. */
struct expert_names {
	const char *router, *experts, *gate, *up, *down, *stacked;
};
/* Layer i gets its experts' places, with the decoder's activation and routing. */
void decoder_make_experts(struct decoder *d, size_t i);
void decoder_bind_experts(
	struct decoder *d, struct weights *w, size_t i, const struct expert_names *names);

/* Every matrix a step multiplies with but routers: those of the layers, then the head. */
void decoder_each_matrix(struct decoder *d, void (*fn)(void *arg, struct matrix *m), void *arg);
size_t decoder_q_width(const struct decoder *d);
size_t decoder_kv_width(const struct decoder *d);
void decoder_release(struct decoder *d);
#endif
