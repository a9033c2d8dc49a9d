/* backend.h - the acceleration seam: what a forward pass may ask for.
 *
 * An architecture (arch_*.c) is a straight line of these calls; how they are fused, split
 * over threads or moved to a device is the backend's business. Activations live in the
 * backend's memory and are named, not pointed to: host numbers appear only in the rows that
 * go in and the logits and last hidden states that come out. backend_cpu.c is built in and always
 * works.
 *
 * Row exactness: every operation computes a row from that row alone (attend: and its
 * sequence's cache), in an order that depends on the weights' shape and the row's prefill
 * mark, never on the other rows or on the number of threads. */
#ifndef WORKER_MODEL_BACKEND_H
#define WORKER_MODEL_BACKEND_H
#include "kernels/packed.h"
#include "protocol/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch_row;
struct decoder;
struct pool;
struct step; /* one backend's scratch and the rows of the step in flight */

/* y = W x + bias, W in any stored format. Borrowed from the weights; slices of a fused matrix
 * are views. */
struct matrix {
	struct weight w;   /* w.data NULL = no such matrix */
	const float *bias; /* [n_out], or NULL */
	const void
		*packed; /* the same weights in panels (packing.h), or NULL: products are exact */
	enum packed_kind packed_kind;
	bool pairs;     /* bf16, and rows are rounded to it too: struct mul_pairs */
	bool is_mapped; /* w.data lies in a file: what is not read takes no memory */
};

enum norm_kind { NORM_RMS, NORM_LAYER };

struct norm_weight {
	enum norm_kind kind;
	size_t n;            /* applied to every n consecutive elements; 0 = no such norm */
	const float *weight; /* [n] */
	const float *bias;   /* [n], or NULL */
	float eps, offset;   /* the factor is offset + weight */
};

/* The activations of a step. X is the residual stream; widths come from the decoder. */
enum act {
	ACT_X, /* [dim] */
	ACT_Y, /* [dim], a branch before it joins X */
	ACT_Z, /* [dim], the second of two branches that read the same X; only where d->parallel */
	ACT_Q, /* [n_heads][head_dim]; attend leaves its result here */
	ACT_K, /* [n_kv_heads][head_dim] */
	ACT_V, /* [n_kv_heads][head_dim] */
	ACT_COUNT
};

/* What matrices meet: an activation as it is, or what a norm makes of it on the way. */
struct input {
	enum act act;
	const struct norm_weight *norm; /* NULL or n = 0: none */
};

struct embedding {
	struct matrix tokens;    /* [vocab][dim] */
	struct matrix positions; /* [context][dim], learned; data NULL = none */
	float scale;             /* of the token's vector */
};

struct projection {
	const struct matrix *matrix;
	enum act out;
};

struct attention {
	size_t layer; /* of the KV cache */
	float scale;
	float softcap;      /* scores become cap·tanh(s / cap); 0 = none */
	size_t window;      /* positions seen, the row's own included; 0 = all */
	const float *sinks; /* [n_heads] logits that take weight and give nothing, or NULL */
};

enum activation {
	ACTIVATION_SILU,
	ACTIVATION_GELU_TANH,
	ACTIVATION_GELU_ERF,
	ACTIVATION_RELU,
	/* gpt-oss: g' = min(g, limit), u' = clamp(u, ±limit), (u' + 1) · g' · sigmoid(1.702 g') */
	ACTIVATION_CLAMPED_SWIGLU,
};

/* down(act(gate x) * up x), or down(act(up x)) without a gate. */
struct ffn {
	struct matrix gate, up, down;
	enum activation activation;
	float limit; /* ACTIVATION_CLAMPED_SWIGLU */
};

enum routing {
	ROUTE_SOFTMAX_ALL,      /* softmax over all, then the top k as they are */
	ROUTE_SOFTMAX_ALL_NORM, /* … then scaled to sum 1 */
	ROUTE_SOFTMAX_TOP,      /* the top k, then softmax over them */
};

struct experts {
	struct matrix router; /* [n_experts][dim] */
	struct ffn *experts;  /* [n_experts] */
	size_t n_experts, n_used;
	enum routing routing;
};

struct lm_head {
	struct matrix matrix; /* [vocab][dim] */
	float scale;          /* of the logits */
	float softcap;        /* 0 = none */
};

struct backend {
	const char *name;
	/* Scratch for at most max_rows rows; NULL with ERR_NOMEM. Nothing below allocates. */
	struct step *(*step_new)(
		const struct decoder *d, size_t max_rows, struct pool *pool, struct fault *f);
	void (*step_free)(struct step *s);
	/* All of that scratch is in memory afterwards. */
	void (*touch)(struct step *s);
	/* Take the rows in; logits [n_wanted][vocab] is where the step's end will write. */
	void (*begin)(struct step *s, const struct batch_row *rows, size_t n_rows, float *logits);

	void (*embed)(struct step *s, enum act out, const struct embedding *e);
	void (*norm)(struct step *s, enum act io, const struct norm_weight *w);
	/* Several matrices over one input, biases added. */
	void (*project)(struct step *s, struct input in, const struct projection *p, size_t n);
	/* Rotate every head of io by the decoder's rope table. */
	void (*rope)(struct step *s, enum act io, size_t table);
	/* Append K and V to each row's sequence, then Q becomes the attention's result. */
	void (*attend)(struct step *s, const struct attention *a);
	void (*ffn)(struct step *s, enum act out, struct input in, const struct ffn *w);
	void (*experts)(struct step *s, enum act out, struct input in, const struct experts *w);
	/* io = io + scale * in */
	void (*add)(struct step *s, enum act io, enum act in, float scale);
	/* The end of a step: the input goes to the rows that want their hidden state, and logits
	 * of it to those that want logits, in their order; other rows are not looked at. */
	void (*logits)(struct step *s, struct input in, const struct lm_head *h);
};

extern const struct backend BACKEND_CPU;
#endif
