/* json_tree.c - scanned text as a json-c tree, every character of it. */
#include "protocol/json_tree.h"
#include <limits.h>
#include <string.h>

/* The first \u escape of a surrogate pair in [p, end), or NULL. */
static const char *find_pair(const char *p, const char *end)
{
	while ((p = memchr(p, '\\', (size_t)(end - p)))) {
		if (p[1] == 'u' && (p[2] | 0x20) == 'd' && strchr("89abAB", p[3]))
			return p;
		p += 2;
	}
	return NULL;
}

/* json-c 0.16 reads a pair whose character ends in the bits of a low surrogate (U+1DC00, or
 * U+2DC00 and on, where Chinese names are found) as U+FFFD. So pairs reach it as UTF-8. */
static void spell_pairs(struct buf *out, struct json_span v)
{
	const char *p = v.at, *end = v.at + v.n, *pair;
	buf_reserve(out, v.n);
	while ((pair = find_pair(p, end))) {
		buf_add(out, p, (size_t)(pair - p));
		p = json_decode_escape(pair, out);
	}
	buf_add(out, p, (size_t)(end - p));
}

struct json_object *json_tree(struct json_span v)
{
	struct json_tokener *tok;
	if (!v.at || v.n > INT_MAX || !(tok = json_tokener_new_ex(JSON_DEPTH_MAX + 2)))
		return NULL;
	struct buf spelled = BUF_INIT;
	if (find_pair(v.at, v.at + v.n)) {
		spell_pairs(&spelled, v);
		v = (struct json_span) { spelled.data, spelled.n_bytes };
	}
	struct json_object *tree = json_tokener_parse_ex(tok, v.at, (int)v.n);
	/* A number at the end might go on: json-c waits for one more byte. */
	if (json_tokener_get_error(tok) == json_tokener_continue)
		tree = json_tokener_parse_ex(tok, "", 1);
	json_tokener_free(tok);
	buf_release(&spelled);
	return tree;
}
