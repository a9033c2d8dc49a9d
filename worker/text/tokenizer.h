/* tokenizer.h - text to token ids and back, exactly as Hugging Face tokenizers does it.
 *
 * Immutable after opening, so any number of threads may encode and decode with one
 * `struct tokenizer` at a time. The stages are those of tokenizer.json: added tokens cut
 * out of the text, normalizer, pre-tokenizer, model (tok_bpe, …), post-processor;
 * decoding: pieces, then the decoder chain. */
#ifndef WORKER_TEXT_TOKENIZER_H
#define WORKER_TEXT_TOKENIZER_H
#include "protocol/buf.h"
#include "protocol/err.h"

struct tokenizer;

struct tok_ids { /* growable; `struct tok_ids v = { 0 };`, free with tok_ids_release */
	int32_t *ids;
	size_t n, cap;
};
void tok_ids_push(struct tok_ids *v, int32_t id);
void tok_ids_release(struct tok_ids *v);

enum tok_flags {
	TOK_ADD_SPECIAL = 1,   /* run the post-processor (bos, eos, templates) */
	TOK_PARSE_SPECIAL = 2, /* control tokens written in the text become control tokens */
};

/* From a model folder: tokenizer.json, or SentencePiece's tokenizer.model where there is
 * none, with tokenizer_config.json if there is one.
 * ERR_TOKENIZER names the file and the field. *out is owned: tokenizer_free. */
int tokenizer_open_folder(const char *folder, struct tokenizer **out, struct fault *f);
/* From the text of a tokenizer.json; config may be NULL. `where` names it in errors. */
int tokenizer_open_json(const char *json, size_t n, const char *config, size_t n_config,
	const char *where, struct tokenizer **out, struct fault *f);

/* From the arrays of a GGUF file (tokenizer.ggml.*), encoding as llama.cpp does. Everything
 * is borrowed for the call. A flag or id that the file does not have is TOK_UNSET and takes
 * the model kind's own preset. */
#define TOK_UNSET (-2)
struct tok_text {
	const char *s;
	size_t n;
};
struct tok_arrays {
	const char *model;             /* "gpt2", "llama", "t5", "bert" */
	const char *pre;               /* the pre-tokenizer's name, of "gpt2"; or NULL */
	const struct tok_text *pieces; /* n_pieces, in order of id */
	size_t n_pieces;
	const float *scores;           /* n_pieces, or NULL */
	const int32_t *types;          /* n_pieces of enum tok_type, or NULL: all normal */
	const struct tok_text *merges; /* "left right", best first; or NULL */
	size_t n_merges;
	const char *charsmap; /* precompiled_charsmap, or NULL */
	size_t n_charsmap;
	int32_t bos, eos, unk, sep;
	int add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
};
enum tok_type {
	TOK_NORMAL = 1,
	TOK_UNKNOWN = 2,
	TOK_CONTROL = 3,
	TOK_USER_DEFINED = 4,
	TOK_UNUSED = 5,
	TOK_BYTE = 6,
};
int tokenizer_open_arrays(
	const struct tok_arrays *a, const char *where, struct tokenizer **out, struct fault *f);

void tokenizer_free(struct tokenizer *t); /* NULL is fine */

/* Append the ids of text (any bytes; what is not UTF-8 is ERR_TOKENIZER with the offset). */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
	struct tok_ids *out, struct fault *f);

/* Text of which some was typed by a user: a control token is seen only where every byte of
 * it is unmarked. Words are cut across marks as if there were none, so that text without
 * control tokens gets the same ids as in tokenizer_encode. No specials are added. */
struct tok_marked {
	const char *text;
	size_t n_bytes;
	const uint8_t *input; /* [n_bytes] 1 = typed by a user */
};
int tokenizer_encode_marked(const struct tokenizer *t, const struct tok_marked *m,
	struct tok_ids *out, struct fault *f);

/* Append the decoded text of ids, whole. Ids out of range are ERR_TOKENIZER. The bytes may
 * be invalid UTF-8 if the ids say so; they are replaced by U+FFFD as Hugging Face does. */
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
	struct buf *out, struct fault *f);

size_t tokenizer_vocab_size(const struct tokenizer *t); /* highest id + 1 */
/* The vocabulary piece of an id (not decoded text), or NULL for a hole. Borrowed. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n_bytes);
int32_t tokenizer_find(const struct tokenizer *t, const char *piece); /* -1 if absent */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
int32_t tokenizer_bos(const struct tokenizer *t); /* -1 if none */
int32_t tokenizer_eos(const struct tokenizer *t);
const char *tokenizer_kind(const struct tokenizer *t); /* "bpe", "unigram", "wordpiece" */

/* Token-for-token comparison for check_draft: appends one English sentence per difference
 * that makes the pair unusable to *errors and per one that does not matter to *warnings
 * (JSON string array elements, jout style). Returns true if the pair is compatible. */
bool tokenizer_compare(const struct tokenizer *primary, const struct tokenizer *draft,
	struct buf *errors, struct buf *warnings);

/* Streaming decode: the concatenation of everything appended equals tokenizer_decode of the
 * same ids with skip_special. Only whole UTF-8 comes out; bytes of an unfinished character
 * wait. O(1) per token whatever the length of the stream. */
struct detok;
struct detok *detok_new(const struct tokenizer *t, bool skip_special);
void detok_free(struct detok *d);
void detok_push(struct detok *d, int32_t id, struct buf *out);
void detok_flush(struct detok *d, struct buf *out); /* the end: what waits, as U+FFFD */
#endif
