#include "tests/worker/tok_cases.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define SHARED "../shared/golden/tokenizers"
#define OURS   "tests/data/tokenizers"

static void check_folder(
	const char *folder, const char *name, const char *strings, bool skips, unsigned flags)
{
	char path[512], expected[544];
	struct tokenizer *t;
	struct tok_cases cases;
	struct fault f = { 0 };
	snprintf(path, sizeof path, "%s/%s", folder, name);
	snprintf(expected, sizeof expected, "%s/expected.json", path);
	if (!tok_cases_open(&cases, strings, expected, skips))
		cr_skip_test("%s is not there", expected);
	cases.flags = flags;
	int err = tokenizer_open_folder(path, &t, &f);
	cr_expect_eq(err, 0, "%s: %s", name, f.text);
	if (err == 0)
		tok_cases_check(&cases, t, name);
	tokenizer_free(t);
	tok_cases_close(&cases);
}

static void check_shared(const char *name)
{
	check_folder(SHARED, name, SHARED "/strings.json", false, TOK_PARSE_SPECIAL);
}

static void check_ours(const char *name)
{
	check_folder(OURS, name, OURS "/strings.json", true, TOK_PARSE_SPECIAL);
}

Test(tokenizer, gives_the_ids_and_text_of_gpt2)
{
	check_shared("gpt2");
}
Test(tokenizer, gives_the_ids_and_text_of_llama3)
{
	check_shared("llama3.x");
}
Test(tokenizer, gives_the_ids_and_text_of_qwen2)
{
	check_shared("qwen2.5");
}

Test(tokenizer, gives_the_ids_and_text_of_llama2)
{
	check_shared("phi3-llama2");
}
Test(tokenizer, gives_the_ids_and_text_of_t5)
{
	check_shared("t5-unigram");
}

Test(tokenizer, gives_the_ids_of_wordpiece_files)
{
	check_ours("bert-uncased");
	check_ours("bert-cased");
}

Test(tokenizer, gives_the_ids_of_unigram_files)
{
	static const char *const names[] = { "unigram-metaspace", "unigram-bytes", "marian-like" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		check_ours(names[i]);
}

/* SentencePiece itself never takes text for a control token, so neither do these. */
Test(tokenizer, gives_the_ids_of_sentencepiece_models)
{
	static const char *const names[] = { "sp-unigram", "sp-bpe-bytes", "sp-unigram-bytes",
		"sp-unigram-nodummy", "sp-bpe-user", "sp-bpe-suffix" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		check_folder(OURS, names[i], OURS "/strings.json", true, 0);
}

Test(tokenizer, gives_the_ids_of_byte_level_files)
{
	static const char *const names[] = { "roberta", "falcon", "neox-nfc", "deepseek-coder",
		"starcoder", "gpt4o-like", "added-tokens" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		check_ours(names[i]);
}

Test(tokenizer, splits_with_every_behaviour)
{
	static const char *const names[] = { "split-removed", "split-removed-inverted",
		"split-isolated", "split-isolated-inverted", "split-merged-with-previous",
		"split-merged-with-previous-inverted", "split-merged-with-next",
		"split-merged-with-next-inverted", "split-contiguous", "split-contiguous-inverted",
		"split-string", "pre-punctuation-removed", "pre-punctuation-isolated",
		"pre-punctuation-merged-with-previous", "pre-punctuation-merged-with-next",
		"pre-punctuation-contiguous" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		check_ours(names[i]);
}

Test(tokenizer, splits_at_classes_of_characters)
{
	static const char *const names[] = { "pre-whitespace-split", "pre-char-delimiter",
		"pre-digits", "metaspace-always", "metaspace-first", "metaspace-never",
		"metaspace-nosplit", "pre-unicode-scripts" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		check_ours(names[i]);
}

Test(tokenizer, normalizes_with_every_kind)
{
	static const char *const names[] = { "norm-0-nfd", "norm-1-nfkd", "norm-2-nfkc",
		"norm-3-sequence", "norm-4-strip", "norm-5-strip", "norm-6-sequence", "norm-7-nmt",
		"norm-8-bertnormalizer", "norm-9-sequence" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		check_ours(names[i]);
}

Test(tokenizer, merges_characters_with_affixes_and_byte_fallback)
{
	static const char *const names[] = { "end-of-word", "continuing-prefix", "fuse-unk",
		"llama2-like", "llama2-merge-strings" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		check_ours(names[i]);
}

Test(tokenizer, gives_the_ids_of_the_bundled_models_prompts)
{
	struct buf text = BUF_INIT, prompt = BUF_INIT, decoded = BUF_INIT;
	struct tokenizer *t;
	struct tok_ids ids = { 0 };
	struct json_span p;
	tok_cases_read("../shared/golden/novel/novel-7m.json", &text);
	if (text.n_bytes == 0)
		cr_skip_test("../shared/golden/novel/novel-7m.json is not there");
	cr_assert_eq(tokenizer_open_folder("models/novel-7m", &t, NULL), 0);
	cr_assert_eq(json_scan(text.data, text.n_bytes, NULL), 0);
	struct json_cursor c =
		json_iterate(json_find(json_whole(text.data, text.n_bytes), "prompts"));
	for (int n = 0; json_next_element(&c, &p); n++) {
		struct json_cursor want = json_iterate(json_find(p, "ids"));
		struct json_span v;
		int64_t id;
		ids.n = 0;
		buf_clear(&prompt);
		json_get_str(json_find(p, "text"), &prompt);
		tokenizer_encode(t, prompt.data, prompt.n_bytes,
			TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids, NULL);
		for (size_t i = 0; json_next_element(&want, &v) && json_get_int(v, &id); i++)
			cr_expect(i < ids.n && ids.ids[i] == id, "prompt %d, token %zu", n, i);
		buf_clear(&decoded);
		tokenizer_decode(t, ids.ids, ids.n, true, &decoded, NULL);
		cr_expect_str_eq(buf_cstr(&decoded), buf_cstr(&prompt));
	}
	buf_release(&text);
	buf_release(&prompt);
	buf_release(&decoded);
	tok_ids_release(&ids);
	tokenizer_free(t);
}

Test(tokenizer, knows_the_bundled_models_begin_and_end)
{
	struct tokenizer *t;
	size_t n;
	cr_assert_eq(tokenizer_open_folder("models/novel-7m", &t, NULL), 0);
	cr_expect_eq(tokenizer_vocab_size(t), 4096);
	cr_expect_str_eq(tokenizer_kind(t), "bpe");
	cr_expect_eq(tokenizer_bos(t), 1);
	cr_expect_eq(tokenizer_eos(t), 2);
	cr_expect(tokenizer_is_special(t, 1));
	cr_expect_not(tokenizer_is_special(t, 100));
	cr_expect_eq(tokenizer_find(t, "<|im_start|>"), 3);
	cr_expect_eq(tokenizer_find(t, "no such piece"), -1);
	cr_expect_null(tokenizer_piece(t, 4096, &n));
	cr_expect_null(tokenizer_piece(t, -1, &n));
	tokenizer_free(t);
}

Test(tokenizer, keeps_control_tokens_as_text_when_asked)
{
	struct tokenizer *t;
	struct tok_ids ids = { 0 };
	struct buf text = BUF_INIT;
	static const char said[] = "<|im_start|>user";
	cr_assert_eq(tokenizer_open_folder("models/novel-7m", &t, NULL), 0);
	tokenizer_encode(t, said, strlen(said), 0, &ids, NULL);
	for (size_t i = 0; i < ids.n; i++)
		cr_expect_not(tokenizer_is_special(t, ids.ids[i]));
	tokenizer_decode(t, ids.ids, ids.n, true, &text, NULL);
	cr_expect_str_eq(buf_cstr(&text), said);
	ids.n = 0;
	tokenizer_encode(t, said, strlen(said), TOK_PARSE_SPECIAL, &ids, NULL);
	cr_expect_eq(ids.ids[0], 3);
	buf_release(&text);
	tok_ids_release(&ids);
	tokenizer_free(t);
}

Test(tokenizer, refuses_text_that_is_not_utf8_and_says_where)
{
	struct tokenizer *t;
	struct tok_ids ids = { 0 };
	struct fault f = { 0 };
	cr_assert_eq(tokenizer_open_folder("models/novel-7m", &t, NULL), 0);
	tok_ids_push(&ids, 7);
	cr_expect_eq(tokenizer_encode(t, "abc\xff", 4, TOK_ADD_SPECIAL, &ids, &f), ERR_TOKENIZER);
	cr_expect(strstr(f.text, "offset 3"), "%s", f.text);
	cr_expect_eq(ids.n, 1, "what was there stays, nothing is added");
	tok_ids_release(&ids);
	tokenizer_free(t);
}

Test(tokenizer, refuses_to_decode_ids_outside_the_vocabulary)
{
	struct tokenizer *t;
	struct buf text = BUF_INIT;
	struct fault f = { 0 };
	cr_assert_eq(tokenizer_open_folder("models/novel-7m", &t, NULL), 0);
	cr_expect_eq(
		tokenizer_decode(t, (int32_t[]) { 5, 4096 }, 2, false, &text, &f), ERR_TOKENIZER);
	cr_expect(strstr(f.text, "tokens[1]"), "%s", f.text);
	cr_expect_eq(tokenizer_decode(t, (int32_t[]) { -1 }, 1, false, &text, &f), ERR_TOKENIZER);
	buf_release(&text);
	tokenizer_free(t);
}
