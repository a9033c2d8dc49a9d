/* params.c - reading checked parameters. */
#include "worker/params.h"
#include "protocol/mem.h"
#include <stdio.h>
#include <stdlib.h>

struct json_object *params_get(struct json_object *params, const char *key)
{
	struct json_object *v = NULL;
	return params && json_object_object_get_ex(params, key, &v) ? v : NULL;
}

bool params_has(struct json_object *params, const char *key)
{
	return params_get(params, key);
}

const char *params_str(struct json_object *params, const char *key)
{
	struct json_object *v = params_get(params, key);
	return v ? json_object_get_string(v) : NULL;
}

const char *params_bytes(struct json_object *params, const char *key, size_t *n)
{
	struct json_object *v = params_get(params, key);
	*n = v ? (size_t)json_object_get_string_len(v) : 0;
	return v ? json_object_get_string(v) : NULL;
}

bool params_bool(struct json_object *params, const char *key, bool absent)
{
	struct json_object *v = params_get(params, key);
	return v ? json_object_get_boolean(v) : absent;
}

int64_t params_int(struct json_object *params, const char *key, int64_t absent)
{
	struct json_object *v = params_get(params, key);
	if (!v)
		return absent;
	/* 1e2 and 1.0 passed the check as integers. */
	return json_object_is_type(v, json_type_double) ? (int64_t)json_object_get_double(v)
							: json_object_get_int64(v);
}

double params_num(struct json_object *params, const char *key, double absent)
{
	struct json_object *v = params_get(params, key);
	return v ? json_object_get_double(v) : absent;
}

int params_token_ids(struct json_object *params, const char *key, size_t vocab_size, int32_t **ids,
	size_t *n, struct fault *f)
{
	struct json_object *array = params_get(params, key);
	const size_t count = array ? json_object_array_length(array) : 0;
	int32_t *out = count ? mem_try_array(count, sizeof *out) : NULL;
	*ids = NULL;
	*n = 0;
	if (count && !out)
		return fault_set(f, ERR_NOMEM, "no memory for %zu token ids", count);
	for (size_t i = 0; i < count; i++) {
		struct json_object *v = json_object_array_get_idx(array, i);
		const double id = json_object_get_double(v);
		if (id >= 0 && id < (double)vocab_size) {
			out[i] = (int32_t)id;
			continue;
		}
		char path[128];
		free(out);
		snprintf(path, sizeof path, "%s[%zu]", key, i);
		fault_set(f, ERR_INVALID_PARAMS,
			"%s is %.17g, outside the vocabulary of %zu tokens", path, id, vocab_size);
		fault_add_str(f, "path", path);
		return ERR_INVALID_PARAMS;
	}
	*ids = out;
	*n = count;
	return 0;
}
