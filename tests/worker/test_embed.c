#include "protocol/mem.h"
#include "tests/worker/desk.h"
#include "tests/worker/model_fixture.h"
#include "tests/worker/sparse_model.h"
#include "worker/embed.h"
#include "worker/model/mapped_file.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN    "tests/data/embed/novel-7m.json"
#define DIM       256
#define TOLERANCE 1e-4

TestSuite(embed, .timeout = 1200);

static struct desk *loaded(int n_threads)
{
	struct desk *d = desk_new_of(n_threads);
	const char *a = desk_ask(
		d, "0", "load_model", "{\"model_id\":\"m\",\"local_path\":\"" DESK_MODEL "\"}");
	cr_assert(strstr(a, "\"ready\""), "%s", a);
	return d;
}

static struct json_span open_golden(struct mapped_file *m)
{
	struct fault f = { 0 };
	cr_assert_eq(mapped_file_open(m, GOLDEN, &f), 0, "%s", f.text);
	const char *text = (const char *)m->data;
	cr_assert_eq(json_scan(text, m->n_bytes, &f), 0, "%s", f.text);
	return json_find(json_whole(text, m->n_bytes), "cases");
}

static void read_vector(struct json_span list, double *out)
{
	struct json_cursor at = json_iterate(list);
	struct json_span v;
	size_t n = 0;
	for (; json_next_element(&at, &v); n++)
		cr_assert(n < DIM && json_get_num(v, &out[n]));
	cr_assert_eq(n, DIM);
}

/* embed of texts (JSON values after each other), with further members of params. */
static const char *ask(struct desk *d, int id, const char *texts, const char *more)
{
	char number[16];
	char *params = xasprintf("{\"model_id\":\"m\",\"input\":[%s]%s}", texts, more);
	snprintf(number, sizeof number, "%d", id);
	const char *a = desk_ask(d, number, "embed", params);
	free(params);
	return a;
}

static struct json_span vector_of(const char *answer, size_t index)
{
	struct json_cursor at = json_iterate(desk_find(answer, "result.data"));
	struct json_span item = { 0 };
	for (size_t i = 0; i <= index; i++)
		cr_assert(json_next_element(&at, &item));
	return json_find(item, "embedding");
}

static void compare(struct json_span got, struct json_span want, double length, const char *what)
{
	double a[DIM], b[DIM];
	read_vector(got, a);
	read_vector(want, b);
	for (size_t i = 0; i < DIM; i++)
		cr_assert_float_eq(a[i], b[i] * length, TOLERANCE * length,
			"%s: element %zu is %.9g where the reference has %.9g", what, i, a[i],
			b[i] * length);
}

static void check_case(struct desk *d, struct json_span golden)
{
	static const char *const POOLINGS[] = { "mean", "cls", "last" };
	struct json_span text = json_find(golden, "text");
	char *input = xstrndup(text.at, text.n);
	for (size_t i = 0; i < 3; i++) {
		char more[80], key[24];
		double length;
		snprintf(key, sizeof key, "%s_length", POOLINGS[i]);
		cr_assert(json_get_num(json_find(golden, key), &length));
		for (int unit = 0; unit < 2; unit++) {
			snprintf(more, sizeof more, ",\"pooling\":\"%s\",\"normalize\":%s",
				POOLINGS[i], unit ? "true" : "false");
			const char *a = ask(d, (int)d->n_lines + 1, input, more);
			compare(vector_of(a, 0), json_find(golden, POOLINGS[i]), unit ? 1 : length,
				POOLINGS[i]);
		}
	}
	free(input);
}

Test(embed, vectors_of_every_pooling_are_the_references)
{
	struct mapped_file m;
	struct json_cursor at = json_iterate(open_golden(&m));
	struct desk *d = loaded(1);
	struct json_span golden;
	size_t n = 0;
	for (; json_next_element(&at, &golden); n++)
		check_case(d, golden);
	cr_assert_eq(n, 6);
	desk_free(d);
	mapped_file_close(&m);
}

/* The texts of the golden with others between: as JSON values, comma-separated. */
static void join_texts(struct buf *out, size_t n)
{
	struct mapped_file m;
	struct json_span cases = open_golden(&m), golden;
	struct json_cursor at = json_iterate(cases);
	for (size_t i = 0; i < n; i++) {
		if (!json_next_element(&at, &golden)) {
			at = json_iterate(cases);
			json_next_element(&at, &golden);
		}
		struct json_span text = json_find(golden, "text");
		buf_addf(out, "%s\"%zu: \",%.*s", i ? "," : "", i, (int)text.n, text.at);
	}
	mapped_file_close(&m);
}

static void same_bits(struct json_span a, struct json_span b, const char *what)
{
	/* Numbers are printed so that they read back as the same float: equal texts are equal
	 * bits. */
	cr_assert(a.n == b.n && memcmp(a.at, b.at, a.n) == 0, "%s", what);
}

static void alone_is_as_among_others(const char *pooling, int n_threads)
{
	struct desk *d = loaded(1), *other = loaded(n_threads);
	struct mapped_file m;
	struct json_cursor at = json_iterate(open_golden(&m));
	struct json_span golden;
	struct buf texts = BUF_INIT;
	char more[32];
	snprintf(more, sizeof more, ",\"pooling\":\"%s\"", pooling);
	join_texts(&texts, 8);
	desk_say(other, "{\"jsonrpc\":\"2.0\",\"id\":\"g\",\"method\":\"generate\",\"params\":{"
			"\"model_id\":"
			"\"m\",\"prompt\":\"The old house\",\"max_tokens\":64,\"stream\":false}}");
	const char *batch = ask(other, 2, buf_cstr(&texts), more);
	for (size_t i = 0; json_next_element(&at, &golden); i++) {
		struct json_span text = json_find(golden, "text");
		char *input = xstrndup(text.at, text.n);
		const char *alone = ask(d, (int)i + 10, input, more);
		same_bits(vector_of(alone, 0), vector_of(batch, 2 * i + 1), input);
		free(input);
	}
	desk_hear(other, "\"id\":\"g\"");
	buf_release(&texts);
	mapped_file_close(&m);
	desk_free(other);
	desk_free(d);
}

Test(embed, a_text_gets_the_same_bits_alone_and_among_sixteen)
{
	alone_is_as_among_others("mean", 1);
	alone_is_as_among_others("last", 1);
}

Test(embed, a_text_gets_the_same_bits_from_one_thread_and_from_two)
{
	alone_is_as_among_others("mean", 2);
}

Test(embed, usage_counts_the_tokens_of_all_texts_and_data_is_in_their_order)
{
	struct desk *d = desk_new_loaded();
	const char *a = ask(d, 1, "\"a\",\"\",\"It was a cold evening in November\"", "");
	cr_assert(desk_is(a, "result.usage", "{\"prompt_tokens\":13,\"total_tokens\":13}"));
	cr_assert(desk_is(a, "result.pooling", "\"last\"") &&
		  desk_is(a, "result.normalized", "true"));
	struct json_cursor at = json_iterate(desk_find(a, "result.data"));
	struct json_span item;
	int64_t index, n = 0;
	for (; json_next_element(&at, &item); n++)
		cr_assert(json_get_int(json_find(item, "index"), &index) && index == n);
	cr_assert_eq(n, 3);
	const char *one = desk_ask(d, "2", "embed", "{\"model_id\":\"m\",\"input\":\"a\"}");
	same_bits(vector_of(one, 0), vector_of(a, 0), "a string is a list of one");
	desk_free(d);
}

/* n_words of one token each, after the bos. */
static char *words(size_t n_words)
{
	struct buf text = BUF_INIT;
	buf_adds(&text, "\"the");
	for (size_t i = 1; i < n_words; i++)
		buf_adds(&text, " the");
	buf_adds(&text, "\"");
	return buf_detach(&text);
}

Test(embed, a_text_may_fill_the_context_and_one_token_more_is_an_overflow_with_its_counts)
{
	struct desk *d = desk_new_loaded();
	char *fits = words(511), *more = words(512);
	char *both = xasprintf("%s,%s", fits, more);
	const char *a = ask(d, 1, fits, "");
	cr_assert(desk_is(a, "result.usage.prompt_tokens", "512"), "%s", a);
	const char *b = ask(d, 2, both, "");
	cr_assert(desk_is(b, "error.code", "-32007"), "%s", b);
	cr_assert(desk_is(b, "error.data.prompt_tokens", "513"));
	cr_assert(desk_is(b, "error.data.max", "512"));
	cr_assert(desk_is(b, "error.data.path", "\"input[1]\""));
	free(both);
	free(more);
	free(fits);
	desk_free(d);
}

Test(embed, a_cancelled_one_is_answered_so_and_leaves_nothing_running)
{
	struct desk *d = desk_new_loaded();
	struct buf texts = BUF_INIT;
	join_texts(&texts, 500);
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"embed\",\"params\":{\"model_id\":\"m\","
		"\"input\":[%s]}}",
		buf_cstr(&texts));
	desk_say(d, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":1}}");
	cr_assert(desk_is(desk_hear(d, "\"id\":1,"), "error.code", "-32800"));
	cr_assert_eq(engine_active(d->w.engine), 0);
	buf_release(&texts);
	desk_free(d);
}

Test(embed, who_comes_during_a_long_list_does_not_wait_for_its_end)
{
	struct desk *d = desk_new_loaded();
	struct buf texts = BUF_INIT;
	join_texts(&texts, 100);
	desk_say(d,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"embed\",\"params\":{\"model_id\":\"m\","
		"\"input\":[%s]}}",
		buf_cstr(&texts));
	const char *a = desk_ask(d, "2", "generate",
		"{\"model_id\":\"m\",\"prompt\":\"The old "
		"house\",\"max_tokens\":4,\"stream\":false}");
	cr_assert(strstr(a, "\"text\""), "%s", a);
	cr_assert_eq(desk_count(d, "\"id\":1,"), 0, "the list was over first");
	cr_assert(strstr(desk_hear(d, "\"id\":1,"), "\"usage\""));
	buf_release(&texts);
	desk_free(d);
}

Test(embed, texts_that_are_late_end_in_a_timeout)
{
	struct desk *d = desk_new_loaded();
	struct buf texts = BUF_INIT;
	join_texts(&texts, 500);
	const char *a = ask(d, 1, buf_cstr(&texts), ",\"timeout_ms\":1");
	cr_assert(desk_is(a, "error.code", "-32008"), "%.300s", a);
	buf_release(&texts);
	desk_free(d);
}

Test(embed, what_cannot_be_honoured_is_refused_with_its_place)
{
	static const char *const BAD[][2] = {
		{ "{\"model_id\":\"m\",\"input\":[]}", "\"input\"" },
		{ "{\"model_id\":\"m\",\"input\":[\"a\",1]}", "\"input[1]\"" },
		{ "{\"model_id\":\"m\",\"input\":7}", "\"input\"" },
		{ "{\"model_id\":\"m\",\"input\":\"a\",\"pooling\":\"max\"}", "\"pooling\"" },
		{ "{\"model_id\":\"m\",\"input\":\"a\",\"normalize\":1}", "\"normalize\"" },
		{ "{\"model_id\":\"m\",\"input\":\"a\",\"dimensions\":64}", "\"dimensions\"" },
	};
	struct desk *d = desk_new_loaded();
	for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
		char id[8];
		snprintf(id, sizeof id, "%zu", i + 1);
		const char *a = desk_ask(d, id, "embed", BAD[i][0]);
		cr_assert(desk_is(a, "error.code", "-32602"), "%s: %s", BAD[i][0], a);
		cr_assert(desk_is(a, "error.data.path", BAD[i][1]), "%s", a);
	}
	const char *a = desk_ask(d, "\"x\"", "embed", "{\"model_id\":\"no\",\"input\":\"a\"}");
	cr_assert(desk_is(a, "error.code", "-32005"), "%s", a);
	desk_free(d);
}

/* A model of zeros whose vectors have 1024 numbers. */
static char *put_wide_model(void)
{
	static const char *const SQUARES[] = { "q", "k", "v", "o" };
	static const char layer[] = "model.layers.0.";
	struct sparse_model m = { BUF_INIT, 0 };
	char *folder = fixture_with_tokenizer(DESK_MODEL), name[80];
	sparse_put(folder, "config.json",
		"{\"model_type\":\"llama\",\"hidden_size\":1024,\"num_hidden_layers\":1,"
		"\"num_attention_heads\":8,\"intermediate_size\":64,\"vocab_size\":4096,"
		"\"max_position_embeddings\":64,\"tie_word_embeddings\":true}");
	sparse_add(&m, "model.embed_tokens.weight", 4096, 1024);
	sparse_add(&m, "model.norm.weight", 0, 1024);
	for (size_t i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "%sself_attn.%s_proj.weight", layer, SQUARES[i]);
		sparse_add(&m, name, 1024, 1024);
	}
	sparse_add(&m, "model.layers.0.input_layernorm.weight", 0, 1024);
	sparse_add(&m, "model.layers.0.post_attention_layernorm.weight", 0, 1024);
	sparse_add(&m, "model.layers.0.mlp.gate_proj.weight", 64, 1024);
	sparse_add(&m, "model.layers.0.mlp.up_proj.weight", 64, 1024);
	sparse_add(&m, "model.layers.0.mlp.down_proj.weight", 1024, 64);
	sparse_write(&m, folder);
	return folder;
}

Test(embed, vectors_that_do_not_fit_in_a_frame_are_refused_before_any_is_computed)
{
	struct desk *d = desk_new();
	char *folder = put_wide_model();
	char *params = xasprintf("{\"model_id\":\"m\",\"local_path\":\"%s\"}", folder);
	const char *loaded_one = desk_ask(d, "1", "load_model", params);
	cr_assert(strstr(loaded_one, "\"ready\""), "%s", loaded_one);
	struct buf texts = BUF_INIT;
	for (int i = 0; i < 508; i++)
		buf_adds(&texts, i ? ",\"a\"" : "\"a\"");
	const char *most = ask(d, 2, buf_cstr(&texts), "");
	cr_assert(desk_is(most, "result.usage.prompt_tokens", "1016"), "%.200s", most);
	buf_adds(&texts, ",\"a\"");
	const char *more = ask(d, 3, buf_cstr(&texts), "");
	cr_assert(desk_is(more, "error.code", "-32602"), "%.200s", more);
	cr_assert(desk_is(more, "error.data.max", "508") && strstr(more, "at most 508 texts"));
	buf_release(&texts);
	free(params);
	desk_free(d);
	fixture_unlink(folder);
}
