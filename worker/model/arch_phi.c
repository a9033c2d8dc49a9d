/* arch_phi.c - Phi-1 and Phi-2: parallel branches behind one norm, biases throughout. */
#include "worker/model/arch_gpt_neox.h"

static const struct decoder_presets PRESETS = {
	.eps_field = "layer_norm_eps",
	.norm_eps = 1e-5,
	.rope_theta = 10000,
	.partial_rotary = 0.5,
	.activation = "gelu_new",
};

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	d->parallel = true;
}

static void bind_layer(struct decoder *d, struct weights *w, size_t i)
{
	size_t q = decoder_q_width(d), kv = decoder_kv_width(d);
	struct layer *l = &d->layers[i];

	l->q = weights_matrix(w, q, d->dim, WITH_BIAS, "model.layers.%zu.self_attn.q_proj", i);
	l->k = weights_matrix(w, kv, d->dim, WITH_BIAS, "model.layers.%zu.self_attn.k_proj", i);
	l->v = weights_matrix(w, kv, d->dim, WITH_BIAS, "model.layers.%zu.self_attn.v_proj", i);
	l->o = weights_matrix(w, d->dim, q, WITH_BIAS, "model.layers.%zu.self_attn.dense", i);
	l->ffn.up = weights_matrix(w, d->ffn_dim, d->dim, WITH_BIAS, "model.layers.%zu.mlp.fc1", i);
	l->ffn.down =
		weights_matrix(w, d->dim, d->ffn_dim, WITH_BIAS, "model.layers.%zu.mlp.fc2", i);
	l->attn_norm =
		weights_layer_norm(w, d->dim, d->norm_eps, "model.layers.%zu.input_layernorm", i);
}

static void bind(struct decoder *d, struct weights *w)
{
	d->embedding.tokens =
		weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "model.embed_tokens");
	d->final_norm = weights_layer_norm(w, d->dim, d->norm_eps, "model.final_layernorm");
	decoder_bind_head(d, w, "lm_head");
	d->head.matrix.bias = weights_vector(w, d->vocab_size, "lm_head.bias");
	for (size_t i = 0; i < d->n_layers; i++)
		bind_layer(d, w, i);
}

const struct arch ARCH_PHI = { "phi", configure, bind, parallel_forward };
