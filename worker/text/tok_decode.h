/* tok_decode.h - the kinds of decoders: from pieces to text, one token at a time.
 *
 * Every decoder is a stream stage: it is pushed tokens and pushes text on, keeping back only
 * what the next token may change. Whole-text decoding is the same stages, pushed and
 * flushed at once, so the two cannot differ. After ByteLevel or Fuse what is pushed are
 * fragments of one long token. */
#ifndef WORKER_TEXT_TOK_DECODE_H
#define WORKER_TEXT_TOK_DECODE_H
#include "worker/text/tok_stages.h"

struct decode_state {
	struct buf held;
	uint64_t n_tokens; /* seen before this one */
	size_t n_cut;      /* Strip: characters cut from the start of the fused token */
	bool is_past;      /* Strip: the start is over */
};

struct detok {
	const struct tokenizer *t;
	bool skip_special;
	struct decode_state state[STAGES_MAX];
	struct buf scratch[STAGES_MAX]; /* what a stage is writing for the next */
	struct buf *out;                /* of the call under way */
	uint64_t n_joined;              /* tokens written when there is no decoder */
};

struct decoder_kind {
	const char *type, *members;
	int (*read)(struct tok_decoder *d, const struct tok_field *x);
	void (*push)(
		const struct tok_decoder *d, struct detok *k, size_t stage, struct tok_piece in);
	void (*flush)(const struct tok_decoder *d, struct detok *k, size_t stage); /* or NULL */
	bool fuses; /* the stages after it see one token */
};
struct tok_decoder {
	const struct decoder_kind *kind;
	struct buf text, content; /* Replace; Strip: content; WordPiece: prefix; BPE: suffix */
	struct tok_regex *regex;
	int64_t start, stop;
	bool cleanup, keep_first, is_fused;
	size_t growth; /* this and the stages before make at most so many bytes of one */
	bool strip_first, strip_all; /* SentencePiece: a leading U+2581, or all of them */
};

/* in goes to stage `stage`, or out of the chain. */
void tok_decode_push(struct detok *k, size_t stage, struct tok_piece in);
void tok_decode_flush(struct detok *k);

/* What decoders share. Give n bytes on to the stage after `stage`. */
void tok_decode_on(struct detok *k, size_t stage, const char *s, size_t n);
/* Append in with every `what` replaced. */
void tok_decode_replace(
	struct tok_piece in, const struct buf *what, const struct buf *by, struct buf *out);
int tok_decode_byte(struct tok_piece in); /* of "<0xNN>", else -1 */
#define TOK_REPLACEMENT "\xef\xbf\xbd"    /* U+FFFD */
#endif
