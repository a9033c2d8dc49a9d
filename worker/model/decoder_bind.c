/* decoder_bind.c - the tensor names most architectures share. */
#include "protocol/mem.h"
#include "worker/model/decoder.h"
#include <stdio.h>

void decoder_bind_head(struct decoder *d, struct weights *w, const char *name)
{
	d->head.matrix = d->tied ? d->embedding.tokens
				 : weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "%s", name);
}

void decoder_bind_ends(struct decoder *d, struct weights *w)
{
	d->embedding.tokens =
		weights_matrix(w, d->vocab_size, d->dim, NO_BIAS, "model.embed_tokens");
	d->final_norm = weights_rms_norm(w, d->dim, d->norm_eps, "model.norm");
	decoder_bind_head(d, w, "lm_head");
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

void decoder_bind_qk_norm(struct decoder *d, struct weights *w, size_t i, size_t n_q, size_t n_k)
{
	struct layer *l = &d->layers[i];

	l->q_norm = weights_rms_norm(w, n_q, d->norm_eps, "model.layers.%zu.self_attn.q_norm", i);
	l->k_norm = weights_rms_norm(w, n_k, d->norm_eps, "model.layers.%zu.self_attn.k_norm", i);
}

static void bind_each(struct decoder *d, struct weights *w, size_t i,
	const struct expert_names *names, struct ffn *ffns)
{
	const size_t wide = d->expert_dim, dim = d->dim;
	char at[128];

	for (size_t e = 0; e < d->n_experts && w->rc == 0; e++) {
		struct ffn *f = &ffns[e];
		snprintf(at, sizeof at, "model.layers.%zu.%s.%zu", i, names->experts, e);
		f->gate = weights_matrix(w, wide, dim, NO_BIAS, "%s.%s", at, names->gate);
		f->up = weights_matrix(w, wide, dim, NO_BIAS, "%s.%s", at, names->up);
		f->down = weights_matrix(w, dim, wide, NO_BIAS, "%s.%s", at, names->down);
	}
}

static void bind_stacked(struct decoder *d, struct weights *w, size_t i,
	const struct expert_names *names, struct ffn *ffns)
{
	const size_t n = d->n_experts, wide = d->expert_dim, dim = d->dim;
	const char *at = names->stacked;
	struct matrix gate = weights_stack(w, n, wide, dim, "model.layers.%zu.%s.gate_proj", i, at);
	struct matrix up = weights_stack(w, n, wide, dim, "model.layers.%zu.%s.up_proj", i, at);
	struct matrix down = weights_stack(w, n, dim, wide, "model.layers.%zu.%s.down_proj", i, at);

	for (size_t e = 0; e < n && w->rc == 0; e++) {
		ffns[e].gate = matrix_rows(&gate, e * wide, wide);
		ffns[e].up = matrix_rows(&up, e * wide, wide);
		ffns[e].down = matrix_rows(&down, e * dim, dim);
	}
}

void decoder_bind_experts(
	struct decoder *d, struct weights *w, size_t i, const struct expert_names *names)
{
	struct experts *x = &d->layers[i].experts;
	struct ffn *ffns;

	if (w->rc < 0) /* a hostile config's thousands of experts are not laid out */
		return;
	decoder_make_experts(d, i);
	ffns = d->expert_ffns + i * d->n_experts;
	x->router = weights_matrix(
		w, d->n_experts, d->dim, NO_BIAS, "model.layers.%zu.%s", i, names->router);
	if (names->stacked &&
		weights_has(w, "model.layers.%zu.%s.gate_proj.weight", i, names->stacked))
		bind_stacked(d, w, i, names, ffns);
	else
		bind_each(d, w, i, names, ffns);
}

void decoder_make_experts(struct decoder *d, size_t i)
{
	struct experts *x = &d->layers[i].experts;

	if (!d->expert_ffns)
		d->expert_ffns = xcalloc(d->n_layers * d->n_experts, sizeof *d->expert_ffns);
	x->experts = d->expert_ffns + i * d->n_experts;
	x->n_experts = d->n_experts;
	x->n_used = d->n_experts_used;
	x->routing = d->routing;
	for (size_t e = 0; e < d->n_experts; e++)
		x->experts[e].activation = d->activation;
}
