/* Files that lie: each is one error that names the field, and nothing else happens. */
#include "tests/worker/tok_cases.h"
#include "worker/text/tok_sentencepiece.h"
#include <criterion/criterion.h>
#include <string.h>

#define VOCAB           "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]"
#define FILE_WITH(more) "{\"model\":{\"type\":\"BPE\"," VOCAB "}" more "}"
#define MODEL(text)     "{\"model\":{" text "}}"
#define ADDED(text)     FILE_WITH(",\"added_tokens\":[{" text "}]")
#define PRE(text)       FILE_WITH(",\"pre_tokenizer\":{" text "}")

/* A decoder that makes twenty of each a; 320 bytes. */
#define GROW                                                                \
	"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":" \
	"\"aaaaaaaaaaaaaaaaaaaa\"}"
#define TEN "aaaaaaaaaa"
#define LONG                                                                                    \
	TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN \
		TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static int open_text(const char *json, struct tokenizer **t, struct fault *f)
{
	return tokenizer_open_json(json, strlen(json), NULL, 0, "tokenizer.json", t, f);
}

Test(tokenizer_hostile, a_small_good_file_opens)
{
	struct tokenizer *t;
	struct tok_ids ids = { 0 };
	struct fault f = { 0 };
	cr_assert_eq(open_text(FILE_WITH(""), &t, &f), 0, "%s", f.text);
	cr_expect_eq(tokenizer_encode(t, "abba", 4, 0, &ids, &f), 0);
	cr_expect(ids.n == 3 && ids.ids[0] == 2 && ids.ids[1] == 1 && ids.ids[2] == 0);
	tok_ids_release(&ids);
	tokenizer_free(t);
}

static const struct {
	const char *json, *says;
} bad[] = {
	{ "", "" },
	{ "[]", "is not an object" },
	{ "{\"model\":1}", "model is not an object" },
	{ FILE_WITH(",\"extra\":1"), "\"extra\"" },
	{ MODEL("\"type\":\"Markov\""), "Markov" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]"), "model.vocab" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":2000000000},\"merges\":[]"), "far beyond" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":99999999999999999999},\"merges\":[]"),
		"not an id" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":1.5},\"merges\":[]"), "not an id" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]"),
		"id of another piece" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":[1],\"merges\":[]"), "model.vocab is not an object" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a z\"]"), "model.merges[0]" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]"), "makes \"aa\"" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]"), "one space" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]"), "pair of strings" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\""),
		"unk_token" },
	{ MODEL("\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{\"a\":0},\"merges\":[]"), "dropout" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"speed\":1"), "speed" },
	{ MODEL("\"type\":\"Unigram\",\"unk_id\":5,\"vocab\":[[\"a\",0]]"), "unk_id" },
	{ MODEL("\"type\":\"Unigram\",\"vocab\":[[\"a\"]]"), "model.vocab[0]" },
	{ MODEL("\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]"), "model.vocab[0]" },
	{ MODEL("\"type\":\"WordPiece\",\"vocab\":{\"a\":0}"), "unk_token" },
	{ ADDED("\"content\":\"x\""), "added_tokens[0].id" },
	{ ADDED("\"id\":3,\"content\":7"), "added_tokens[0].content" },
	{ ADDED("\"id\":3,\"content\":\"x\",\"lstrip\":\"yes\""), "lstrip" },
	{ ADDED("\"id\":1,\"content\":\"x\""), "gives to another piece" },
	{ ADDED("\"id\":9,\"content\":\"a\""), "the vocabulary gives this token 0" },
	{ ADDED("\"id\":16000000,\"content\":\"x\""), "far beyond" },
	{ FILE_WITH(
		  ",\"added_tokens\":[{\"id\":3,\"content\":\"x\"},{\"id\":3,\"content\":\"y\"}]"),
		"id of another piece" },
	{ PRE("\"type\":\"Sideways\""), "pre_tokenizer.type is \"Sideways\"" },
	{ PRE("\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\""),
		"pre_tokenizer.pattern.Regex" },
	{ PRE("\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Odd\""),
		"behavior" },
	{ PRE("\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Removed\",\"flags\":"
	      "1"),
		"flags" },
	{ PRE("\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Metaspace\",\"replacement\":\"_"
	      "_\"}]"),
		"pre_tokenizer.pretokenizers[0].replacement" },
	{ PRE("\"type\":\"FixedLength\",\"length\":0"), "length" },
	{ FILE_WITH(",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}"),
		"precompiled_charsmap" },
	{ FILE_WITH(",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},"
		    "\"content\":\"x\"}"),
		"normalizer.pattern.String is empty" },
	{ FILE_WITH(",\"decoder\":{\"type\":\"CTC\"}"), "decoder.type" },
	{ FILE_WITH(
		  ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[" GROW "," GROW "," GROW "]}"),
		"decoder.decoders[2] makes text more than" },
	{ MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"continuing_subword_prefix\":"
		"\"" LONG "\""),
		"continuing_subword_prefix is longer" },
	{ FILE_WITH(",\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"" LONG "\"}"),
		"normalizer.prepend is longer" },
	{ FILE_WITH(",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[],\"special_"
		    "tokens\":{}}"),
		"post_processor.single" },
	{ FILE_WITH(",\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"s\",77],\"cls\":["
		    "\"c\",1]}"),
		"token 77" },
};

Test(tokenizer_hostile, each_lie_is_an_error_that_names_the_field)
{
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct tokenizer *t = NULL;
		struct fault f = { 0 };
		cr_expect_eq(open_text(bad[i].json, &t, &f), ERR_TOKENIZER, "%s", bad[i].json);
		cr_expect_null(t);
		cr_expect(strstr(f.text, "tokenizer.json"), "%s", f.text);
		cr_expect(strstr(f.text, bad[i].says), "\"%s\" does not say \"%s\"", f.text,
			bad[i].says);
		tokenizer_free(t);
	}
}

Test(tokenizer_hostile, sequences_may_not_nest_for_ever)
{
	struct buf json = BUF_INIT;
	struct tokenizer *t;
	struct fault f = { 0 };
	buf_adds(&json, "{\"model\":{\"type\":\"BPE\"," VOCAB "},\"decoder\":");
	for (int i = 0; i < 60; i++)
		buf_adds(&json, "{\"type\":\"Sequence\",\"decoders\":[");
	buf_adds(&json, "{\"type\":\"Fuse\"}");
	for (int i = 0; i < 60; i++)
		buf_adds(&json, "]}");
	buf_adds(&json, "}");
	cr_expect_eq(open_text(buf_cstr(&json), &t, &f), ERR_TOKENIZER);
	cr_expect(strstr(f.text, "nested"), "%s", f.text);
	buf_release(&json);
}

Test(tokenizer_hostile, a_regex_that_explodes_costs_its_text_one_error, .timeout = 60)
{
	struct tokenizer *t;
	struct tok_ids ids = { 0 };
	struct buf text = BUF_INIT;
	struct fault f = { 0 };
	cr_assert_eq(open_text(PRE("\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a|aa)+[bc]\"},"
				   "\"behavior\":"
				   "\"Isolated\""),
			     &t, &f),
		0, "%s", f.text);
	for (int i = 0; i < 5000; i++)
		buf_addc(&text, 'a');
	cr_expect_eq(tokenizer_encode(t, text.data, text.n_bytes, 0, &ids, &f), ERR_TOKENIZER);
	cr_expect(strstr(f.text, "too many steps"), "%s", f.text);
	cr_expect_eq(tokenizer_encode(t, "ab", 2, 0, &ids, &f), 0, "the next text is served");
	tok_ids_release(&ids);
	buf_release(&text);
	tokenizer_free(t);
}

Test(tokenizer_hostile, a_normalizer_that_grows_text_without_end_costs_one_error)
{
	struct tokenizer *t;
	struct tok_ids ids = { 0 };
	struct buf json = BUF_INIT, text = BUF_INIT;
	struct fault f = { 0 };
	buf_adds(&json,
		"{\"model\":{\"type\":\"BPE\"," VOCAB "},\"normalizer\":{\"type\":\"Sequence\","
		"\"normalizers\":[");
	for (int i = 0; i < 40; i++)
		buf_addf(&json,
			"%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":"
			"\"aaaa\"}",
			i ? "," : "");
	buf_adds(&json, "]}}");
	cr_assert_eq(open_text(buf_cstr(&json), &t, &f), 0, "%s", f.text);
	for (int i = 0; i < 10000; i++)
		buf_addc(&text, 'a');
	cr_expect_eq(tokenizer_encode(t, text.data, text.n_bytes, 0, &ids, &f), ERR_TOKENIZER);
	cr_expect(strstr(f.text, "32 times"), "%s", f.text);
	tok_ids_release(&ids);
	buf_release(&json);
	buf_release(&text);
	tokenizer_free(t);
}

Test(tokenizer_hostile, a_folder_without_a_tokenizer_says_so)
{
	struct tokenizer *t;
	struct fault f = { 0 };
	cr_expect_eq(tokenizer_open_folder("tests/worker", &t, &f), ERR_TOKENIZER);
	cr_expect(strstr(f.text, "neither tokenizer.json nor tokenizer.model"), "%s", f.text);
	cr_expect_null(t);
}

Test(tokenizer_hostile, a_cut_sentencepiece_model_is_refused_at_every_byte)
{
	struct buf bytes = BUF_INIT;
	size_t n_opened = 0;
	tok_cases_read("tests/data/tokenizers/sp-bpe-user/tokenizer.model", &bytes);
	cr_assert_gt(bytes.n_bytes, 1000);
	for (size_t n = 0; n < bytes.n_bytes; n += 1 + n / 50) {
		struct tokenizer *t = NULL;
		struct fault f = { 0 };
		/* A cut between two fields leaves a smaller model; any other is damage. */
		int err = tok_sentencepiece_open(bytes.data, n, "m", &t, &f);
		cr_expect(err == 0 || (err == ERR_TOKENIZER && f.text[0]));
		n_opened += err == 0;
		tokenizer_free(t);
	}
	cr_expect_lt(n_opened, 40);
	buf_release(&bytes);
}
