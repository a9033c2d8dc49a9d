/* arch_starcoder2.c - StarCoder2 (arXiv:2402.19173): rotary and grouped, but LayerNorm, biases
 * and a plain FFN. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.eps_field = "norm_epsilon",
	.tied = true,
	.norm_eps = 1e-5,
	.rope_theta = 10000,
	.activation = "gelu_pytorch_tanh",
};

/* Published configs carry these; the reference reads none of them. */
static const char *const UNREAD[] = { "residual_dropout", "activation_function",
	"attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", "scale_attn_weights",
	"layer_norm_epsilon", "mlp_type", "norm_type" };

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(
		d, c, config_count_or(c, "sliding_window", 0), decoder_slides_always, NULL);
	for (size_t i = 0; i < sizeof UNREAD / sizeof *UNREAD; i++)
		config_ignore(c, UNREAD[i]);
	d->qkv_bias = d->o_bias = d->ffn_bias = decoder_bias(c, "use_bias", true);
}

static void bind(struct decoder *d, struct weights *w)
{
	d->embedding.tokens =
		weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "model.embed_tokens");
	d->final_norm = weights_layer_norm(w, d->dim, d->norm_eps, "model.norm");
	decoder_bind_head(d, w, "lm_head");
	for (size_t i = 0; i < d->n_layers; i++) {
		struct layer *l = &d->layers[i];
		decoder_bind_attention(d, w, i);
		l->ffn.up = weights_matrix(
			w, d->ffn_dim, d->dim, d->ffn_bias, "model.layers.%zu.mlp.c_fc", i);
		l->ffn.down = weights_matrix(
			w, d->dim, d->ffn_dim, d->ffn_bias, "model.layers.%zu.mlp.c_proj", i);
		l->attn_norm = weights_layer_norm(
			w, d->dim, d->norm_eps, "model.layers.%zu.input_layernorm", i);
		l->ffn_norm = weights_layer_norm(
			w, d->dim, d->norm_eps, "model.layers.%zu.post_attention_layernorm", i);
	}
}

const struct arch ARCH_STARCODER2 = { "starcoder2", configure, bind, llama_forward };
