/* tokenizer.c - text to ids through the stages of tokenizer.json, and what callers ask. */
#include "worker/text/tokenizer.h"
#include "protocol/mem.h"
#include "protocol/utf8.h"
#include "worker/text/tok_cache.h"
#include "worker/text/tok_stages.h"
#include <stdlib.h>
#include <string.h>

void tok_ids_push(struct tok_ids *v, int32_t id)
{
	if (v->n == v->cap) {
		v->cap = v->cap ? 2 * v->cap : 64;
		v->ids = xreallocarray(v->ids, v->cap, sizeof *v->ids);
	}
	v->ids[v->n++] = id;
}

void tok_ids_release(struct tok_ids *v)
{
	free(v->ids);
	*v = (struct tok_ids) { 0 };
}

/* -- working memory: one per call under way, kept for the next ------------------------------ */

#define IDLE_MAX 32

void tok_work_release(struct tok_work *w)
{
	regex_work_release(&w->regex);
	merge_work_release(&w->merge);
	for (size_t i = 0; i < STAGES_MAX; i++)
		buf_release(&w->stage[i]);
	buf_release(&w->text[0]);
	buf_release(&w->text[1]);
	buf_release(&w->word);
	free(w->cells);
	free(w->cache);
}

static struct tok_work *take_work(const struct tokenizer *t)
{
	struct tokenizer *pool = (struct tokenizer *)(uintptr_t)t;
	pthread_mutex_lock(&pool->lock);
	struct tok_work *w = pool->idle;
	if (w) {
		pool->idle = w->next;
		pool->n_idle--;
	}
	pthread_mutex_unlock(&pool->lock);
	return w ? w : xcalloc(1, sizeof *w);
}

/* What one huge text needed is not kept for the small ones. */
#define KEEP_MAX ((size_t)4 << 20)

static void trim(struct buf *b)
{
	if (b->cap > KEEP_MAX)
		buf_release(b);
}

static void trim_work(struct tok_work *w)
{
	if (w->merge.cap * sizeof(int32_t) > KEEP_MAX || w->merge.cap_heap * 8 > KEEP_MAX)
		merge_work_release(&w->merge);
	for (size_t i = 0; i < STAGES_MAX; i++)
		trim(&w->stage[i]);
	trim(&w->text[0]);
	trim(&w->text[1]);
	trim(&w->word);
	if (w->cap_cells * 16 > KEEP_MAX) {
		free(w->cells);
		w->cells = NULL;
		w->cap_cells = 0;
	}
}

static void give_work(const struct tokenizer *t, struct tok_work *w)
{
	struct tokenizer *pool = (struct tokenizer *)(uintptr_t)t;
	trim_work(w);
	pthread_mutex_lock(&pool->lock);
	bool keep = pool->n_idle < IDLE_MAX;
	if (keep) {
		w->next = pool->idle;
		pool->idle = w;
		pool->n_idle++;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!keep) {
		tok_work_release(w);
		free(w);
	}
}

void tokenizer_free(struct tokenizer *t)
{
	if (t == NULL)
		return;
	for (struct tok_work *w = t->idle; w;) {
		struct tok_work *next = w->next;
		tok_work_release(w);
		free(w);
		w = next;
	}
	tok_added_release(&t->added);
	tok_norms_release(&t->norms);
	tok_pretoks_release(&t->pretoks);
	tok_model_release(&t->model);
	tok_post_release(&t->post);
	tok_decoders_release(&t->decoders);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* -- encoding -------------------------------------------------------------------------------- */

/* Less text, in one call or many, repeats too few words to pay for the cache's first touch. */
#define CACHE_FROM 1024

static struct added_scan scan_of(
	const struct tok_run *r, const struct tok_trie *trie, unsigned flags, struct tok_piece in)
{
	return (struct added_scan) { .added = &r->t->added,
		.trie = trie,
		.keep_special = !(flags & TOK_PARSE_SPECIAL),
		.s = in.s,
		.n = in.n };
}

/* Cut `trie`'s tokens out of in; what stands between them goes to `between`. */
static int cut_added(struct tok_run *r, struct added_scan scan, bool at_start,
	int (*between)(struct tok_run *r, unsigned flags, struct tok_piece in))
{
	unsigned flags = scan.keep_special ? 0 : TOK_PARSE_SPECIAL;
	for (size_t done = 0;;) {
		struct added_match m = tok_added_next(&scan);
		if (m.start > done) {
			int err = between(r, flags,
				(struct tok_piece) {
					scan.s + done, m.start - done, at_start && done == 0 });
			if (err)
				return err;
		}
		if (m.token == NULL)
			return 0;
		tok_ids_push(r->out, m.token->id);
		done = m.end;
	}
}

static int encode_words(struct tok_run *r, unsigned flags, struct tok_piece in)
{
	(void)flags;
	return tok_emit(r, 0, in);
}

/* Normalizing moves bytes away from their marks, so a piece with any is a user's whole. */
static int encode_plain(struct tok_run *r, unsigned flags, struct tok_piece in)
{
	struct tok_piece p;
	if (r->input && memchr(r->input + (in.s - r->text), 1, in.n))
		flags &= ~(unsigned)TOK_PARSE_SPECIAL;
	int err = tok_norms_apply(&r->t->norms, r->work, in, &p);
	if (err)
		return fault_set(r->fault, ERR_TOKENIZER,
			"The normalizer takes too many steps on this text, or makes it more than "
			"32 "
			"times as long");
	return cut_added(
		r, scan_of(r, &r->t->added.normalized, flags, p), p.at_start, encode_words);
}

static int refuse_bytes(const char *text, size_t n, struct fault *f)
{
	size_t at = 0;
	uint32_t cp;
	for (int len; at < n && (len = utf8_decode(text + at, n - at, &cp)) > 0;)
		at += (size_t)len;
	fault_set(f, ERR_TOKENIZER, "The text is not UTF-8: a bad byte at offset %zu", at);
	fault_add_int(f, "offset", (int64_t)at);
	return ERR_TOKENIZER;
}

static void open_cache(struct tok_work *w, size_t n_bytes)
{
	if (w->cache)
		return;
	w->n_encoded += n_bytes < CACHE_FROM ? n_bytes : CACHE_FROM;
	if (w->n_encoded >= CACHE_FROM)
		w->cache = word_cache_new();
}

static void push_all(struct tok_ids *to, const struct tok_ids *ids)
{
	for (size_t i = 0; i < ids->n; i++)
		tok_ids_push(to, ids->ids[i]);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
	struct tok_ids *out, struct fault *f)
{
	if (!utf8_is_valid(text, n))
		return refuse_bytes(text, n, f);
	size_t before = out->n;
	struct tok_run r = { .t = t, .work = take_work(t), .out = out, .fault = f };
	struct tok_piece whole = { text, n, true };
	open_cache(r.work, n);
	if (flags & TOK_ADD_SPECIAL)
		push_all(out, &t->post.before);
	int err = cut_added(&r, scan_of(&r, &t->added.raw, flags, whole), true, encode_plain);
	if (flags & TOK_ADD_SPECIAL)
		push_all(out, &t->post.after);
	if (err)
		out->n = before;
	give_work(t, r.work);
	return err;
}

int tokenizer_encode_marked(
	const struct tokenizer *t, const struct tok_marked *m, struct tok_ids *out, struct fault *f)
{
	if (!utf8_is_valid(m->text, m->n_bytes))
		return refuse_bytes(m->text, m->n_bytes, f);
	size_t before = out->n;
	struct tok_run r = { t, take_work(t), out, f, m->text, m->input };
	struct tok_piece whole = { m->text, m->n_bytes, true };
	struct added_scan scan = scan_of(&r, &t->added.raw, TOK_PARSE_SPECIAL, whole);
	scan.input = m->input;
	int err = cut_added(&r, scan, true, encode_plain);
	if (err)
		out->n = before;
	give_work(t, r.work);
	return err;
}

/* -- questions -------------------------------------------------------------------------------- */

size_t tokenizer_vocab_size(const struct tokenizer *t)
{
	size_t model = t->model.vocab.n_ids, added = t->added.by_id.n_ids;
	return added > model ? added : model;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n_bytes)
{
	const char *s = tok_vocab_get(&t->added.by_id, id, n_bytes);
	return s ? s : tok_vocab_get(&t->model.vocab, id, n_bytes);
}

int32_t tokenizer_find(const struct tokenizer *t, const char *piece)
{
	int32_t id = tok_vocab_find(&t->added.by_id, piece, strlen(piece));
	return id >= 0 ? id : tok_vocab_find(&t->model.vocab, piece, strlen(piece));
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
	return id >= 0 && (size_t)id < t->added.n_special && t->added.special[id];
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
	return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
	return t->eos;
}

const char *tokenizer_kind(const struct tokenizer *t)
{
	return t->model.kind->name;
}
