/* defaults.c - sampling defaults and end-of-text ids out of a model's own files. */
#include "worker/model/defaults.h"
#include <math.h>

static void add_eos(struct model_defaults *d, struct config *c, struct json_span v)
{
	int64_t id;

	if (!json_get_int(v, &id) || id > INT32_MAX) {
		config_refuse(c, "eos_token_id", "not a token id");
		return;
	}
	if (id < 0)
		return; /* -1 is an old way to say none */
	for (size_t i = 0; i < d->n_eos; i++)
		if (d->eos[i] == id)
			return;
	if (d->n_eos < sizeof d->eos / sizeof *d->eos)
		d->eos[d->n_eos++] = (int32_t)id;
	else
		config_refuse(
			c, "eos_token_id", "more than %zu ids", sizeof d->eos / sizeof *d->eos);
}

static void read_eos(struct model_defaults *d, struct config *c)
{
	struct json_span v = config_value(c, "eos_token_id"), id;

	if (json_kind(v) == '[') {
		for (struct json_cursor at = json_iterate(v); json_next_element(&at, &id);)
			add_eos(d, c, id);
	} else if (v.at) {
		add_eos(d, c, v);
	}
}

int defaults_read(
	struct model_defaults *d, struct config *config, struct config *generation, struct fault *f)
{
	struct config *g = generation;

	*d = (struct model_defaults) { NAN, NAN, NAN, NAN, NAN, NAN, NAN, -1, { 0 }, 0 };
	read_eos(d, config);
	if (!g)
		return config_status(config, f);
	read_eos(d, g);
	d->temperature = config_num_or(g, "temperature", NAN);
	d->top_p = config_num_or(g, "top_p", NAN);
	d->top_k = config_num_or(g, "top_k", NAN);
	d->min_p = config_num_or(g, "min_p", NAN);
	d->typical_p = config_num_or(g, "typical_p", NAN);
	d->repetition_penalty = config_num_or(g, "repetition_penalty", NAN);
	d->max_new_tokens = config_num_or(g, "max_new_tokens", NAN);
	if (config_has(g, "do_sample"))
		d->do_sample = config_bool_or(g, "do_sample", false);
	int rc = config_status(config, f);
	return rc < 0 ? rc : config_status(g, f);
}
