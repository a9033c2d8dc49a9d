/* backend_cpu_ffn.c - feed-forward layers: gated or plain, and mixtures of experts. */
#include "worker/model/backend_cpu.h"
#include <assert.h>
#include <math.h>
#include <string.h>

/* A feed-forward layer over some rows, wherever they are. */
struct ffn_job {
	const struct ffn *w;
	const float *x;
	float *out; /* both [n_rows][dim] */
	size_t n_rows, n_prefill;
};

static void relu(float *out, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = fmaxf(gate[i], 0) * (up ? up[i] : 1);
}

/* gpt-oss (transformers, modeling_gpt_oss): alpha is fixed there. up becomes the result. */
static void clamped_swiglu(
	const struct kernels *k, const float *gate, float *up, float limit, size_t n)
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
			up[at + i] = (u + 1) * (g / (1 + e[i]));
		}
	}
}

static void activate(struct step *s, void *arg, size_t begin, size_t end)
{
	const struct ffn *w = ((const struct ffn_job *)arg)->w;
	size_t width = w->up.w.n_out, n = (end - begin) * width;
	float *up = s->hidden + begin * width;
	bool gated = w->gate.w.data != NULL;
	const float *gate = gated ? s->gate + begin * width : up;
	const float *factor = gated ? up : NULL;

	assert(s->hidden && s->gate);
	switch (w->activation) {
	case ACTIVATION_SILU: s->k.silu(up, gate, factor, n); break;
	case ACTIVATION_GELU_TANH: s->k.gelu_tanh(up, gate, factor, n); break;
	case ACTIVATION_GELU_ERF: s->k.gelu_erf(up, gate, factor, n); break;
	case ACTIVATION_RELU: relu(up, gate, factor, n); break;
	case ACTIVATION_CLAMPED_SWIGLU:
		assert(gated);
		clamped_swiglu(&s->k, gate, up, w->limit, n);
		break;
	}
}

static void run_ffn(struct step *s, struct ffn_job *j)
{
	size_t dim = s->d->dim, width = j->w->up.w.n_out;
	const struct product up = {
		.matrix = &j->w->up,
		.x = j->x,
		.x_stride = dim,
		.n_rows = j->n_rows,
		.n_prefill = j->n_prefill,
		.out = s->hidden,
		.out_stride = width,
	};
	struct product both[2] = { up, up }, down = up;

	both[1].matrix = &j->w->gate;
	both[1].out = s->gate;
	cpu_multiply(s, both, j->w->gate.w.data ? 2 : 1);
	cpu_each_rows(s, activate, j, j->n_rows, 4 * width);
	down.matrix = &j->w->down;
	down.x = s->hidden;
	down.x_stride = width;
	down.out = j->out;
	down.out_stride = dim;
	cpu_multiply(s, &down, 1);
}

void cpu_ffn(struct step *s, enum act out, enum act in, const struct ffn *w)
{
	struct ffn_job job = { w, s->acts[in], s->acts[out], s->n_rows, s->n_prefill };

	run_ffn(s, &job);
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

/* The rows that picked expert e, their inputs side by side. Rows rise, so prompt rows stay
 * in front. */
static void gather(
	struct step *s, const float *x, const struct experts *w, int32_t e, struct ffn_job *j)
{
	size_t dim = s->d->dim;

	j->n_rows = j->n_prefill = 0;
	for (size_t r = 0; r < s->n_rows; r++) {
		for (size_t i = 0; i < w->n_used; i++) {
			if (s->picks[r * w->n_used + i] != e)
				continue;
			memcpy(s->gathered + j->n_rows * dim, x + r * dim, dim * sizeof *x);
			s->expert_rows[j->n_rows] = (int32_t)r;
			s->expert_scales[j->n_rows++] = s->pick_weights[r * w->n_used + i];
			j->n_prefill += r < s->n_prefill;
		}
	}
}

void cpu_experts(struct step *s, enum act out, enum act in, const struct experts *w)
{
	size_t dim = s->d->dim;
	struct experts copy = *w;
	struct ffn_job job = { .x = s->gathered, .out = s->expert_out };
	const struct product router = {
		.matrix = &w->router,
		.x = s->acts[in],
		.x_stride = dim,
		.n_rows = s->n_rows,
		.n_prefill = s->n_prefill,
		.out = s->router,
		.out_stride = w->n_experts,
	};

	cpu_multiply(s, &router, 1);
	cpu_each_rows(s, route_rows, &copy, s->n_rows, 16 * w->n_experts);
	memset(s->acts[out], 0, s->n_rows * dim * sizeof(float));
	/* Experts in rising order: a row's sum is taken in the order of its experts' numbers,
	 * whoever else picked them. */
	for (size_t e = 0; e < w->n_experts; e++) {
		gather(s, s->acts[in], w, (int32_t)e, &job);
		if (job.n_rows == 0)
			continue;
		job.w = &w->experts[e];
		run_ffn(s, &job);
		for (size_t i = 0; i < job.n_rows; i++) {
			float *y = s->acts[out] + (size_t)s->expert_rows[i] * dim;
			s->k.add_scaled(y, y, s->expert_out + i * dim, s->expert_scales[i], dim);
		}
	}
}
