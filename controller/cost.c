/* cost.c - calls weighed in tokens. */
#include "controller/cost.h"
#include "protocol/limits.h"

static bool is_max_tokens(struct json_span key)
{
	return json_str_is(key, "max_tokens") || json_str_is(key, "max_new_tokens") ||
	       json_str_is(key, "n_predict") || json_str_is(key, "max_completion_tokens");
}

/* What the worker will refuse anyway must not distort the sums. */
static size_t count_of(struct json_span value, size_t preset, int64_t max)
{
	int64_t n;
	if (!json_get_int(value, &n) || n < 1)
		return preset;
	return (size_t)(n < max ? n : max);
}

size_t cost_estimate(const struct method *m, struct json_span params)
{
	size_t text = 1 + params.n / COST_BYTES_PER_TOKEN, tokens = COST_MAX_TOKENS, choices = 1;
	struct json_cursor c = json_iterate(params);
	struct json_span key, value;
	if (m->cls != METHOD_STREAM)
		return text;
	while (json_next_member(&c, &key, &value)) {
		if (json_str_is(key, "n"))
			choices = count_of(value, 1, LIMIT_N);
		else if (is_max_tokens(key))
			tokens = count_of(value, COST_MAX_TOKENS, LIMIT_MAX_TOKENS);
	}
	return text + tokens * choices;
}
