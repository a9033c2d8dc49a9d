/* arch_llama.c - Llama 2 and 3 (arXiv:2307.09288, 2407.21783): RMSNorm, rotary positions,
 * grouped queries, SwiGLU. Stop 19; next: worker/engine/sampler.c. The forward pass serves every
 * model whose blocks follow each other: norms before or after a branch or none, QK-norm, rotary
 * layers or not, experts. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.norm_eps = 1e-6,
	.rope_theta = 10000,
};

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(d, c, 0, NULL, NULL);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
	d->ffn_bias = decoder_bias(c, "mlp_bias", false);
}

void llama_bind_layer(struct decoder *d, struct weights *w, size_t i)
{
	struct layer *l = &d->layers[i];

	l->attn_norm =
		weights_rms_norm(w, d->dim, d->norm_eps, "model.layers.%zu.input_layernorm", i);
	decoder_bind_attention(d, w, i);
	l->ffn_norm = weights_rms_norm(
		w, d->dim, d->norm_eps, "model.layers.%zu.post_attention_layernorm", i);
}

void llama_bind(struct decoder *d, struct weights *w)
{
	decoder_bind_ends(d, w);
	for (size_t i = 0; i < d->n_layers; i++) {
		llama_bind_layer(d, w, i);
		decoder_bind_ffn(d, w, i);
	}
}

static void attention_block(
	const struct decoder *d, const struct layer *l, const struct backend *k, struct step *s)
{
	const struct projection qkv[] = { { &l->q, ACT_Q }, { &l->k, ACT_K }, { &l->v, ACT_V } };
	const struct projection out = { &l->o, ACT_Y };

	k->project(s, (struct input) { ACT_X, &l->attn_norm }, qkv, 3);
	if (l->q_norm.n > 0)
		k->norm(s, ACT_Q, &l->q_norm);
	if (l->k_norm.n > 0)
		k->norm(s, ACT_K, &l->k_norm);
	if (l->rope != ROPE_NONE) {
		k->rope(s, ACT_Q, (size_t)l->rope);
		k->rope(s, ACT_K, (size_t)l->rope);
	}
	k->attend(s, &l->attention);
	k->project(s, (struct input) { ACT_Q, NULL }, &out, 1);
	if (l->attn_post_norm.n > 0)
		k->norm(s, ACT_Y, &l->attn_post_norm);
	k->add(s, ACT_X, ACT_Y, d->residual_scale);
}

static void ffn_block(
	const struct decoder *d, const struct layer *l, const struct backend *k, struct step *s)
{
	const struct input in = { ACT_X, &l->ffn_norm };

	if (l->experts.n_experts > 0)
		k->experts(s, ACT_Y, in, &l->experts);
	else
		k->ffn(s, ACT_Y, in, &l->ffn);
	if (l->ffn_post_norm.n > 0)
		k->norm(s, ACT_Y, &l->ffn_post_norm);
	k->add(s, ACT_X, ACT_Y, d->residual_scale);
}

void llama_forward(const struct decoder *d, const struct backend *k, struct step *s)
{
	k->embed(s, ACT_X, &d->embedding);
	for (size_t i = 0; i < d->n_layers; i++) {
		attention_block(d, &d->layers[i], k, s);
		ffn_block(d, &d->layers[i], k, s);
	}
	k->logits(s, (struct input) { ACT_X, &d->final_norm }, &d->head);
}

const struct arch ARCH_LLAMA = { "llama", configure, llama_bind, llama_forward };
