/* arch_phi3.c - Phi-3 (arXiv:2404.14219): Llama's block, its matrices fused in the file. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.norm_eps = 1e-5,
	.rope_theta = 10000,
};

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	config_ignore(c, "original_max_position_embeddings"); /* longrope's alone */
	config_ignore(c, "full_attn_mod");                    /* not read by the reference */
	config_ignore(c, "interpolate_factor");
	decoder_configure_windows(
		d, c, config_count_or(c, "sliding_window", 0), decoder_slides_always, NULL);
}

static void bind_layer(struct decoder *d, struct weights *w, size_t i)
{
	size_t q = decoder_q_width(d), kv = decoder_kv_width(d), wide = d->ffn_dim;
	struct layer *l = &d->layers[i];
	struct matrix qkv = weights_matrix(
		w, q + 2 * kv, d->dim, NO_BIAS, "model.layers.%zu.self_attn.qkv_proj", i);
	struct matrix both = weights_matrix(
		w, 2 * wide, d->dim, NO_BIAS, "model.layers.%zu.mlp.gate_up_proj", i);

	l->q = matrix_rows(&qkv, 0, q);
	l->k = matrix_rows(&qkv, q, kv);
	l->v = matrix_rows(&qkv, q + kv, kv);
	l->o = weights_matrix(w, d->dim, q, NO_BIAS, "model.layers.%zu.self_attn.o_proj", i);
	l->ffn.gate = matrix_rows(&both, 0, wide);
	l->ffn.up = matrix_rows(&both, wide, wide);
	l->ffn.down = weights_matrix(w, d->dim, wide, NO_BIAS, "model.layers.%zu.mlp.down_proj", i);
	l->attn_norm =
		weights_rms_norm(w, d->dim, d->norm_eps, "model.layers.%zu.input_layernorm", i);
	l->ffn_norm = weights_rms_norm(
		w, d->dim, d->norm_eps, "model.layers.%zu.post_attention_layernorm", i);
}

static void bind(struct decoder *d, struct weights *w)
{
	decoder_bind_ends(d, w);
	for (size_t i = 0; i < d->n_layers; i++)
		bind_layer(d, w, i);
}

const struct arch ARCH_PHI3 = { "phi3", configure, bind, llama_forward };
