/* tok_stages.h - what a tokenizer is made of, and what flows between its stages.
 *
 *   text → added tokens cut out → normalizers → pre-tokenizers → model → post-processor
 *   ids → pieces → decoders → text
 *
 * Each stage has one table of kinds; a kind is a row (the name in the file, the members it
 * understands, its functions). Sequences are flattened while reading. Pre-tokenizers push
 * pieces onward one at a time, so a text of any length costs no list of its words. */
#ifndef WORKER_TEXT_TOK_STAGES_H
#define WORKER_TEXT_TOK_STAGES_H
#include "worker/text/tok_chain.h"
#include "worker/text/tok_field.h"
#include "worker/text/tok_merges.h"
#include "worker/text/tok_regex.h"
#include "worker/text/tok_trie.h"
#include "worker/text/tok_vocab.h"
#include "worker/text/tokenizer.h"
#include <pthread.h>

struct tok_piece {
	const char *s;
	size_t n;
	bool at_start; /* begins where the text given to encode begins */
};

/* One thread's working memory for one call, kept between calls. */
struct tok_work {
	struct regex_work regex;
	struct merge_work merge;
	struct buf text[2];           /* normalizers write from one to the other */
	size_t n_text_max;            /* bytes that normalizing may make of the text at hand */
	struct buf stage[STAGES_MAX]; /* a pre-tokenizer's rewritten piece */
	struct buf word;
	void *cells; /* unigram's lattice */
	size_t cap_cells;
	struct word_cache *cache; /* NULL until texts of CACHE_FROM bytes were encoded */
	size_t n_encoded;         /* bytes, up to there */
	struct tok_work *next;
};
void tok_work_release(struct tok_work *w);

struct tok_run { /* one encode call */
	const struct tokenizer *t;
	struct tok_work *work;
	struct tok_ids *out;
	struct fault *fault;
	const char *text;     /* the whole text, and which bytes of it a user typed … */
	const uint8_t *input; /* … or NULL: none */
};

/* -- normalizers (tok_norm.c) ----------------------------------------------------------- */

struct tok_norm;
struct norm_kind {
	const char *type, *members;
	int (*read)(struct tok_norm *n, const struct tok_field *x);
	/* Append the normalized text. work's regex may be used. */
	int (*apply)(
		const struct tok_norm *n, struct tok_work *w, struct tok_piece in, struct buf *out);
};
struct tok_norm {
	const struct norm_kind *kind;
	struct tok_regex *regex;
	struct buf text, content; /* Replace: what for; Prepend: what */
	struct tok_charsmap *charsmap;
	struct tok_spnorm *sentencepiece;
	int form;      /* utf8proc options */
	bool flags[4]; /* Strip: left, right; Bert: clean, chinese, accents, lowercase */
};
struct tok_norms {
	struct tok_norm *stages;
	size_t n;
};
int tok_norms_read(struct tok_norms *c, const struct tok_field *x);
/* Letters without their accents, as llama.cpp strips them. */
void tok_norms_add_base_letters(struct tok_norms *c);
/* SentencePiece's own normalizer, which no tokenizer.json names. */
int tok_norms_add_sentencepiece(struct tok_norms *c, struct tok_spnorm *norm_taken);
void tok_norms_release(struct tok_norms *c);
/* Through the whole chain; *out is borrowed from in or from w->text. */
int tok_norms_apply(
	const struct tok_norms *c, struct tok_work *w, struct tok_piece in, struct tok_piece *out);

/* -- pre-tokenizers (tok_pretok.c) ------------------------------------------------------ */

enum split_behavior {
	SPLIT_REMOVED,
	SPLIT_ISOLATED,
	SPLIT_MERGED_WITH_PREVIOUS,
	SPLIT_MERGED_WITH_NEXT,
	SPLIT_CONTIGUOUS,
};

enum metaspace_prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct tok_pretok;
struct pretok_kind {
	const char *type, *members;
	int (*read)(struct tok_pretok *p, const struct tok_field *x);
	/* Cut in and emit its parts to the stage after `stage`. */
	int (*run)(
		const struct tok_pretok *p, struct tok_run *r, size_t stage, struct tok_piece in);
};
struct tok_pretok {
	const struct pretok_kind *kind;
	/* where the matches are: one of these */
	struct tok_regex *regex;
	size_t (*scan)(const char *s, size_t n, size_t at); /* end of the match at `at` */
	bool (*is_match)(uint32_t cp);
	struct buf literal;
	/* what becomes of them */
	enum split_behavior behavior;
	bool invert;
	struct buf replacement; /* Metaspace */
	enum metaspace_prepend prepend;
	bool split, prefix_space, use_regex;
	int64_t length; /* FixedLength, characters */
};
struct tok_pretoks {
	struct tok_pretok *stages;
	size_t n;
	bool is_bytes; /* the last stage is ByteLevel: the model is given bytes, not its alphabet */
};
int tok_pretoks_read(struct tok_pretoks *c, const struct tok_field *x);
void tok_pretoks_release(struct tok_pretoks *c);
/* A Split stage by an Oniguruma pattern, added at the end of the chain. */
int tok_pretoks_add_split(
	struct tok_pretoks *c, const char *pattern, enum split_behavior b, struct fault *f);
/* Give in to the pre-tokenizer `stage`, or to the model after the last. */
int tok_emit(struct tok_run *r, size_t stage, struct tok_piece in);
/* in with each space replaced. */
void tok_replace_spaces(struct tok_piece in, const struct buf *by, struct buf *out);
/* Cut at the matches of p (tok_split.c). */
int tok_split(const struct tok_pretok *p, struct tok_run *r, size_t stage, struct tok_piece in);

/* -- models (tok_bpe.c, tok_unigram.c, tok_wordpiece.c) ---------------------------------- */

struct tok_model;
struct model_kind {
	const char *type, *name; /* in the file; of tokenizer_kind */
	int (*read)(struct tok_model *m, const struct tok_field *x);
	int (*encode)(const struct tok_model *m, struct tok_run *r, const char *s, size_t n);
};
struct tok_model {
	const struct model_kind *kind;
	struct tok_vocab vocab;
	struct tok_vocab raw; /* byte-level: the same pieces as the bytes they mean */
	bool is_bytes;
	int32_t unk; /* -1: none */
	bool fuse_unk, byte_fallback;
	int32_t byte_ids[256]; /* byte-level: each byte's piece; else "<0xNN>"; -1: none */
	bool has_all_bytes;
	struct tok_vocab loose; /* characters that occur only inside pieces; ids from vocab.n_ids */
	/* BPE */
	struct tok_merges merges;
	struct buf prefix, suffix; /* continuing_subword_prefix, end_of_word_suffix */
	bool ignore_merges;
	struct tok_merges joins; /* pairs of first pieces that stand together in some piece */
	bool has_seams;          /* joins is complete: between other pairs nothing ever merges */
	int32_t mark;            /* the piece U+2581, -1: none */
	bool cuts_at_spaces;     /* words end before a U+2581 … */
	bool has_inner_marks;    /* … unless a rule joins it to what stands before it */
	/* Unigram */
	struct tok_trie trie;
	double *scores;
	double unk_score;
	bool float_scores; /* sums rounded to float, as SentencePiece's */
	/* WordPiece */
	int64_t max_chars;
};
int tok_model_read(struct tok_model *m, const struct tok_field *x);
void tok_model_release(struct tok_model *m);
/* Take bytes instead of the byte-level alphabet from now on; false if the kind cannot. */
bool tok_model_use_bytes(struct tok_model *m);
/* After reading: what makes encoding faster without changing it. */
void tok_model_finish(struct tok_model *m);
int tok_model_encode(struct tok_run *r, const char *s, size_t n);

/* -- added tokens (tok_added.c) ---------------------------------------------------------- */

struct added_token {
	struct buf content;
	int32_t id;
	bool special, lstrip, rstrip, single_word, normalized;
};
struct tok_added {
	struct added_token *tokens;
	size_t n, cap;
	struct tok_vocab by_id;
	struct tok_vocab
		shown; /* what an id decodes to: the normalized content, if it is matched so */
	struct tok_trie raw, normalized; /* values: index of the token */
	uint8_t *special;                /* by id: 1 */
	size_t n_special;                /* ids that `special` covers */
};
int tok_added_read(struct tok_added *a, const struct tok_field *x, const struct tok_vocab *model);
int tok_added_put(struct tok_added *a, struct added_token token_taken);
/* After the last put: what the tokens look like in normalized text. */
int tok_added_finish(
	struct tok_added *a, const struct tok_norms *norms, const char *where, struct fault *f);
void tok_added_release(struct tok_added *a);

struct added_match {
	size_t start, end;
	const struct added_token *token; /* NULL: none up to n */
};
struct added_scan {
	const struct tok_added *added;
	const struct tok_trie *trie;
	bool keep_special;    /* control tokens in the text stay text */
	const uint8_t *input; /* … and those that touch a marked byte; NULL: none marked */
	const char *s;
	size_t n;
	size_t at;   /* search goes on here */
	size_t done; /* nothing before it belongs to a later match */
};
struct added_match tok_added_next(struct added_scan *x);

/* -- post-processors (tok_post.c) -------------------------------------------------------- */

struct tok_post {
	struct tok_ids before, after; /* the text's ids stand between them */
};
int tok_post_read(struct tok_post *p, const struct tok_field *x);
void tok_post_release(struct tok_post *p);

/* -- decoders (tok_decode.c) ------------------------------------------------------------- */

struct tok_decoder;
struct tok_decoders {
	struct tok_decoder *stages;
	size_t n;
	bool is_set; /* otherwise pieces are joined by a space */
};
int tok_decoders_read(struct tok_decoders *c, const struct tok_field *x);
void tok_decoders_add_sentencepiece(struct tok_decoders *c, bool dummy_prefix, bool remove_extra);
void tok_decoders_release(struct tok_decoders *c);

/* -- the whole --------------------------------------------------------------------------- */

struct tokenizer {
	struct tok_added added;
	struct tok_norms norms;
	struct tok_pretoks pretoks;
	struct tok_model model;
	struct tok_post post;
	struct tok_decoders decoders;
	int32_t bos, eos;
	int32_t sp_unk; /* decodes to " ⁇ " and control tokens to nothing; -1: as other pieces */
	uint64_t norm_digest, pretok_digest; /* of tokenizer.json's text; 0: none */
	pthread_mutex_t lock;                /* guards the idle list */
	struct tok_work *idle;
	size_t n_idle;
};
struct tokenizer *tokenizer_new(void); /* empty: every stage is to be filled */
#endif
