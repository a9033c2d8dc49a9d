/* arch_gpt_oss.c - gpt-oss (arXiv:2508.10925): attention sinks, every other layer sliding, and
 * experts of a clamped SwiGLU with biases. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.head_dim = 64,
	.norm_eps = 1e-5,
	.rope_theta = 150000,
};

static bool is_even(size_t layer, const void *arg)
{
	(void)arg;
	return layer % 2 == 0;
}

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(d, c, config_count_or(c, "sliding_window", 128), is_even, NULL);
	config_ignore(c, "initial_context_length"); /* the rope's, said twice */
	config_ignore(c, "experts_per_token");      /* num_experts_per_tok, said twice */
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", true);
	decoder_configure_experts(d, c, 4);
	d->expert_dim = d->ffn_dim;
	d->expert_limit = (float)config_num_or(c, "swiglu_limit", 7);
	d->activation = ACTIVATION_CLAMPED_SWIGLU;
	d->routing = ROUTE_SOFTMAX_TOP;
}

/* Gate and up are interleaved column by column, and matrices are stored turned round. */
static void bind_experts(struct decoder *d, struct weights *w, size_t i)
{
	const size_t n = d->n_experts, wide = d->expert_dim, dim = d->dim;
	struct experts *x = &d->layers[i].experts;
	const struct tensor *both = weights_blocks(
		w, (size_t[]) { n, dim, 2 * wide }, "model.layers.%zu.mlp.experts.gate_up_proj", i);
	const struct tensor *down = weights_blocks(
		w, (size_t[]) { n, wide, dim }, "model.layers.%zu.mlp.experts.down_proj", i);
	const float *both_bias =
		weights_table(w, n, 2 * wide, "model.layers.%zu.mlp.experts.gate_up_proj_bias", i);
	const float *down_bias =
		weights_table(w, n, dim, "model.layers.%zu.mlp.experts.down_proj_bias", i);

	for (size_t e = 0; e < n && w->rc == 0; e++) {
		struct ffn *f = &x->experts[e];
		f->limit = d->expert_limit;
		f->gate = weights_turn(w, both, &(struct columns) { e, 0, 2 });
		f->up = weights_turn(w, both, &(struct columns) { e, 1, 2 });
		f->down = weights_turn(w, down, &(struct columns) { e, 0, 1 });
		f->gate.bias = weights_comb(w, both_bias, 2 * wide, &(struct columns) { e, 0, 2 });
		f->up.bias = weights_comb(w, both_bias, 2 * wide, &(struct columns) { e, 1, 2 });
		f->down.bias = down_bias + e * dim;
	}
}

static void bind(struct decoder *d, struct weights *w)
{
	decoder_bind_ends(d, w);
	for (size_t i = 0; i < d->n_layers; i++) {
		struct layer *l = &d->layers[i];
		llama_bind_layer(d, w, i);
		l->attention.sinks =
			weights_vector(w, d->n_heads, "model.layers.%zu.self_attn.sinks", i);
		decoder_make_experts(d, i);
		l->experts.router = weights_matrix(
			w, d->n_experts, d->dim, WITH_BIAS, "model.layers.%zu.mlp.router", i);
		bind_experts(d, w, i);
	}
}

const struct arch ARCH_GPT_OSS = { "gpt_oss", configure, bind, llama_forward };
