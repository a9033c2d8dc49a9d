/* tok_vocab.h - pieces by id, and ids by piece.
 *
 * Ids may have holes, but not more than VOCAB_HOLES_MAX of them: the memory is bounded by
 * what the file holds, not by the largest id it names. Pieces are any bytes. */
#ifndef WORKER_TEXT_TOK_VOCAB_H
#define WORKER_TEXT_TOK_VOCAB_H
#include "protocol/buf.h"

#define VOCAB_HOLES_MAX ((size_t)1 << 20)
#define VOCAB_IDS_MAX   ((size_t)1 << 24)
/* Bytes of one piece. Published ones stay below 300; models that walk pieces byte by byte need
 * the bound. */
#define VOCAB_PIECE_MAX ((size_t)2048)

struct tok_vocab {
	struct buf bytes; /* every piece, one after another */
	struct {
		uint32_t at, n_bytes; /* n_bytes == UINT32_MAX: a hole */
	} * pieces;
	size_t n_ids; /* highest id + 1 */
	size_t n_pieces;
	struct {
		uint32_t tag; /* upper half of the hash */
		int32_t id;   /* -1: free */
	} * slots;
	size_t n_slots; /* power of two, or 0 */
};

void tok_vocab_release(struct tok_vocab *v);

enum vocab_put {
	VOCAB_OK,
	VOCAB_BAD_ID,
	VOCAB_ID_TAKEN,
	VOCAB_PIECE_TAKEN,
	VOCAB_TOO_LONG,
	VOCAB_TOO_LARGE,
};
enum vocab_put tok_vocab_put(struct tok_vocab *v, int64_t id, const char *s, size_t n);
/* Like put, but the piece may exist under another id. find then returns the first put_twin or
 * the last put_newest. */
enum vocab_put tok_vocab_put_twin(struct tok_vocab *v, int64_t id, const char *s, size_t n);
enum vocab_put tok_vocab_put_newest(struct tok_vocab *v, int64_t id, const char *s, size_t n);
const char *tok_vocab_put_text(enum vocab_put why); /* "has an id that is taken", … */

int32_t tok_vocab_find(const struct tok_vocab *v, const char *s, size_t n); /* -1 if absent */
/* NULL for a hole or an id outside. Borrowed until the next put. */
const char *tok_vocab_get(const struct tok_vocab *v, int64_t id, size_t *n);
#endif
