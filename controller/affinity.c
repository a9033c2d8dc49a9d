/* affinity.c - beginnings of prompts and the workers that know them. */
#include "controller/affinity.h"
#include <string.h>
#include <xxhash.h>

/* What is rendered before the prompt, or keeps caches apart, makes other blocks of the same
 * text. */
static bool is_context(struct json_span key)
{
	return json_str_is(key, "tools") || json_str_is(key, "chat_template") ||
	       json_str_is(key, "documents") || json_str_is(key, "cache_scope");
}

static bool is_text(struct json_span key)
{
	return json_str_is(key, "prompt") || json_str_is(key, "messages") ||
	       json_str_is(key, "prompt_tokens");
}

void affinity_read(struct affinity_prompt *p, const char *model, struct json_span params)
{
	struct json_cursor c = json_iterate(params);
	struct json_span key, value, text = { NULL, 0 };
	uint64_t hash = XXH3_64bits(model, strlen(model));
	bool may_share = true;
	p->n = 0;
	while (json_next_member(&c, &key, &value)) {
		if (is_text(key) && json_kind(value) != 'n')
			text = value;
		else if (is_context(key) && json_kind(value) != 'n')
			hash ^= XXH3_64bits_withSeed(value.at, value.n, key.n);
		else if (json_str_is(key, "cache_prompt"))
			json_get_bool(value, &may_share);
	}
	if (!may_share)
		return;
	for (; text.n >= AFFINITY_BLOCK_BYTES && p->n < AFFINITY_BLOCKS; p->n++) {
		hash = XXH3_64bits_withSeed(text.at, AFFINITY_BLOCK_BYTES, hash);
		p->hashes[p->n] = hash;
		text.at += AFFINITY_BLOCK_BYTES;
		text.n -= AFFINITY_BLOCK_BYTES;
	}
}

size_t affinity_match(const struct affinity *a, const struct affinity_prompt *p, int worker)
{
	size_t n = 0;
	for (; n < p->n; n++) {
		size_t at = p->hashes[n] % AFFINITY_SLOTS;
		if (a->slots[at].hash != p->hashes[n] || !(a->slots[at].workers >> worker & 1))
			break;
	}
	return n;
}

void affinity_note(struct affinity *a, const struct affinity_prompt *p, int worker)
{
	for (size_t i = 0; i < p->n; i++) {
		size_t at = p->hashes[i] % AFFINITY_SLOTS;
		if (a->slots[at].hash != p->hashes[i])
			a->slots[at].workers = 0;
		a->slots[at].hash = p->hashes[i];
		a->slots[at].workers |= UINT64_C(1) << worker;
	}
}

void affinity_forget(struct affinity *a, int worker)
{
	for (size_t i = 0; i < AFFINITY_SLOTS; i++)
		a->slots[i].workers &= ~(UINT64_C(1) << worker);
}
