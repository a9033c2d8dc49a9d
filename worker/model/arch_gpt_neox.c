/* arch_gpt_neox.c - GPT-NeoX, Pythia (arXiv:2204.06745): parallel branches, partly rotary. */
#include "worker/model/arch_gpt_neox.h"

static const struct decoder_presets PRESETS = {
	.eps_field = "layer_norm_eps",
	.norm_eps = 1e-5,
	.activation = "gelu",
};

static void configure(struct decoder *d, struct config *c)
{
	const struct decoder_presets rope = {
		.rope_theta = config_num_or(c, "rotary_emb_base", 10000),
		.partial_rotary = config_num_or(c, "rotary_pct", 0.25),
	};

	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &rope);
	d->straight = config_bool_or(c, "straight_weights", false);
	d->parallel = config_bool_or(c, "use_parallel_residual", true);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", true);
}

static void bind_layer(struct decoder *d, struct weights *w, size_t i)
{
	size_t dim = d->dim, q = decoder_q_width(d);
	struct layer *l = &d->layers[i];
	struct matrix qkv = weights_matrix(
		w, 3 * q, dim, d->qkv_bias, "gpt_neox.layers.%zu.attention.query_key_value", i);

	if (d->straight) {
		l->q = matrix_rows(&qkv, 0, q);
		l->k = matrix_rows(&qkv, q, q);
		l->v = matrix_rows(&qkv, 2 * q, q);
	} else if (qkv.w.data) {
		l->q = weights_pick_part(w, &qkv, d->n_heads, 3, 0);
		l->k = weights_pick_part(w, &qkv, d->n_heads, 3, 1);
		l->v = weights_pick_part(w, &qkv, d->n_heads, 3, 2);
	}
	l->o = weights_matrix(w, dim, q, d->o_bias, "gpt_neox.layers.%zu.attention.dense", i);
	l->ffn.up = weights_matrix(
		w, d->ffn_dim, dim, WITH_BIAS, "gpt_neox.layers.%zu.mlp.dense_h_to_4h", i);
	l->ffn.down = weights_matrix(
		w, dim, d->ffn_dim, WITH_BIAS, "gpt_neox.layers.%zu.mlp.dense_4h_to_h", i);
	l->attn_norm =
		weights_layer_norm(w, dim, d->norm_eps, "gpt_neox.layers.%zu.input_layernorm", i);
	l->ffn_norm = weights_layer_norm(
		w, dim, d->norm_eps, "gpt_neox.layers.%zu.post_attention_layernorm", i);
}

static void bind(struct decoder *d, struct weights *w)
{
	w->prefix = "gpt_neox.";
	d->embedding.tokens =
		weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "gpt_neox.embed_in");
	d->final_norm = weights_layer_norm(w, d->dim, d->norm_eps, "gpt_neox.final_layer_norm");
	decoder_bind_head(d, w, "embed_out");
	for (size_t i = 0; i < d->n_layers; i++)
		bind_layer(d, w, i);
}

static void parallel_block(
	const struct decoder *d, const struct layer *l, const struct backend *k, struct step *s)
{
	const struct projection qkv[] = { { &l->q, ACT_Q }, { &l->k, ACT_K }, { &l->v, ACT_V } };
	const struct projection out = { &l->o, ACT_Y };
	const struct input in = { ACT_X, &l->attn_norm };

	k->project(s, in, qkv, 3);
	k->rope(s, ACT_Q, (size_t)l->rope);
	k->rope(s, ACT_K, (size_t)l->rope);
	k->attend(s, &l->attention);
	k->project(s, (struct input) { ACT_Q, NULL }, &out, 1);
	k->ffn(s, ACT_Z, l->ffn_norm.n > 0 ? (struct input) { ACT_X, &l->ffn_norm } : in, &l->ffn);
	k->add(s, ACT_X, ACT_Y, d->residual_scale);
	k->add(s, ACT_X, ACT_Z, d->residual_scale);
}

void parallel_forward(const struct decoder *d, const struct backend *k, struct step *s)
{
	if (!d->parallel) {
		llama_forward(d, k, s);
		return;
	}
	k->embed(s, ACT_X, &d->embedding);
	for (size_t i = 0; i < d->n_layers; i++)
		parallel_block(d, &d->layers[i], k, s);
	k->logits(s, (struct input) { ACT_X, &d->final_norm }, &d->head);
}

const struct arch ARCH_GPT_NEOX = { "gpt_neox", configure, bind, parallel_forward };
