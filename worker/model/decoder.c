/* decoder.c - what architectures share in reading a config and finding tensors. */
#include "worker/model/decoder.h"
#include "protocol/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void each_of_ffn(struct ffn *f, void (*fn)(void *arg, struct matrix *m), void *arg)
{
	fn(arg, &f->gate);
	fn(arg, &f->up);
	fn(arg, &f->down);
}

void decoder_each_matrix(struct decoder *d, void (*fn)(void *arg, struct matrix *m), void *arg)
{
	for (size_t i = 0; i < d->n_layers; i++) {
		struct layer *l = &d->layers[i];
		fn(arg, &l->q);
		fn(arg, &l->k);
		fn(arg, &l->v);
		fn(arg, &l->o);
		each_of_ffn(&l->ffn, fn, arg);
		for (size_t e = 0; e < l->experts.n_experts; e++)
			each_of_ffn(&l->experts.experts[e], fn, arg);
	}
	fn(arg, &d->head.matrix);
}

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

static const char *or_common(const char *field, const char *common)
{
	return field ? field : common;
}

/* A size that is required where the architecture has no preset for it. */
static size_t size_of(struct config *c, const char *field, const char *common, size_t preset)
{
	const char *name = or_common(field, common);

	return preset > 0 ? config_size_or(c, name, preset) : config_size(c, name);
}

/* Gemma calls it hidden_activation and carries a hidden_act that is ignored beside it. */
static void configure_activation(
	struct decoder *d, struct config *c, const struct decoder_presets *p)
{
	const char *field = or_common(p->activation_field, "hidden_act");

	if (config_has(c, "hidden_activation")) {
		config_ignore(c, field);
		field = "hidden_activation";
	}
	d->activation = decoder_activation(
		c, field, config_str_or(c, field, or_common(p->activation, "silu")));
}

void decoder_configure(struct decoder *d, struct config *c, const struct decoder_presets *p)
{
	const char *ffn = or_common(p->ffn_field, "intermediate_size");
	size_t head_dim;

	d->dim = config_size(c, or_common(p->dim_field, "hidden_size"));
	d->n_layers = config_size(c, or_common(p->layers_field, "num_hidden_layers"));
	d->n_heads = size_of(c, p->heads_field, "num_attention_heads", p->n_heads);
	d->n_kv_heads = config_size_or(
		c, "num_key_value_heads", p->n_kv_heads ? p->n_kv_heads : d->n_heads);
	head_dim = p->head_dim ? p->head_dim : d->dim / d->n_heads;
	d->head_dim = config_size_or(c, "head_dim", head_dim ? head_dim : 1);
	d->ffn_dim = p->ffn_of_dim ? config_size_or(c, ffn, p->ffn_of_dim * d->dim)
				   : config_size(c, ffn);
	d->vocab_size = size_of(c, NULL, "vocab_size", p->vocab_size);
	d->context_length =
		size_of(c, p->context_field, "max_position_embeddings", p->context_length);
	d->norm_eps = (float)config_num_or(c, or_common(p->eps_field, "rms_norm_eps"), p->norm_eps);
	d->tied = config_bool_or(c, "tie_word_embeddings", p->tied);
	d->residual_scale = 1;
	d->embedding.scale = 1;
	d->head.scale = 1;
	configure_activation(d, c, p);
	check_heads(d, c, p->head_dim || config_has(c, "head_dim"));
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
	/* Stretching with the length is what dynamic NTK is for. */
	if (d->ropes[i].dynamic_factor > 1)
		d->context_length =
			(size_t)((double)d->context_length * d->ropes[i].dynamic_factor);
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

bool decoder_slides_always(size_t layer, const void *arg)
{
	(void)layer;
	(void)arg;
	return true;
}

void decoder_configure_experts(struct decoder *d, struct config *c, size_t used_preset)
{
	const char *field = config_has(c, "num_experts") ? "num_experts" : "num_local_experts";

	config_ignore(c, "num_local_experts");
	d->n_experts = config_size(c, field);
	d->n_experts_used = config_size_or(c, "num_experts_per_tok", used_preset);
	if (d->n_experts > DECODER_EXPERTS_MAX) {
		config_refuse(c, field, "more than %d", DECODER_EXPERTS_MAX);
		d->n_experts = 1;
	}
	if (d->n_experts_used > d->n_experts)
		config_refuse(c, "num_experts_per_tok", "%zu of %zu experts", d->n_experts_used,
			d->n_experts);
}

enum with_bias decoder_bias(struct config *c, const char *field, bool preset)
{
	return config_bool_or(c, field, preset) ? WITH_BIAS : NO_BIAS;
}

void decoder_release(struct decoder *d)
{
	for (size_t i = 0; i < DECODER_ROPES_MAX; i++)
		rope_release(&d->ropes[i]);
	free(d->layers);
	free(d->expert_ffns);
	*d = (struct decoder) { 0 };
}
