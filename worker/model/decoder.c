/* decoder.c - what architectures share in reading a config and finding tensors. */
#include "worker/model/decoder.h"
#include "protocol/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t decoder_q_width(const struct decoder *d)
{
	return d->n_heads * d->head_dim;
}

size_t decoder_kv_width(const struct decoder *d)
{
	return d->n_kv_heads * d->head_dim;
}

enum activation decoder_activation(struct config *c, const char *field, const char *name)
{
	static const struct {
		const char *name;
		enum activation activation;
	} KNOWN[] = {
		{ "silu", ACTIVATION_SILU },
		{ "swish", ACTIVATION_SILU },
		{ "gelu_pytorch_tanh", ACTIVATION_GELU_TANH },
		{ "gelu_new", ACTIVATION_GELU_TANH },
		{ "gelu_fast", ACTIVATION_GELU_TANH },
		{ "gelu", ACTIVATION_GELU_ERF },
		{ "relu", ACTIVATION_RELU },
	};

	for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
		if (strcmp(name, KNOWN[i].name) == 0)
			return KNOWN[i].activation;
	config_refuse(c, field, "activation \"%s\" is not supported", name);
	return ACTIVATION_SILU;
}

static void check_heads(struct decoder *d, struct config *c, bool has_head_dim)
{
	if (d->n_heads % d->n_kv_heads != 0)
		config_refuse(c, "num_key_value_heads", "%zu does not divide the %zu heads",
			d->n_kv_heads, d->n_heads);
	if (!has_head_dim && d->dim % d->n_heads != 0)
		config_refuse(c, "num_attention_heads", "%zu does not divide hidden_size %zu",
			d->n_heads, d->dim);
	if (d->head_dim > 4096 || d->n_heads > 65536)
		config_refuse(c, "head_dim", "%zu heads of %zu are beyond reason", d->n_heads,
			d->head_dim);
}

static void make_layers(struct decoder *d, struct config *c)
{
	if (d->n_layers > DECODER_LAYERS_MAX) {
		config_refuse(c, "num_hidden_layers", "more than %d", DECODER_LAYERS_MAX);
		d->n_layers = 1;
	}
	d->layers = xcalloc(d->n_layers, sizeof *d->layers);
	for (size_t i = 0; i < d->n_layers; i++) {
		d->layers[i].attention.layer = i;
		d->layers[i].attention.scale = 1 / sqrtf((float)d->head_dim);
		d->layers[i].ffn.activation = d->activation;
	}
}

void decoder_configure(struct decoder *d, struct config *c, const struct decoder_presets *p)
{
	const char *act_field =
		config_has(c, "hidden_activation") ? "hidden_activation" : "hidden_act";

	d->dim = config_size(c, "hidden_size");
	d->n_layers = config_size(c, "num_hidden_layers");
	d->n_heads = config_size(c, "num_attention_heads");
	d->n_kv_heads = config_size_or(c, "num_key_value_heads", d->n_heads);
	d->head_dim = config_size_or(c, "head_dim", d->dim / d->n_heads ? d->dim / d->n_heads : 1);
	d->ffn_dim = config_size(c, "intermediate_size");
	d->vocab_size = config_size(c, "vocab_size");
	d->context_length = config_size(c, "max_position_embeddings");
	d->norm_eps = (float)config_num_or(c, "rms_norm_eps", p->norm_eps);
	d->tied = config_bool_or(c, "tie_word_embeddings", p->tied);
	d->activation = decoder_activation(
		c, act_field, config_str_or(c, act_field, p->activation ? p->activation : "silu"));
	d->residual_scale = 1;
	d->embedding.scale = 1;
	d->head.scale = 1;
	check_heads(d, c, config_has(c, "head_dim"));
	make_layers(d, c);
}

void decoder_configure_rope(struct decoder *d, struct config *c, size_t i, const char *layer_type,
	const struct decoder_presets *p)
{
	const struct rope_shape shape = {
		.head_dim = d->head_dim,
		.context_length = d->context_length,
		.theta_preset = p->rope_theta,
		.partial_preset = p->partial_rotary > 0 ? p->partial_rotary : 1,
		/* Not a Hugging Face field of these models: a file whose query and key rows were
		 * permuted for neighbouring pairs (GGUF Llama) says so with it. */
		.pairs = config_bool_or(c, "rope_interleaved", false),
	};

	rope_configure(&d->ropes[i], c, layer_type, &shape);
	if (d->n_ropes <= i)
		d->n_ropes = i + 1;
}

void decoder_configure_windows(struct decoder *d, struct config *c, size_t window,
	bool (*is_sliding)(size_t layer, const void *arg), const void *arg)
{
	size_t n = config_array_count(c, "layer_types");

	if (n > 0 && n != d->n_layers) {
		config_refuse(c, "layer_types", "has %zu entries for %zu layers", n, d->n_layers);
		return;
	}
	for (size_t i = 0; i < d->n_layers; i++) {
		bool slides = n == 0 && window > 0 && is_sliding && is_sliding(i, arg);
		if (n > 0) {
			const char *type = config_array_str(c, "layer_types", i);
			slides = strcmp(type, "sliding_attention") == 0;
			if (!slides && strcmp(type, "full_attention") != 0)
				config_refuse(c, "layer_types", "\"%s\" is not supported", type);
			else if (slides && window == 0)
				config_refuse(c, "layer_types", "has sliding layers but no window");
		}
		d->layers[i].attention.window = slides ? window : 0;
	}
}

void decoder_bind_ends(struct decoder *d, struct weights *w)
{
	d->embedding.tokens =
		weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "model.embed_tokens");
	d->final_norm = weights_rms_norm(w, d->dim, d->norm_eps, "model.norm");
	d->head.matrix = d->tied ? d->embedding.tokens
				 : weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "lm_head");
}

void decoder_bind_attention(struct decoder *d, struct weights *w, size_t i)
{
	size_t q = decoder_q_width(d), kv = decoder_kv_width(d);
	struct layer *l = &d->layers[i];

	l->q = weights_matrix(w, q, d->dim, d->qkv_bias, "model.layers.%zu.self_attn.q_proj", i);
	l->k = weights_matrix(w, kv, d->dim, d->qkv_bias, "model.layers.%zu.self_attn.k_proj", i);
	l->v = weights_matrix(w, kv, d->dim, d->qkv_bias, "model.layers.%zu.self_attn.v_proj", i);
	l->o = weights_matrix(w, d->dim, q, d->o_bias, "model.layers.%zu.self_attn.o_proj", i);
}

void decoder_bind_ffn(struct decoder *d, struct weights *w, size_t i)
{
	struct ffn *f = &d->layers[i].ffn;

	f->gate = weights_matrix(
		w, d->ffn_dim, d->dim, d->ffn_bias, "model.layers.%zu.mlp.gate_proj", i);
	f->up = weights_matrix(
		w, d->ffn_dim, d->dim, d->ffn_bias, "model.layers.%zu.mlp.up_proj", i);
	f->down = weights_matrix(
		w, d->dim, d->ffn_dim, d->ffn_bias, "model.layers.%zu.mlp.down_proj", i);
}

void decoder_release(struct decoder *d)
{
	for (size_t i = 0; i < DECODER_ROPES_MAX; i++)
		rope_release(&d->ropes[i]);
	free(d->layers);
	free(d->expert_ffns);
	*d = (struct decoder) { 0 };
}
