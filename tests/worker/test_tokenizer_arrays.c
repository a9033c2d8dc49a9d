/* The arrays of a GGUF file, made here from tokenizer.json files whose ids are known. */
#include "protocol/mem.h"
#include "tests/worker/tok_cases.h"
#include "worker/text/tok_base64.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SHARED "../shared/golden/tokenizers"

struct arrays {
	struct buf json, charsmap;
	struct tok_text *pieces, *merges;
	float *scores;
	int32_t *types;
	struct tok_arrays a;
};

static struct json_span file_model(struct arrays *x, const char *folder, const char *name)
{
	char *path = xasprintf("%s/%s/tokenizer.json", folder, name);
	tok_cases_read(path, &x->json);
	if (x->json.n_bytes == 0)
		cr_skip_test("%s is not there", path);
	free(path);
	cr_assert_eq(json_scan_vocab(x->json.data, x->json.n_bytes, NULL), 0);
	return json_find(json_whole(x->json.data, x->json.n_bytes), "model");
}

/* Pieces by id as the tokenizer of the whole file knows them; control tokens typed so. */
static void fill_pieces(struct arrays *x, const struct tokenizer *t)
{
	size_t n_ids = tokenizer_vocab_size(t), n;
	x->pieces = xcalloc(n_ids, sizeof *x->pieces);
	x->types = xcalloc(n_ids, sizeof *x->types);
	x->scores = xcalloc(n_ids, sizeof *x->scores);
	for (size_t id = 0; id < n_ids; id++) {
		const char *s = tokenizer_piece(t, (int32_t)id, &n);
		cr_assert_not_null(s);
		x->pieces[id] = (struct tok_text) { xstrndup(s, n), n };
		x->types[id] = tokenizer_is_special(t, (int32_t)id) ? TOK_CONTROL : TOK_NORMAL;
	}
	x->a = (struct tok_arrays) { .pieces = x->pieces,
		.n_pieces = n_ids,
		.types = x->types,
		.scores = x->scores,
		.bos = TOK_UNSET,
		.eos = TOK_UNSET,
		.unk = TOK_UNSET,
		.sep = TOK_UNSET,
		.add_bos = 0,
		.add_eos = 0,
		.add_space_prefix = TOK_UNSET,
		.remove_extra_whitespaces = TOK_UNSET };
}

static void fill_merges(struct arrays *x, struct json_span model)
{
	struct json_cursor c = json_iterate(json_find(model, "merges"));
	struct json_span v;
	size_t cap = 0;
	while (json_next_element(&c, &v)) {
		struct buf text = BUF_INIT;
		if (x->a.n_merges == cap) {
			cap = cap ? 2 * cap : 1024;
			x->merges = xreallocarray(x->merges, cap, sizeof *x->merges);
		}
		struct json_cursor pair = json_iterate(v);
		struct json_span left, right;
		if (json_kind(v) == '[' && json_next_element(&pair, &left) &&
			json_next_element(&pair, &right)) {
			json_get_str(left, &text);
			buf_addc(&text, ' ');
			v = right;
		}
		cr_assert(json_get_str(v, &text));
		size_t n = text.n_bytes;
		x->merges[x->a.n_merges++] = (struct tok_text) { buf_detach(&text), n };
	}
	x->a.merges = x->merges;
}

static void arrays_release(struct arrays *x)
{
	for (size_t i = 0; i < x->a.n_pieces; i++)
		free((char *)(uintptr_t)x->pieces[i].s);
	for (size_t i = 0; i < x->a.n_merges; i++)
		free((char *)(uintptr_t)x->merges[i].s);
	free(x->pieces);
	free(x->merges);
	free(x->scores);
	free(x->types);
	buf_release(&x->json);
	buf_release(&x->charsmap);
}

static bool has_any(const struct buf *text, const char *const *words)
{
	for (; *words; words++)
		if (memmem(text->data, text->n_bytes, *words, strlen(*words)))
			return true;
	return false;
}

/* Ids of every string that has none of `except`; returns how many were compared. */
static size_t check_ids(const struct tokenizer *t, const char *name, const char *const *except)
{
	char *expected = xasprintf(SHARED "/%s/expected.json", name);
	struct tok_cases c;
	struct tok_ids ids = { 0 };
	size_t n = 0;
	cr_assert(tok_cases_open(&c, SHARED "/strings.json", expected, false));
	while (tok_cases_next(&c)) {
		buf_cstr(&c.now.text);
		if (has_any(&c.now.text, except))
			continue;
		ids.n = 0;
		cr_expect_eq(tokenizer_encode(
				     t, c.now.text.data, c.now.text.n_bytes, c.flags, &ids, NULL),
			0);
		cr_expect(ids.n == c.now.ids.n &&
				  (ids.n == 0 || memcmp(ids.ids, c.now.ids.ids, 4 * ids.n) == 0),
			"%s, case %zu \"%s\"", name, c.n - 1, c.now.text.data);
		n++;
	}
	tok_ids_release(&ids);
	tok_cases_close(&c);
	free(expected);
	return n;
}

static void check_byte_level(const char *name, const char *pre, const char *const *except)
{
	struct arrays x = { 0 };
	struct tokenizer *whole, *t;
	struct fault f = { 0 };
	struct json_span model = file_model(&x, SHARED, name);
	cr_assert_eq(tokenizer_open_json(x.json.data, x.json.n_bytes, NULL, 0, name, &whole, &f), 0,
		"%s", f.text);
	fill_pieces(&x, whole);
	fill_merges(&x, model);
	x.a.model = "gpt2";
	x.a.pre = pre;
	cr_assert_eq(tokenizer_open_arrays(&x.a, name, &t, &f), 0, "%s", f.text);
	cr_expect_gt(check_ids(t, name, except), 150);
	tokenizer_free(t);
	tokenizer_free(whole);
	arrays_release(&x);
}

static const char *const nothing[] = { NULL };

Test(tokenizer_arrays, cut_as_llama_bpe_says)
{
	check_byte_level("llama3.x", "llama-bpe", nothing);
}

Test(tokenizer_arrays, cut_as_gpt_2_says)
{
	check_byte_level("gpt2", "gpt-2", nothing);
}

/* The GGUF form has no NFC; these strings are not in it. llama.cpp takes the piece "</s>" for a
 * control token. Three added tokens of the file are
 * not control tokens and would need the type of user-defined ones. */
Test(tokenizer_arrays, cut_as_qwen2_says)
{
	static const char *const except[] = { "</s>", "\xcc\x81", "\xcc\x80", "\xcc\x88",
		"\xcc\x8a", "\xe1\x84", "\xe2\x84\xab", "\xe2\x84\xa6", "\xe2\x84\xaa", NULL };
	check_byte_level("qwen2.5", "qwen2", except);
}

/* The converter of tokenizer.json ordered the merges by these scores. */
static void score_by_merges(struct arrays *x, const struct tokenizer *t)
{
	for (size_t i = 0; i < x->a.n_merges; i++) {
		char *text = xstrndup(x->merges[i].s, x->merges[i].n);
		char *space = strchr(text, ' ');
		memmove(space, space + 1, strlen(space));
		float *score = &x->scores[tokenizer_find(t, text)];
		*score = *score == 0 ? -1.0f - (float)i : *score;
		free(text);
	}
}

Test(tokenizer_arrays, merge_by_score_as_llama_2_does)
{
	static const char *const except[] = { "<", NULL };
	struct arrays x = { 0 };
	struct tokenizer *whole, *t;
	struct fault f = { 0 };
	struct json_span model = file_model(&x, SHARED, "phi3-llama2");
	cr_assert_eq(tokenizer_open_json(x.json.data, x.json.n_bytes, NULL, 0, "x", &whole, &f), 0);
	fill_pieces(&x, whole);
	fill_merges(&x, model);
	x.a.model = "llama";
	score_by_merges(&x, whole);
	for (size_t id = 3; id < 259; id++)
		x.types[id] = TOK_BYTE;
	cr_assert_eq(tokenizer_open_arrays(&x.a, "x", &t, &f), 0, "%s", f.text);
	cr_expect_gt(check_ids(t, "phi3-llama2", except), 150);
	cr_expect_eq(tokenizer_bos(t), 1);
	tokenizer_free(t);
	tokenizer_free(whole);
	arrays_release(&x);
}

static void fill_scores(struct arrays *x, struct json_span model)
{
	struct json_cursor c = json_iterate(json_find(model, "vocab"));
	struct json_span pair, piece, score;
	double v;
	for (size_t id = 0; json_next_element(&c, &pair); id++) {
		struct json_cursor p = json_iterate(pair);
		cr_assert(json_next_element(&p, &piece) && json_next_element(&p, &score));
		cr_assert(json_get_num(score, &v));
		x->scores[id] = (float)v;
	}
	struct buf text = BUF_INIT;
	json_get_str(json_find(json_find(json_whole(x->json.data, x->json.n_bytes), "normalizer"),
			     "precompiled_charsmap"),
		&text);
	cr_assert(tok_base64_read(text.data, text.n_bytes, &x->charsmap));
	buf_release(&text);
	x->a.charsmap = x->charsmap.data;
	x->a.n_charsmap = x->charsmap.n_bytes;
}

Test(tokenizer_arrays, find_the_likeliest_cut_as_t5_does)
{
	/* Hugging Face looks graphemes up whole, llama.cpp and SentencePiece what is longest. */
	static const char *const except[] = { "<", "\xcc\x80\xcc\x81", NULL };
	struct arrays x = { 0 };
	struct tokenizer *whole, *t;
	struct fault f = { 0 };
	struct json_span model = file_model(&x, SHARED, "t5-unigram");
	cr_assert_eq(tokenizer_open_json(x.json.data, x.json.n_bytes, NULL, 0, "x", &whole, &f), 0);
	fill_pieces(&x, whole);
	fill_scores(&x, model);
	x.a.model = "t5";
	x.types[2] = TOK_UNKNOWN;
	cr_assert_eq(tokenizer_open_arrays(&x.a, "x", &t, &f), 0, "%s", f.text);
	cr_expect_gt(check_ids(t, "t5-unigram", except), 150);
	tokenizer_free(t);
	tokenizer_free(whole);
	arrays_release(&x);
}

/* Against llama.cpp's own ids. */
static void check_pre(
	struct arrays *x, const char *pre, struct json_span strings, struct json_span ids)
{
	struct json_cursor texts = json_iterate(strings), answers = json_iterate(ids);
	struct json_span text, answer, v;
	struct tokenizer *t;
	struct fault f = { 0 };
	x->a.pre = pre;
	cr_assert_eq(tokenizer_open_arrays(&x->a, pre, &t, &f), 0, "%s", f.text);
	for (int k = 0; json_next_element(&texts, &text) && json_next_element(&answers, &answer);
		k++) {
		struct buf s = BUF_INIT;
		struct tok_ids got = { 0 };
		struct json_cursor want = json_iterate(answer);
		int64_t id;
		size_t n = 0;
		json_get_str(text, &s);
		tokenizer_encode(t, s.data, s.n_bytes, 0, &got, &f);
		for (; json_next_element(&want, &v) && json_get_int(v, &id); n++)
			cr_expect(
				n < got.n && got.ids[n] == id, "%s, text %d, token %zu", pre, k, n);
		cr_expect_eq(n, got.n, "%s, text %d", pre, k);
		tok_ids_release(&got);
		buf_release(&s);
	}
	tokenizer_free(t);
}

Test(tokenizer_arrays, cut_as_llama_cpp_does_for_every_pre_tokenizer)
{
	struct arrays x = { 0 };
	struct buf text = BUF_INIT;
	struct tokenizer *whole;
	struct json_span group, name;
	struct json_span model = file_model(&x, "tests/data/tokenizers", "gpt4o-like");
	size_t n = 0;
	cr_assert_eq(
		tokenizer_open_json(x.json.data, x.json.n_bytes, NULL, 0, "x", &whole, NULL), 0);
	fill_pieces(&x, whole);
	fill_merges(&x, model);
	x.a.model = "gpt2";
	tok_cases_read("tests/data/tokenizers/llama-cpp-pre.json", &text);
	cr_assert_eq(json_scan(text.data, text.n_bytes, NULL), 0);
	struct json_span file = json_whole(text.data, text.n_bytes);
	struct json_cursor groups = json_iterate(json_find(file, "pre"));
	while (json_next_element(&groups, &group)) {
		struct json_cursor names = json_iterate(json_find(group, "names"));
		for (char pre[64]; json_next_element(&names, &name); n++) {
			cr_assert(json_copy_str(name, pre, sizeof pre));
			check_pre(&x, pre, json_find(file, "strings"), json_find(group, "ids"));
		}
	}
	cr_expect_geq(n, 30);
	buf_release(&text);
	tokenizer_free(whole);
	arrays_release(&x);
}

Test(tokenizer_arrays, refuses_names_it_does_not_know)
{
	struct tok_text pieces[] = { { "a", 1 }, { "b", 1 } };
	struct tok_arrays a = { .model = "rwkv", .pieces = pieces, .n_pieces = 2 };
	struct tokenizer *t;
	struct fault f = { 0 };
	cr_expect_eq(tokenizer_open_arrays(&a, "x.gguf", &t, &f), ERR_TOKENIZER);
	cr_expect(strstr(f.text, "rwkv"), "%s", f.text);
	a.model = "gpt2";
	a.pre = "no-such-pre";
	cr_expect_eq(tokenizer_open_arrays(&a, "x.gguf", &t, &f), ERR_TOKENIZER);
	cr_expect(strstr(f.text, "no-such-pre"), "%s", f.text);
}

Test(tokenizer_arrays, knows_every_published_pre_tokenizer)
{
	static const char *const names[] = { "llama-bpe", "qwen2", "gpt-2", "deepseek-llm",
		"deepseek-coder", "deepseek-v3", "falcon", "starcoder", "refact", "command-r",
		"mpt", "olmo", "smollm", "gpt-4o", "tekken", "stablelm2", "dbrx", "chatglm-bpe",
		"phi-2", "llama4", "superbpe", "viking", "bloom", "seed-coder", "default", "" };
	struct tok_text pieces[] = { { "a", 1 }, { "b", 1 }, { "ab", 2 } },
			merges[] = { { "a b", 3 } };
	struct tok_arrays a = {
		.model = "gpt2", .pieces = pieces, .n_pieces = 3, .merges = merges, .n_merges = 1
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct tokenizer *t;
		struct tok_ids ids = { 0 };
		struct fault f = { 0 };
		a.pre = names[i];
		cr_expect_eq(tokenizer_open_arrays(&a, "x", &t, &f), 0, "%s: %s", names[i], f.text);
		cr_expect_eq(tokenizer_encode(t, "ab", 2, 0, &ids, &f), 0);
		cr_expect(ids.n == 1 && ids.ids[0] == 2, "%s", names[i]);
		tok_ids_release(&ids);
		tokenizer_free(t);
	}
}
