/* quantization.c - "quantization" (MLX) and "quantization_config" (transformers) of a config. */
#include "worker/model/quantization.h"
#include <string.h>

static int check_mode(struct config *q, struct fault *f)
{
	const char *mode = config_str_or(q, "mode", "affine");

	if (strcmp(mode, "affine") != 0 && strcmp(mode, "mxfp4") != 0)
		config_refuse(q, "mode", "quantization mode \"%s\" is not supported", mode);
	return config_status(q, f);
}

int quantization_read(struct config *c, struct config **out, struct fault *f)
{
	const char *field = config_has(c, "quantization") ? "quantization" : "quantization_config";
	/* mlx-lm writes the same settings under both names. */
	struct json_span settings = config_value(c, field);
	const char *method;
	int rc;

	config_ignore(c, "quantization_config");
	*out = NULL;
	if (!settings.at)
		return 0;
	rc = config_parse(settings.at, settings.n, config_where(c), out, f);
	if (rc < 0)
		return rc;
	method = config_str_or(*out, "quant_method", "");
	rc = config_status(*out, f);
	if (rc == 0 && *method == '\0')
		return check_mode(*out, f);
	/* gpt-oss: its tensors say the rest by their names and shapes. */
	if (rc == 0 && strcmp(method, "mxfp4") != 0)
		rc = fault_set(f, ERR_MODEL_LOAD, "%s: %s.quant_method: \"%s\" is not supported",
			config_where(c), field, method);
	config_free(*out);
	*out = NULL;
	return rc;
}
