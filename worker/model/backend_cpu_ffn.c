/* backend_cpu_ffn.c - feed-forward layers: gated or plain, and mixtures of experts. */
#include "worker/model/backend_cpu.h"
#include <assert.h>
#include <math.h>
#include <string.h>

static void relu(float *out, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = fmaxf(gate[i], 0) * (up ? up[i] : 1);
}

/* gpt-oss (transformers, modeling_gpt_oss): alpha is fixed there. */
static void clamped_swiglu(const struct kernels *k, float *out, const float *gate, const float *up,
	float limit, size_t n)
{
	float e[256];

	for (size_t at = 0; at < n; at += sizeof e / sizeof *e) {
		size_t m = n - at < sizeof e / sizeof *e ? n - at : sizeof e / sizeof *e;
		for (size_t i = 0; i < m; i++)
			e[i] = fminf(gate[at + i], limit) * -1.702f;
		k->exp(e, e, m);
		for (size_t i = 0; i < m; i++) {
			float g = fminf(gate[at + i], limit);
			float u = fmaxf(fminf(up[at + i], limit), -limit);
			out[at + i] = (u + 1) * (g / (1 + e[i]));
		}
	}
}

void cpu_activate(const struct kernels *k, const struct ffn *w, float *out, const float *gate,
	const float *up, size_t n)
{
	const bool gated = w->gate.w.data != NULL;
	const float *x = gated ? gate : up, *factor = gated ? up : NULL;

	switch (w->activation) {
	case ACTIVATION_SILU: k->silu(out, x, factor, n); break;
	case ACTIVATION_GELU_TANH: k->gelu_tanh(out, x, factor, n); break;
	case ACTIVATION_GELU_ERF: k->gelu_erf(out, x, factor, n); break;
	case ACTIVATION_RELU: relu(out, x, factor, n); break;
	case ACTIVATION_CLAMPED_SWIGLU:
		assert(gated);
		clamped_swiglu(k, out, gate, up, w->limit, n);
		break;
	}
}

/* in→out[n_rows][dim]. */
static void run_ffn(struct step *s, const struct ffn *w, const struct rows *in, float *out)
{
	const size_t dim = s->d->dim, width = w->up.w.n_out;
	const struct product inner = {
		.matrix = &w->up, .ffn = w, .out = s->hidden, .out_stride = width
	};
	struct product down = { .matrix = &w->down, .out_stride = dim };
	const struct rows hidden = { s->hidden, width, in->n_rows, in->n_prefill, NULL };

	cpu_multiply(s, in, &inner, 1);
	down.out = out;
	cpu_multiply(s, &hidden, &down, 1);
}

void cpu_ffn(struct step *s, enum act out, struct input in, const struct ffn *w)
{
	const struct rows rows = cpu_rows(s, in);

	run_ffn(s, w, &rows, s->acts[out]);
}

/* The n_used largest of p[0..n), falling, the lower index first among equals. */
static void pick_top(const float *p, size_t n, int32_t *picks, size_t n_used)
{
	size_t have = 0;

	for (size_t e = 0; e < n; e++) {
		size_t at = have < n_used ? have++ : n_used;
		for (; at > 0 && p[e] > p[picks[at - 1]]; at--)
			if (at < n_used)
				picks[at] = picks[at - 1];
		if (at < n_used)
			picks[at] = (int32_t)e;
	}
}

static void route_row(
	const struct step *s, const struct experts *w, float *p, int32_t *picks, float *weights)
{
	float sum = 0;

	if (w->routing != ROUTE_SOFTMAX_TOP)
		s->k.softmax(p, w->n_experts);
	pick_top(p, w->n_experts, picks, w->n_used);
	for (size_t i = 0; i < w->n_used; i++)
		sum += weights[i] = p[picks[i]];
	switch (w->routing) {
	case ROUTE_SOFTMAX_ALL: break;
	case ROUTE_SOFTMAX_ALL_NORM:
		for (size_t i = 0; i < w->n_used; i++)
			weights[i] /= sum;
		break;
	case ROUTE_SOFTMAX_TOP: s->k.softmax(weights, w->n_used); break;
	}
}

static void route_rows(struct step *s, void *arg, size_t begin, size_t end)
{
	const struct experts *w = arg;

	for (size_t r = begin; r < end; r++)
		route_row(s, w, s->router + r * w->n_experts, s->picks + r * w->n_used,
			s->pick_weights + r * w->n_used);
}

/* The rows that picked expert e, side by side. Rows rise, so prompt rows stay in front. */
static struct rows gather(struct step *s, const struct rows *in, const struct experts *w, int32_t e)
{
	const size_t dim = in->width;
	struct rows picked = { .x = s->gathered, .width = dim };

	for (size_t r = 0; r < in->n_rows; r++) {
		for (size_t i = 0; i < w->n_used; i++) {
			if (s->picks[r * w->n_used + i] != e)
				continue;
			memcpy(s->gathered + picked.n_rows * dim, in->x + r * dim,
				dim * sizeof *in->x);
			s->expert_rows[picked.n_rows] = (int32_t)r;
			s->expert_scales[picked.n_rows++] = s->pick_weights[r * w->n_used + i];
			picked.n_prefill += r < in->n_prefill;
		}
	}
	return picked;
}

void cpu_experts(struct step *s, enum act out, struct input in, const struct experts *w)
{
	const size_t dim = s->d->dim;
	const struct product router = {
		.matrix = &w->router, .out = s->router, .out_stride = w->n_experts
	};
	struct experts copy = *w;
	struct rows rows = cpu_rows(s, in);

	/* Here, so that its norm is taken once: experts gather from what it gives. */
	cpu_prepare(s, &rows, NULL, 0);
	cpu_multiply(s, &rows, &router, 1);
	cpu_each_rows(s, route_rows, &copy, s->n_rows, 16 * w->n_experts);
	memset(s->acts[out], 0, s->n_rows * dim * sizeof(float));
	/* Experts in rising order: a row's sum is taken in the order of its experts' numbers,
	 * whoever else picked them. */
	for (size_t e = 0; e < w->n_experts; e++) {
		const struct rows picked = gather(s, &rows, w, (int32_t)e);
		if (picked.n_rows == 0)
			continue;
		run_ffn(s, &w->experts[e], &picked, s->expert_out);
		for (size_t i = 0; i < picked.n_rows; i++) {
			float *y = s->acts[out] + (size_t)s->expert_rows[i] * dim;
			s->k.add_scaled(y, y, s->expert_out + i * dim, s->expert_scales[i], dim);
		}
	}
}
