/* tok_compare.c - whether a draft model's tokens mean the same as the primary's. */
#include "worker/text/tok_stages.h"
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static void say(struct buf *list, const char *text)
{
	jout_sep(list);
	jout_cstr(list, text);
}

static bool same_piece(const struct tokenizer *a, const struct tokenizer *b, int32_t id)
{
	size_t na, nb;
	const char *pa = tokenizer_piece(a, id, &na), *pb = tokenizer_piece(b, id, &nb);
	if (pa == NULL || pb == NULL)
		return pa == pb;
	return na == nb && memcmp(pa, pb, na) == 0;
}

static void compare_special(
	const struct tokenizer *a, const struct tokenizer *b, struct buf *warnings)
{
	size_t n_a = tokenizer_vocab_size(a), n_b = tokenizer_vocab_size(b), differ = 0;
	for (size_t id = 0; id < n_a && id < n_b; id++)
		differ += tokenizer_is_special(a, (int32_t)id) !=
			  tokenizer_is_special(b, (int32_t)id);
	char text[160];
	if (differ) {
		snprintf(text, sizeof text, "%zu tokens are control tokens in one model only",
			differ);
		say(warnings, text);
	}
	if (a->bos != b->bos || a->eos != b->eos) {
		snprintf(text, sizeof text,
			"Begin and end tokens differ: %d and %d in the primary, %d and %d in the "
			"draft",
			(int)a->bos, (int)a->eos, (int)b->bos, (int)b->eos);
		say(warnings, text);
	}
}

/* Of the rules, whatever order the tables hold them in. */
static uint64_t merges_digest(const struct tok_merges *m)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < m->n_slots; i++) {
		if (m->slots[i].pair == UINT64_MAX)
			continue;
		uint64_t rule[2] = { m->slots[i].pair,
			(uint64_t)m->slots[i].to.rank << 32 | (uint32_t)m->slots[i].to.id };
		sum += XXH3_64bits(rule, sizeof rule);
	}
	return sum;
}

/* The same pieces, but another way to cut text into them: drafts stay valid, prompts that
 * each tokenizes for itself may not be equal. */
static void compare_stages(
	const struct tokenizer *a, const struct tokenizer *b, struct buf *warnings)
{
	if (merges_digest(&a->model.merges) != merges_digest(&b->model.merges))
		say(warnings, "Merge rules differ");
	if (a->norm_digest != b->norm_digest)
		say(warnings, "Normalizers differ");
	if (a->pretok_digest != b->pretok_digest)
		say(warnings, "Pre-tokenizers differ");
}

bool tokenizer_compare(const struct tokenizer *primary, const struct tokenizer *draft,
	struct buf *errors, struct buf *warnings)
{
	size_t n_a = tokenizer_vocab_size(primary), n_b = tokenizer_vocab_size(draft);
	size_t n = n_a < n_b ? n_a : n_b, differ = 0, first = 0;
	char text[256];
	for (size_t id = 0; id < n; id++)
		if (!same_piece(primary, draft, (int32_t)id) && differ++ == 0)
			first = id;
	if (differ) {
		snprintf(text, sizeof text,
			"Vocabularies differ: %zu of %zu shared token ids mean different pieces, "
			"the "
			"first is %zu",
			differ, n, first);
		say(errors, text);
	}
	if (n_a != n_b) {
		snprintf(text, sizeof text,
			"Vocabulary sizes differ: %zu in the primary, %zu in the draft", n_a, n_b);
		say(warnings, text);
	}
	if (strcmp(tokenizer_kind(primary), tokenizer_kind(draft)) != 0) {
		snprintf(text, sizeof text,
			"Tokenizer kinds differ: %s in the primary, %s in the draft",
			tokenizer_kind(primary), tokenizer_kind(draft));
		say(warnings, text);
	}
	compare_special(primary, draft, warnings);
	compare_stages(primary, draft, warnings);
	return differ == 0;
}
