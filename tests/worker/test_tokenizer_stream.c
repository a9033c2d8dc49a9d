/* Streaming decode, and many threads with one tokenizer. */
#include "protocol/utf8.h"
#include "tests/worker/model_fixture.h"
#include "tests/worker/tok_cases.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OURS "tests/data/tokenizers"

static struct tokenizer *open_ours(const char *name)
{
	struct tokenizer *t = NULL;
	struct fault f = { 0 };
	char path[256];
	snprintf(path, sizeof path, OURS "/%s", name);
	cr_assert_eq(tokenizer_open_folder(path, &t, &f), 0, "%s", f.text);
	return t;
}

static uint32_t rnd(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

/* Random ids: broken characters, control tokens and byte pieces in any order. */
static void check_stream(const struct tokenizer *t, const char *name, uint64_t seed, bool skip)
{
	int32_t ids[64];
	size_t n = rnd(&seed) % 64;
	struct buf whole = BUF_INIT, streamed = BUF_INIT;
	struct detok *d = detok_new(t, skip);
	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t)(rnd(&seed) % tokenizer_vocab_size(t));
	cr_assert_eq(tokenizer_decode(t, ids, n, skip, &whole, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		detok_push(d, ids[i], &streamed);
		cr_expect(utf8_is_valid(streamed.data, streamed.n_bytes), "%s: part of a character",
			name);
	}
	detok_flush(d, &streamed);
	cr_expect_str_eq(buf_cstr(&streamed), buf_cstr(&whole), "%s, seed %llu", name,
		(unsigned long long)seed);
	detok_free(d);
	buf_release(&whole);
	buf_release(&streamed);
}

Test(detok, streams_what_decoding_whole_gives)
{
	static const char *const names[] = { "gpt4o-like", "llama2-like", "bert-uncased",
		"end-of-word", "metaspace-first", "sp-bpe-bytes", "sp-unigram", "unigram-bytes",
		"norm-0-nfd" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct tokenizer *t = open_ours(names[i]);
		for (uint64_t seed = 1; seed <= 200; seed++)
			check_stream(t, names[i], seed, seed % 2);
		tokenizer_free(t);
	}
}

static void push_bytes(
	struct detok *d, const struct tokenizer *t, const char *bytes, struct buf *out)
{
	for (; *bytes; bytes++) {
		char piece[8];
		snprintf(piece, sizeof piece, "<0x%02X>", (unsigned char)*bytes);
		detok_push(d, tokenizer_find(t, piece), out);
	}
}

Test(detok, a_run_of_byte_tokens_is_text_whole_or_not_at_all)
{
	struct tokenizer *t = open_ours("llama2-like");
	struct detok *d = detok_new(t, false);
	struct buf out = BUF_INIT;
	push_bytes(d, t, "\xe2\x82\xac\xff", &out);
	cr_expect_eq(out.n_bytes, 0, "the run may go on");
	detok_flush(d, &out);
	cr_expect_str_eq(buf_cstr(&out), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	buf_clear(&out);
	push_bytes(d, t, "\xe2\x82\xac", &out);
	detok_flush(d, &out);
	cr_expect_str_eq(buf_cstr(&out), "\xe2\x82\xac", "flush begins anew");
	detok_free(d);
	tokenizer_free(t);
	buf_release(&out);
}

Test(detok, a_character_comes_out_with_its_last_byte)
{
	struct tokenizer *t;
	struct tok_ids ids = { 0 };
	struct buf out = BUF_INIT;
	cr_assert_eq(tokenizer_open_folder("models/novel-7m", &t, NULL), 0);
	struct detok *d = detok_new(t, true);
	static const char face[] = "\xf0\x9f\x98\x80";
	tokenizer_encode(t, face, 4, 0, &ids, NULL);
	cr_assert_gt(ids.n, 1);
	for (size_t i = 0; i < ids.n; i++) {
		cr_expect_eq(out.n_bytes, 0);
		detok_push(d, ids.ids[i], &out);
	}
	cr_expect_str_eq(buf_cstr(&out), face);
	buf_clear(&out);
	detok_push(d, ids.ids[0], &out);
	detok_flush(d, &out);
	cr_expect_str_eq(buf_cstr(&out), "\xef\xbf\xbd", "what stays unfinished is one U+FFFD");
	detok_free(d);
	tok_ids_release(&ids);
	tokenizer_free(t);
	buf_release(&out);
}

struct reader {
	const struct tokenizer *t;
	struct buf text;
	struct tok_ids want;
	bool same;
};

static void *encode_again(void *arg)
{
	struct reader *r = arg;
	r->same = true;
	for (int i = 0; i < 20; i++) {
		struct tok_ids ids = { 0 };
		tokenizer_encode(r->t, r->text.data, r->text.n_bytes, TOK_ADD_SPECIAL, &ids, NULL);
		r->same &= ids.n == r->want.n && memcmp(ids.ids, r->want.ids, 4 * ids.n) == 0;
		tok_ids_release(&ids);
	}
	return NULL;
}

Test(tokenizer, serves_many_threads_at_once)
{
	struct tokenizer *t;
	struct reader readers[6] = { 0 };
	pthread_t threads[6];
	cr_assert_eq(tokenizer_open_folder("models/novel-7m", &t, NULL), 0);
	for (size_t i = 0; i < 6; i++) {
		readers[i].t = t;
		for (size_t k = 0; k < 50 + i; k++)
			buf_addf(&readers[i].text, "It was the %zuth evening of November. ", k * i);
		tokenizer_encode(t, readers[i].text.data, readers[i].text.n_bytes, TOK_ADD_SPECIAL,
			&readers[i].want, NULL);
	}
	for (size_t i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, encode_again, &readers[i]);
	for (size_t i = 0; i < 6; i++) {
		pthread_join(threads[i], NULL);
		cr_expect(readers[i].same, "thread %zu", i);
		buf_release(&readers[i].text);
		tok_ids_release(&readers[i].want);
	}
	tokenizer_free(t);
}

/* The cache, the seams and the queue of long words may not change a token: a long text in
 * one call is its lines one by one, where the pattern cuts at every line's end. */
Test(tokenizer, long_texts_are_their_lines)
{
	struct tokenizer *t;
	struct buf text = BUF_INIT;
	struct tok_ids whole = { 0 }, lines = { 0 };
	uint64_t seed = 7;
	cr_assert_eq(tokenizer_open_folder("models/novel-7m", &t, NULL), 0);
	for (int k = 0; k < 3000; k++) {
		size_t start = text.n_bytes;
		for (uint32_t w = rnd(&seed) % 12 + 1; w > 0; w--)
			for (uint32_t c = rnd(&seed) % 9 + 1; c > 0; c--)
				buf_addc(&text, (char)("etaoin shr,dlu.c"[rnd(&seed) % 16]));
		buf_adds(&text, "x\n");
		tokenizer_encode(t, text.data + start, text.n_bytes - start, 0, &lines, NULL);
	}
	tokenizer_encode(t, text.data, text.n_bytes, 0, &whole, NULL);
	cr_assert_eq(whole.n, lines.n);
	cr_expect_arr_eq(whole.ids, lines.ids, 4 * whole.n);
	tok_ids_release(&whole);
	tok_ids_release(&lines);
	buf_release(&text);
	tokenizer_free(t);
}

/* Merging a long word by the queue is merging it by the scans: a word of n letters in one
 * file that keeps the word whole. */
Test(tokenizer, long_words_take_part_in_no_quadratic_work, .timeout = 120)
{
	static const char *const names[] = { "llama2-like", "gpt4o-like", "sp-unigram",
		"bert-uncased" };
	static const char *const units[] = { "a", " ", "\xf0\x9f\x98\x80", "ab",
		"\xcc\x81\xcc\x96" };
	for (size_t i = 0; i < 4; i++)
		for (size_t u = 0; u < 5; u++) {
			struct tokenizer *t = open_ours(names[i]);
			struct buf text = BUF_INIT;
			struct tok_ids ids = { 0 };
			struct fault f = { 0 };
			while (text.n_bytes < (FIXTURE_SLOW ? 100000 : 300000))
				buf_adds(&text, units[u]);
			cr_expect_eq(tokenizer_encode(t, text.data, text.n_bytes, 0, &ids, &f), 0,
				"%s", f.text);
			tok_ids_release(&ids);
			buf_release(&text);
			tokenizer_free(t);
		}
}
