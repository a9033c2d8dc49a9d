/* rope.c - inverse frequencies of rotary embeddings, and cos/sin of a position. */
#include "worker/model/rope.h"
#include "protocol/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float plain_freq(double theta, size_t i, size_t n_rot)
{
	float power = (float)pow(theta, (double)((float)(2 * i) / (float)n_rot));

	return 1.0f / power;
}

static void fill_plain(struct rope_table *t, double factor)
{
	for (size_t i = 0; i < t->n_rot / 2; i++)
		t->inv_freq[i] = plain_freq(t->theta, i, t->n_rot) / (float)factor;
}

/* The dimension whose wavelength makes `turns` rotations over the trained length. */
static double yarn_dim(double turns, const struct rope_table *t, double trained)
{
	return (double)t->n_rot * log(trained / (turns * 2 * M_PI)) / (2 * log(t->theta));
}

static double yarn_magnitude(double factor, double mscale)
{
	return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double trained_length(struct config *c, struct config *p, size_t preset)
{
	size_t top = config_size_or(c, "original_max_position_embeddings", preset);

	return (double)config_size_or(p, "original_max_position_embeddings", top);
}

static void fill_yarn(struct rope_table *t, struct config *c, struct config *p, size_t context)
{
	double trained = trained_length(c, p, context);
	double factor = config_num_or(p, "factor", (double)context / trained);
	double mscale = config_num_or(p, "mscale", 0),
	       all_dim = config_num_or(p, "mscale_all_dim", 0);
	double preset = yarn_magnitude(factor, 1);
	double low = yarn_dim(config_num_or(p, "beta_fast", 32), t, trained);
	double high = yarn_dim(config_num_or(p, "beta_slow", 1), t, trained);

	if (mscale != 0 && all_dim != 0)
		preset = yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all_dim);
	t->magnitude = (float)config_num_or(p, "attention_factor", preset);
	if (config_bool_or(p, "truncate", true)) {
		low = floor(low);
		high = ceil(high);
	}
	low = fmax(low, 0);
	high = fmin(high, (double)t->n_rot - 1);
	if (low == high)
		high += 0.001;
	for (size_t i = 0; i < t->n_rot / 2; i++) {
		float plain = plain_freq(t->theta, i, t->n_rot);
		float ramp = (float)fmin(fmax(((double)i - low) / (high - low), 0), 1);
		t->inv_freq[i] = plain / (float)factor * ramp + plain * (1 - ramp);
	}
}

static void fill_longrope(struct rope_table *t, struct config *c, struct config *p, size_t context)
{
	size_t n = t->n_rot / 2;
	double *factors = xcalloc(2 * n, sizeof *factors);
	double trained = trained_length(c, p, context);
	double factor = config_num_or(p, "factor", (double)context / trained);
	double preset = factor <= 1 ? 1 : sqrt(1 + log(factor) / log(trained));

	t->magnitude = (float)config_num_or(p, "attention_factor", preset);
	t->trained_length = (size_t)trained;
	t->inv_long = xcalloc(n, sizeof *t->inv_long);
	if (!config_nums(p, "short_factor", factors, n, false) ||
		!config_nums(p, "long_factor", factors + n, n, false))
		config_refuse(p, "rope_type", "longrope needs short_factor and long_factor");
	for (size_t i = 0; i < n; i++) {
		float power = 1 / plain_freq(t->theta, i, t->n_rot);
		t->inv_freq[i] = 1 / ((float)factors[i] * power);
		t->inv_long[i] = 1 / ((float)factors[n + i] * power);
	}
	free(factors);
}

static void fill_llama3(struct rope_table *t, struct config *c, struct config *p, size_t context)
{
	float trained = (float)trained_length(c, p, context);
	float factor = (float)config_num(p, "factor");
	float low = (float)config_num(p, "low_freq_factor");
	float high = (float)config_num(p, "high_freq_factor");

	for (size_t i = 0; i < t->n_rot / 2; i++) {
		float plain = plain_freq(t->theta, i, t->n_rot);
		float wavelength = 2 * (float)M_PI / plain;
		float smooth = (trained / wavelength - low) / (high - low);
		if (wavelength > trained / low)
			t->inv_freq[i] = plain / factor;
		else if (wavelength < trained / high)
			t->inv_freq[i] = plain;
		else
			t->inv_freq[i] = (1 - smooth) * (plain / factor) + smooth * plain;
	}
}

static void make_table(struct rope_table *t, const struct rope_shape *shape, double partial)
{
	size_t n_rot = (size_t)((double)shape->head_dim * partial) & ~(size_t)1;

	*t = (struct rope_table) { .n_rot = n_rot, .pairs = shape->pairs, .magnitude = 1 };
	t->inv_freq = xcalloc(n_rot / 2 + 1, sizeof *t->inv_freq);
}

static void fill(struct rope_table *t, struct config *c, struct config *p, size_t context)
{
	const char *old_name = p ? config_str_or(p, "type", "default") : "default";
	const char *kind = p ? config_str_or(p, "rope_type", old_name) : "default";

	if (strcmp(kind, "default") == 0) {
		fill_plain(t, 1);
	} else if (strcmp(kind, "linear") == 0) {
		fill_plain(t, config_num(p, "factor"));
	} else if (strcmp(kind, "dynamic") == 0) {
		t->dynamic_factor = config_num(p, "factor");
		t->trained_length = (size_t)trained_length(c, p, context);
		fill_plain(t, 1);
	} else if (strcmp(kind, "yarn") == 0) {
		fill_yarn(t, c, p, context);
	} else if (strcmp(kind, "longrope") == 0 || strcmp(kind, "su") == 0) {
		fill_longrope(t, c, p, context);
	} else if (strcmp(kind, "llama3") == 0) {
		fill_llama3(t, c, p, context);
	} else {
		config_refuse(
			p, "rope_type", "rotary embedding scaling \"%s\" is not supported", kind);
	}
}

void rope_configure(struct rope_table *t, struct config *c, const char *layer_type,
	const struct rope_shape *shape)
{
	struct config *p = config_object(c, "rope_parameters");
	double theta = config_num_or(c, "rope_theta", shape->theta_preset);
	double partial = config_num_or(c, "partial_rotary_factor", shape->partial_preset);

	if (p && layer_type)
		p = config_object(p, layer_type);
	else if (!p)
		p = config_object(c, "rope_scaling");
	else
		config_ignore(c, "rope_scaling"); /* the same in the older spelling */
	if (p) {
		theta = config_num_or(p, "rope_theta", theta);
		partial = config_num_or(p, "partial_rotary_factor", partial);
	}
	if (!(theta > 0))
		config_refuse(c, "rope_theta", "must be positive");
	if (!(partial > 0 && partial <= 1)) {
		config_refuse(c, "partial_rotary_factor", "must be in (0, 1]");
		partial = 1;
	}
	make_table(t, shape, partial);
	t->theta = theta > 0 ? theta : 1;
	fill(t, c, p, shape->context_length);
	for (size_t i = 0; i < t->n_rot / 2; i++)
		if (!isfinite(t->inv_freq[i]) || (t->inv_long && !isfinite(t->inv_long[i])))
			config_refuse(c, "rope_parameters", "gives a frequency that is not finite");
}

void rope_plain(struct rope_table *t, const struct rope_shape *shape, double theta, double factor)
{
	make_table(t, shape, shape->partial_preset);
	t->theta = theta;
	fill_plain(t, factor);
}

void rope_release(struct rope_table *t)
{
	free(t->inv_freq);
	free(t->inv_long);
	*t = (struct rope_table) { 0 };
}

/* Dynamic NTK (transformers' "dynamic"): beyond the trained length the base grows so that
 * the slowest frequency keeps its range. */
static double stretched_theta(const struct rope_table *t, size_t n_text)
{
	double ratio = (double)n_text / (double)t->trained_length;
	double n = (double)t->n_rot;

	return t->theta * pow(t->dynamic_factor * ratio - (t->dynamic_factor - 1), n / (n - 2));
}

void rope_fill(
	const struct rope_table *t, size_t pos, size_t n_text, float *cos_out, float *sin_out)
{
	bool is_long = t->trained_length > 0 && n_text > t->trained_length;
	const float *freq = is_long && t->inv_long ? t->inv_long : t->inv_freq;
	double theta = is_long && t->dynamic_factor > 0 ? stretched_theta(t, n_text) : 0;

	for (size_t i = 0; i < t->n_rot / 2; i++) {
		float f = theta > 0 ? plain_freq(theta, i, t->n_rot) : freq[i];
		float angle = (float)pos * f;
		cos_out[i] = (float)cos((double)angle) * t->magnitude;
		sin_out[i] = (float)sin((double)angle) * t->magnitude;
	}
}
