/* rope.h - rotary position embedding: frequencies of every scaling kind in use.
 *
 * A table holds the inverse frequencies of one kind; cos and sin of a position are taken
 * when a step needs them, so a context of 128k tokens costs no memory. Kinds and formulas
 * as in transformers' modeling_rope_utils: default, linear, dynamic (NTK), yarn
 * (arXiv:2309.00071), longrope (arXiv:2402.13753), llama3. Angles are the product of two
 * float32 rounded to float32, as there. */
#ifndef WORKER_MODEL_ROPE_H
#define WORKER_MODEL_ROPE_H
#include "worker/model/config.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rope_table {
	size_t n_rot;    /* rotated elements of a head, even; the rest pass through */
	bool pairs;      /* pair (2i, 2i+1) instead of (i, i + n_rot/2) */
	float *inv_freq; /* [n_rot / 2]; owned */
	float *inv_long; /* [n_rot / 2] for texts over trained_length (longrope), or NULL; owned */
	float magnitude; /* multiplies cos and sin (attention factor) */
	double theta;    /* base */
	double dynamic_factor; /* NTK: the base is stretched with the length; 0 = it is not */
	size_t trained_length; /* dynamic and longrope: texts up to it are left alone */
};

/* What a table is made from, beside its parameters. */
struct rope_shape {
	size_t head_dim;
	size_t context_length; /* max_position_embeddings */
	double theta_preset;   /* when no rope_theta is given */
	double partial_preset; /* when no partial_rotary_factor is given; 1 = whole heads */
	bool pairs;
};

/* Read rope_parameters, or rope_scaling with rope_theta beside it, of c; the nested object
 * `layer_type` of rope_parameters where it is split by layer type (NULL: it is not).
 * Errors are recorded in c. Release with rope_release. */
void rope_configure(struct rope_table *t, struct config *c, const char *layer_type,
	const struct rope_shape *shape);
/* A plain table of `theta` divided by `factor`, for models that name them otherwise. */
void rope_plain(struct rope_table *t, const struct rope_shape *shape, double theta, double factor);
void rope_release(struct rope_table *t);

/* cos and sin [n_rot / 2] of one position, magnitude included. n_text: the length of the
 * text as known when the row is computed, more than pos; dynamic and longrope look at it. */
void rope_fill(
	const struct rope_table *t, size_t pos, size_t n_text, float *cos_out, float *sin_out);
#endif
