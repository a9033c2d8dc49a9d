/* arch_gemma2.c - Gemma 2 (arXiv:2408.00118): every other layer slides, logits are capped. */
#include "worker/model/arch_gemma.h"
#include <math.h>

static const struct decoder_presets PRESETS = {
	.tied = true,
	.head_dim = 256,
	.norm_eps = 1e-6,
	.rope_theta = 10000,
	.activation = "gelu_pytorch_tanh",
};

static double cap(struct config *c, const char *field, double preset)
{
	return config_is_null(c, field) ? 0 : config_num_or(c, field, preset);
}

void gemma_configure_scales(
	struct decoder *d, struct config *c, double attn_softcap, double logit_softcap)
{
	double query_scalar = config_num_or(c, "query_pre_attn_scalar", 256);
	float softcap = (float)cap(c, "attn_logit_softcapping", attn_softcap);

	d->norm_offset = (float)config_num_or(c, "norm_weight_offset", 1);
	d->embedding.scale = sqrtf((float)d->dim);
	d->head.softcap = (float)cap(c, "final_logit_softcapping", logit_softcap);
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", false);
	for (size_t i = 0; i < d->n_layers; i++) {
		d->layers[i].attention.scale = (float)(1 / sqrt(query_scalar));
		d->layers[i].attention.softcap = softcap;
	}
}

static bool is_even(size_t layer, const void *arg)
{
	(void)arg;
	return layer % 2 == 0;
}

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(d, c, config_count_or(c, "sliding_window", 4096), is_even, NULL);
	gemma_configure_scales(d, c, 50, 30);
}

static struct norm_weight gemma_norm(
	struct decoder *d, struct weights *w, size_t n, size_t i, const char *name)
{
	struct norm_weight norm =
		weights_rms_norm(w, n, d->norm_eps, "model.layers.%zu.%s", i, name);

	norm.offset = d->norm_offset;
	return norm;
}

void gemma_bind(struct decoder *d, struct weights *w, bool with_qk_norm)
{
	decoder_bind_ends(d, w);
	d->final_norm.offset = d->norm_offset;
	for (size_t i = 0; i < d->n_layers; i++) {
		struct layer *l = &d->layers[i];
		decoder_bind_attention(d, w, i);
		decoder_bind_ffn(d, w, i);
		l->attn_norm = gemma_norm(d, w, d->dim, i, "input_layernorm");
		l->attn_post_norm = gemma_norm(d, w, d->dim, i, "post_attention_layernorm");
		l->ffn_norm = gemma_norm(d, w, d->dim, i, "pre_feedforward_layernorm");
		l->ffn_post_norm = gemma_norm(d, w, d->dim, i, "post_feedforward_layernorm");
		if (!with_qk_norm)
			continue;
		l->q_norm = gemma_norm(d, w, d->head_dim, i, "self_attn.q_norm");
		l->k_norm = gemma_norm(d, w, d->head_dim, i, "self_attn.k_norm");
	}
}

static void bind(struct decoder *d, struct weights *w)
{
	gemma_bind(d, w, false);
}

const struct arch ARCH_GEMMA2 = { "gemma2", configure, bind, llama_forward };
