/* splice.c - members out, members in, the rest untouched. */
#include "controller/splice.h"

static bool is_named(struct json_span key, const char *const *keys)
{
	for (; *keys; keys++)
		if (json_str_is(key, *keys))
			return true;
	return false;
}

void splice_without(struct buf *out, struct json_span object, const char *const *keys)
{
	struct json_cursor c = json_iterate(object);
	struct json_span key, value;
	buf_addc(out, '{');
	while (json_next_member(&c, &key, &value)) {
		if (is_named(key, keys))
			continue;
		jout_sep(out);
		buf_add(out, key.at, key.n);
		buf_addc(out, ':');
		buf_add(out, value.at, value.n);
	}
}

void splice_set(struct buf *out, struct json_span object, const char *key, struct json_span value)
{
	const char *keys[] = { key, NULL };
	splice_without(out, object, keys);
	jout_key_raw(out, key, value.at, value.n);
	buf_addc(out, '}');
}
