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
	float norm_eps;
	enum activation activation;
	float residual_scale; /* of a branch as it joins the residual */
	bool tied;            /* the output matrix is the embedding */
	enum with_bias qkv_bias, o_bias, ffn_bias;
	bool parallel; /* attention and FFN read the same residual (GPT-NeoX) */

	struct rope_table ropes[DECODER_ROPES_MAX];
	size_t n_ropes;
	struct layer *layers;    /* [n_layers]; owned */
	struct ffn *expert_ffns; /* [n_layers][n_experts], where layers[].experts point; owned */
	struct embedding embedding;
	struct norm_weight final_norm;
	struct lm_head head;
};

/* What an absent field of config.json means, as the architecture's reference has it. */
struct decoder_presets {
	bool tied;
	double norm_eps, rope_theta, partial_rotary;
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
enum activation decoder_activation(struct config *c, const char *field, const char *name);

/* model.embed_tokens, model.norm (RMS), and lm_head unless tied. */
void decoder_bind_ends(struct decoder *d, struct weights *w);
/* Layer i's self_attn.{q,k,v,o}_proj. */
void decoder_bind_attention(struct decoder *d, struct weights *w, size_t i);
/* Layer i's mlp.{gate,up,down}_proj. */
void decoder_bind_ffn(struct decoder *d, struct weights *w, size_t i);

size_t decoder_q_width(const struct decoder *d);
size_t decoder_kv_width(const struct decoder *d);
void decoder_release(struct decoder *d);
#endif
