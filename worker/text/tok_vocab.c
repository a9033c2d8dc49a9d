/* tok_vocab.c - a vocabulary: one arena of bytes, an index by id, a hash table by piece. */
#define XXH_INLINE_ALL
#include "worker/text/tok_vocab.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define HOLE UINT32_MAX

void tok_vocab_release(struct tok_vocab *v)
{
	buf_release(&v->bytes);
	free(v->pieces);
	free(v->slots);
	*v = (struct tok_vocab) { 0 };
}

static bool is_piece(const struct tok_vocab *v, int32_t id, const char *s, size_t n)
{
	return v->pieces[id].n_bytes == n &&
	       (n == 0 || memcmp(v->bytes.data + v->pieces[id].at, s, n) == 0);
}

/* The slot that holds s, or the free one where it would go. */
static size_t find_slot(const struct tok_vocab *v, const char *s, size_t n, uint64_t hash)
{
	size_t mask = v->n_slots - 1;
	uint32_t tag = (uint32_t)(hash >> 32);
	size_t i = hash & mask;
	while (v->slots[i].id >= 0 &&
		(v->slots[i].tag != tag || !is_piece(v, v->slots[i].id, s, n)))
		i = (i + 1) & mask;
	return i;
}

int32_t tok_vocab_find(const struct tok_vocab *v, const char *s, size_t n)
{
	if (v->n_slots == 0)
		return -1;
	return v->slots[find_slot(v, s, n, XXH3_64bits(s, n))].id;
}

static void insert(struct tok_vocab *v, int32_t id)
{
	const char *s = v->bytes.data + v->pieces[id].at;
	size_t n = v->pieces[id].n_bytes;
	uint64_t hash = XXH3_64bits(s, n);
	size_t i = find_slot(v, s, n, hash);
	if (v->slots[i].id >= 0)
		return;
	v->slots[i].tag = (uint32_t)(hash >> 32);
	v->slots[i].id = id;
}

static void grow_slots(struct tok_vocab *v)
{
	if (v->n_slots >= 2 * (v->n_pieces + 1))
		return;
	struct tok_vocab old = *v;
	v->n_slots = old.n_slots ? 2 * old.n_slots : 512;
	v->slots = xmalloc(v->n_slots * sizeof *v->slots);
	for (size_t i = 0; i < v->n_slots; i++)
		v->slots[i].id = -1;
	for (size_t i = 0; i < old.n_slots; i++)
		if (old.slots[i].id >= 0)
			insert(v, old.slots[i].id);
	free(old.slots);
}

static void grow_ids(struct tok_vocab *v, size_t n_ids)
{
	if (n_ids <= v->n_ids)
		return;
	/* n_ids rounded up to a power of two is the capacity. */
	size_t cap = v->n_ids ? 1 : 0, want = 1;
	while (cap && cap < v->n_ids)
		cap *= 2;
	while (want < n_ids)
		want *= 2;
	if (want > cap)
		v->pieces = xreallocarray(v->pieces, want, sizeof *v->pieces);
	for (size_t i = v->n_ids; i < n_ids; i++)
		v->pieces[i].n_bytes = HOLE;
	v->n_ids = n_ids;
}

enum vocab_put tok_vocab_put_twin(struct tok_vocab *v, int64_t id, const char *s, size_t n)
{
	if (id < 0 || id >= (int64_t)VOCAB_IDS_MAX ||
		(size_t)id > 2 * v->n_pieces + VOCAB_HOLES_MAX)
		return VOCAB_BAD_ID;
	if (n > VOCAB_PIECE_MAX)
		return VOCAB_TOO_LONG;
	if (n >= HOLE - v->bytes.n_bytes)
		return VOCAB_TOO_LARGE;
	grow_ids(v, (size_t)id + 1);
	if (v->pieces[id].n_bytes != HOLE)
		return VOCAB_ID_TAKEN;
	grow_slots(v);
	v->pieces[id].at = (uint32_t)v->bytes.n_bytes;
	v->pieces[id].n_bytes = (uint32_t)n;
	buf_add(&v->bytes, s, n);
	insert(v, (int32_t)id);
	v->n_pieces++;
	return VOCAB_OK;
}

enum vocab_put tok_vocab_put_newest(struct tok_vocab *v, int64_t id, const char *s, size_t n)
{
	enum vocab_put put = tok_vocab_put_twin(v, id, s, n);
	if (put == VOCAB_OK)
		v->slots[find_slot(v, s, n, XXH3_64bits(s, n))].id = (int32_t)id;
	return put;
}

enum vocab_put tok_vocab_put(struct tok_vocab *v, int64_t id, const char *s, size_t n)
{
	if (tok_vocab_find(v, s, n) >= 0)
		return VOCAB_PIECE_TAKEN;
	return tok_vocab_put_twin(v, id, s, n);
}

const char *tok_vocab_put_text(enum vocab_put why)
{
	switch (why) {
	case VOCAB_OK: return "is fine";
	case VOCAB_BAD_ID: return "has an id that is negative or far beyond the others";
	case VOCAB_ID_TAKEN: return "has the id of another piece";
	case VOCAB_PIECE_TAKEN: return "is there twice";
	case VOCAB_TOO_LONG: return "is longer than 2048 bytes";
	case VOCAB_TOO_LARGE: return "makes the vocabulary larger than 4 GiB";
	}
	return "is wrong";
}

const char *tok_vocab_get(const struct tok_vocab *v, int64_t id, size_t *n)
{
	if (id < 0 || (uint64_t)id >= v->n_ids || v->pieces[id].n_bytes == HOLE)
		return NULL;
	*n = v->pieces[id].n_bytes;
	return v->bytes.data + v->pieces[id].at;
}
