/* arch_gpt2.c - GPT-2 (Radford et al., 2019): LayerNorm, learned positions, a plain FFN; its
 * matrices are stored turned round. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.dim_field = "n_embd",
	.layers_field = "n_layer",
	.heads_field = "n_head",
	.ffn_field = "n_inner",
	.context_field = "n_positions",
	.eps_field = "layer_norm_epsilon",
	.activation_field = "activation_function",
	.tied = true,
	.ffn_of_dim = 4,
	.norm_eps = 1e-5,
	.activation = "gelu_new",
};

static void configure(struct decoder *d, struct config *c)
{
	bool scaled = config_bool_or(c, "scale_attn_weights", true);
	bool by_depth = config_bool_or(c, "scale_attn_by_inverse_layer_idx", false);

	decoder_configure(d, c, &PRESETS);
	d->straight = config_bool_or(c, "straight_weights", false);
	config_ignore(c, "reorder_and_upcast_attn"); /* the same maths in float32 */
	for (size_t i = 0; i < d->n_layers; i++) {
		struct layer *l = &d->layers[i];
		l->rope = ROPE_NONE;
		l->attention.scale =
			(scaled ? l->attention.scale : 1) / (by_depth ? (float)(i + 1) : 1);
	}
}

/* Conv1D keeps [n_in, n_out]; a converter may have turned it to rows of outputs. */
static struct matrix conv1d(
	struct decoder *d, struct weights *w, size_t n_out, size_t n_in, size_t i, const char *name)
{
	return d->straight
		       ? weights_matrix(w, n_out, n_in, WITH_BIAS, "transformer.h.%zu.%s", i, name)
		       : weights_matrix_transposed(
				 w, n_out, n_in, WITH_BIAS, "transformer.h.%zu.%s", i, name);
}

static void bind_layer(struct decoder *d, struct weights *w, size_t i)
{
	size_t dim = d->dim, wide = d->ffn_dim;
	struct layer *l = &d->layers[i];
	struct matrix qkv = conv1d(d, w, 3 * dim, dim, i, "attn.c_attn");

	l->q = matrix_rows(&qkv, 0, dim);
	l->k = matrix_rows(&qkv, dim, dim);
	l->v = matrix_rows(&qkv, 2 * dim, dim);
	l->o = conv1d(d, w, dim, dim, i, "attn.c_proj");
	l->ffn.up = conv1d(d, w, wide, dim, i, "mlp.c_fc");
	l->ffn.down = conv1d(d, w, dim, wide, i, "mlp.c_proj");
	l->attn_norm = weights_layer_norm(w, dim, d->norm_eps, "transformer.h.%zu.ln_1", i);
	l->ffn_norm = weights_layer_norm(w, dim, d->norm_eps, "transformer.h.%zu.ln_2", i);
}

static void bind(struct decoder *d, struct weights *w)
{
	w->prefix = "transformer.";
	d->embedding.tokens = weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "transformer.wte");
	d->embedding.positions =
		weights_matrix(w, d->context_length, d->dim, NO_BIAS, "transformer.wpe");
	d->final_norm = weights_layer_norm(w, d->dim, d->norm_eps, "transformer.ln_f");
	decoder_bind_head(d, w, "lm_head");
	for (size_t i = 0; i < d->n_layers; i++)
		bind_layer(d, w, i);
}

const struct arch ARCH_GPT2 = { "gpt2", configure, bind, llama_forward };
