/* arch_gpt_oss.c - gpt-oss (arXiv:2508.10925): attention sinks, every other layer sliding, and
 * experts of a clamped SwiGLU with biases. */
#include "worker/model/arch_llama.h"

static const struct decoder_presets PRESETS = {
	.head_dim = 64,
	.norm_eps = 1e-5,
	.rope_theta = 150000,
};

static bool is_even(size_t layer, const void *arg)
{
	(void)arg;
	return layer % 2 == 0;
}

static void configure(struct decoder *d, struct config *c)
{
	decoder_configure(d, c, &PRESETS);
	decoder_configure_rope(d, c, 0, NULL, &PRESETS);
	decoder_configure_windows(d, c, config_count_or(c, "sliding_window", 128), is_even, NULL);
	config_ignore(c, "initial_context_length"); /* the rope's, said twice */
	config_ignore(c, "experts_per_token");      /* num_experts_per_tok, said twice */
	d->qkv_bias = d->o_bias = decoder_bias(c, "attention_bias", true);
	decoder_configure_experts(d, c, 4);
	d->expert_dim = d->ffn_dim;
	d->expert_limit = (float)config_num_or(c, "swiglu_limit", 7);
	d->activation = ACTIVATION_CLAMPED_SWIGLU;
	d->routing = ROUTE_SOFTMAX_TOP;
}

/* What the two forms of the experts share: biases, gate and up interleaved. */
struct expert_biases {
	const float *both, *down; /* [n_experts][2 * expert_dim], [n_experts][dim] */
};

static void bind_biases(struct decoder *d, struct weights *w, size_t i, struct expert_biases *b)
{
	b->both = weights_table(w, d->n_experts, 2 * d->expert_dim,
		"model.layers.%zu.mlp.experts.gate_up_proj_bias", i);
	b->down = weights_table(
		w, d->n_experts, d->dim, "model.layers.%zu.mlp.experts.down_proj_bias", i);
}

static void set_biases(struct decoder *d, struct weights *w, const struct expert_biases *b,
	struct ffn *f, size_t e)
{
	size_t n = 2 * d->expert_dim;

	f->gate.bias = weights_comb(w, b->both, n, &(struct columns) { e, 0, 2 });
	f->up.bias = weights_comb(w, b->both, n, &(struct columns) { e, 1, 2 });
	f->down.bias = b->down + e * d->dim;
}

/* Unquantized: matrices are stored turned round, gate and up interleaved by column. */
static void bind_plain(struct decoder *d, struct weights *w, size_t i)
{
	const size_t n = d->n_experts, wide = d->expert_dim, dim = d->dim;
	const struct tensor *both = weights_blocks(
		w, (size_t[]) { n, dim, 2 * wide }, "model.layers.%zu.mlp.experts.gate_up_proj", i);
	const struct tensor *down = weights_blocks(
		w, (size_t[]) { n, wide, dim }, "model.layers.%zu.mlp.experts.down_proj", i);

	for (size_t e = 0; e < n && w->rc == 0; e++) {
		struct ffn *f = &d->layers[i].experts.experts[e];
		f->gate = weights_turn(w, both, &(struct columns) { e, 0, 2 });
		f->up = weights_turn(w, both, &(struct columns) { e, 1, 2 });
		f->down = weights_turn(w, down, &(struct columns) { e, 0, 1 });
	}
}

/* As published: MXFP4, a row per output, gate and up interleaved by row. */
static void bind_mxfp4(struct decoder *d, struct weights *w, size_t i)
{
	const size_t n = d->n_experts, wide = d->expert_dim, dim = d->dim;
	struct matrix both = weights_mxfp4(w, n * 2 * wide, dim, (size_t[]) { n, 2 * wide },
		"model.layers.%zu.mlp.experts.gate_up_proj", i);
	struct matrix down = weights_mxfp4(w, n * dim, wide, (size_t[]) { n, dim },
		"model.layers.%zu.mlp.experts.down_proj", i);

	for (size_t e = 0; e < n && w->rc == 0; e++) {
		struct ffn *f = &d->layers[i].experts.experts[e];
		struct matrix mine = matrix_rows(&both, e * 2 * wide, 2 * wide);
		f->gate = weights_pick_part(w, &mine, wide, 2, 0);
		f->up = weights_pick_part(w, &mine, wide, 2, 1);
		f->down = matrix_rows(&down, e * dim, dim);
	}
}

/* As llama.cpp and mlx-lm stack them: gate, up and down apart, a row per output, with biases. */
static void bind_stacked(struct decoder *d, struct weights *w, size_t i)
{
	static const char *const names[] = { "gate_proj", "up_proj", "down_proj" };
	struct matrix m[3];

	for (size_t k = 0; k < 3; k++) {
		size_t n_out = k == 2 ? d->dim : d->expert_dim,
		       n_in = k == 2 ? d->expert_dim : d->dim;
		m[k] = weights_stack(w, d->n_experts, n_out, n_in,
			"model.layers.%zu.mlp.experts.%s", i, names[k]);
		if (!m[k].bias)
			weights_fail(w, "tensor model.layers.%zu.mlp.experts.%s.bias is missing", i,
				names[k]);
	}
	for (size_t e = 0; e < d->n_experts && w->rc == 0; e++) {
		struct ffn *f = &d->layers[i].experts.experts[e];
		f->limit = d->expert_limit;
		f->gate = matrix_rows(&m[0], e * d->expert_dim, d->expert_dim);
		f->up = matrix_rows(&m[1], e * d->expert_dim, d->expert_dim);
		f->down = matrix_rows(&m[2], e * d->dim, d->dim);
	}
}

static void bind_experts(struct decoder *d, struct weights *w, size_t i)
{
	struct expert_biases b;

	if (weights_has(w, "model.layers.%zu.mlp.experts.gate_proj.weight", i)) {
		bind_stacked(d, w, i);
		return;
	}
	bind_biases(d, w, i, &b);
	if (weights_has(w, "model.layers.%zu.mlp.experts.gate_up_proj_blocks", i))
		bind_mxfp4(d, w, i);
	else
		bind_plain(d, w, i);
	for (size_t e = 0; e < d->n_experts && w->rc == 0; e++) {
		struct ffn *f = &d->layers[i].experts.experts[e];
		f->limit = d->expert_limit;
		set_biases(d, w, &b, f, e);
	}
}

static void bind(struct decoder *d, struct weights *w)
{
	decoder_bind_ends(d, w);
	for (size_t i = 0; i < d->n_layers && w->rc == 0; i++) {
		struct layer *l = &d->layers[i];
		llama_bind_layer(d, w, i);
		l->attention.sinks =
			weights_vector(w, d->n_heads, "model.layers.%zu.self_attn.sinks", i);
		decoder_make_experts(d, i);
		l->experts.router = weights_matrix(
			w, d->n_experts, d->dim, WITH_BIAS, "model.layers.%zu.mlp.router", i);
		bind_experts(d, w, i);
	}
}

const struct arch ARCH_GPT_OSS = { "gpt_oss", configure, bind, llama_forward };
