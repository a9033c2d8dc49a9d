/* tok_added.c - added and control tokens: cut out of the text before anything else. */
#include "protocol/mem.h"
#include "worker/text/tok_stages.h"
#include "worker/text/tok_unicode.h"
#include <stdlib.h>
#include <string.h>

/* Matching walks the trie from every byte, so this bounds the work on a byte. */
#define CONTENT_MAX 1024

int tok_added_put(struct tok_added *a, struct added_token token_taken)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? 2 * a->cap : 16;
		a->tokens = xreallocarray(a->tokens, a->cap, sizeof *a->tokens);
	}
	a->tokens[a->n++] = token_taken;
	return 0;
}

static int read_flags(struct added_token *t, const struct tok_field *x)
{
	struct tok_field special = tok_field_get(x, "special"), lstrip = tok_field_get(x, "lstrip"),
			 rstrip = tok_field_get(x, "rstrip"),
			 word = tok_field_get(x, "single_word"),
			 normalized = tok_field_get(x, "normalized");
	int err = tok_field_bool(&special, false, &t->special);
	if (err == 0)
		err = tok_field_bool(&lstrip, false, &t->lstrip);
	if (err == 0)
		err = tok_field_bool(&rstrip, false, &t->rstrip);
	if (err == 0)
		err = tok_field_bool(&word, false, &t->single_word);
	if (err == 0)
		err = tok_field_bool(&normalized, !t->special, &t->normalized);
	return err;
}

static int check_id(const struct tok_added *a, const struct tok_field *x,
	const struct added_token *t, const struct tok_vocab *model)
{
	struct tok_field id = tok_field_get(x, "id");
	int32_t known = tok_vocab_find(model, t->content.data, t->content.n_bytes);
	size_t n;
	const char *other = tok_vocab_get(model, t->id, &n);
	if (known >= 0 && known != t->id)
		return tok_field_wrong(&id, "is %d, but the vocabulary gives this token %d",
			(int)t->id, (int)known);
	if (known < 0 && other)
		return tok_field_wrong(
			&id, "is %d, which the vocabulary gives to another piece", (int)t->id);
	if ((size_t)t->id > 2 * (model->n_pieces + a->n) + VOCAB_HOLES_MAX)
		return tok_field_wrong(&id, "is far beyond the vocabulary");
	return 0;
}

static int read_token(struct tok_added *a, const struct tok_field *x, const struct tok_vocab *model)
{
	struct added_token t = { 0 };
	struct tok_field content = tok_field_get(x, "content"), id_field = tok_field_get(x, "id");
	int64_t id;
	int err = tok_field_knows(x, "id content special lstrip rstrip single_word normalized");
	if (err == 0)
		err = read_flags(&t, x);
	if (err == 0)
		err = tok_field_int(&id_field, -1, &id);
	if (err == 0 && (id < 0 || id >= (int64_t)VOCAB_IDS_MAX))
		err = tok_field_wrong(&id_field, "is not an id");
	if (err == 0)
		err = tok_field_str(&content, &t.content);
	if (err == 0 && t.content.n_bytes > CONTENT_MAX)
		err = tok_field_wrong(&content, "is longer than %d bytes", CONTENT_MAX);
	if (err == 0) {
		t.id = (int32_t)id;
		err = check_id(a, x, &t, model);
	}
	if (err || t.content.n_bytes == 0) {
		buf_release(&t.content);
		return err;
	}
	return tok_added_put(a, t);
}

int tok_added_read(struct tok_added *a, const struct tok_field *x, const struct tok_vocab *model)
{
	if (!tok_field_is_set(x))
		return 0;
	int err = tok_field_is_array(x);
	if (err)
		return err;
	struct json_cursor c = json_iterate(x->value);
	struct json_span value;
	for (size_t i = 0; err == 0 && json_next_element(&c, &value); i++) {
		struct tok_field element = tok_field_element(x, i, value);
		err = read_token(a, &element, model);
	}
	return err;
}

static void mark_special(struct tok_added *a, int32_t id)
{
	size_t need = (size_t)id + 1;
	if (need > a->n_special) {
		a->special = xrealloc(a->special, need);
		memset(a->special + a->n_special, 0, need - a->n_special);
		a->n_special = need;
	}
	a->special[id] = 1;
}

int tok_added_finish(
	struct tok_added *a, const struct tok_norms *norms, const char *where, struct fault *f)
{
	struct tok_work work = { 0 };
	int err = 0;
	for (size_t i = 0; err == 0 && i < a->n; i++) {
		struct added_token *t = &a->tokens[i];
		struct tok_piece p = { t->content.data, t->content.n_bytes, true };
		enum vocab_put put = tok_vocab_put_twin(&a->by_id, t->id, p.s, p.n);
		if (put != VOCAB_OK) {
			err = fault_set(f, ERR_TOKENIZER, "%s: added_tokens: \"%.60s\" (%d) %s",
				where, buf_cstr(&t->content), (int)t->id, tok_vocab_put_text(put));
			break;
		}
		if (t->special)
			mark_special(a, t->id);
		if (t->normalized)
			err = norms ? tok_norms_apply(norms, &work, p, &p) : 0;
		if (err == 0)
			tok_vocab_put_twin(&a->shown, t->id, p.s, p.n);
		if (err == 0 && p.n > 0 &&
			!tok_trie_add(
				t->normalized ? &a->normalized : &a->raw, p.s, p.n, (int32_t)i))
			err = fault_set(f, ERR_TOKENIZER, "%s: added_tokens are too many", where);
	}
	tok_work_release(&work);
	return err;
}

void tok_added_release(struct tok_added *a)
{
	for (size_t i = 0; i < a->n; i++)
		buf_release(&a->tokens[i].content);
	free(a->tokens);
	free(a->special);
	tok_vocab_release(&a->by_id);
	tok_vocab_release(&a->shown);
	tok_trie_release(&a->raw);
	tok_trie_release(&a->normalized);
	*a = (struct tok_added) { 0 };
}

/* -- matching: the leftmost, of those the longest ---------------------------------------- */

static bool stands_alone(const struct added_scan *x, size_t start, size_t end)
{
	if (start > 0 && uni_is_word(uni_last(x->s, start)))
		return false;
	return end == x->n || !uni_is_word(uni_next(x->s, x->n, &end));
}

/* Grow the match over the white space that the token takes with it. */
static struct added_match take(
	struct added_scan *x, size_t start, size_t end, const struct added_token *t)
{
	x->at = end;
	while (t->lstrip && start > x->done) {
		uint32_t cp = uni_last(x->s, start);
		if (!uni_is_space(cp))
			break;
		start -= cp < 0x80 ? 1 : cp < 0x800 ? 2 : 3;
	}
	if (start < x->done)
		start = x->done;
	while (t->rstrip && end < x->n) {
		size_t next = end;
		if (!uni_is_space(uni_next(x->s, x->n, &next)))
			break;
		end = next;
	}
	return (struct added_match) { start, end, t };
}

static bool is_marked(const struct added_scan *x, size_t start, size_t end)
{
	return x->input && memchr(x->input + start, 1, end - start) != NULL;
}

struct added_match tok_added_next(struct added_scan *x)
{
	const struct tok_trie *trie = x->trie;
	while (x->at < x->n) {
		int32_t i;
		if (trie->from_root[(unsigned char)x->s[x->at]] == 0) {
			x->at++;
			continue;
		}
		size_t n = tok_trie_longest(trie, x->s + x->at, x->n - x->at, &i);
		if (n == 0) {
			x->at++;
			continue;
		}
		const struct added_token *t = &x->added->tokens[i];
		size_t start = x->at, end = start + n;
		x->at = end;
		if (t->special && (x->keep_special || is_marked(x, start, end)))
			continue;
		if (t->single_word && !stands_alone(x, start, end))
			continue;
		struct added_match m = take(x, start, end, t);
		x->done = m.end;
		return m;
	}
	return (struct added_match) { x->n, x->n, NULL };
}
