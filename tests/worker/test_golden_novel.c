/* The bundled model against transformers: ids, log-probabilities, greedy texts, perplexity. */
#include "protocol/json_scan.h"
#include "protocol/mem.h"
#include "tests/worker/model_fixture.h"
#include "worker/model/mapped_file.h"
#include "worker/text/tokenizer.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL  "models/novel-7m"
#define WINDOW 512
/* A sanitizer makes each step of a quantized model a second's work. */
#define N_GREEDY (FIXTURE_SLOW ? 4 : 64)

static struct json_span open_json(struct mapped_file *m, const char *path)
{
	struct fault f = { 0 };

	cr_assert_eq(mapped_file_open(m, path, &f), 0, "%s", f.text);
	cr_assert_eq(json_scan((const char *)m->data, m->n_bytes, &f), 0, "%s", f.text);
	return json_whole((const char *)m->data, m->n_bytes);
}

static size_t read_ids(struct json_span array, int32_t *out, size_t cap)
{
	struct json_cursor at = json_iterate(array);
	struct json_span v;
	int64_t id;
	size_t n = 0;

	while (json_next_element(&at, &v)) {
		cr_assert(n < cap && json_get_int(v, &id));
		out[n++] = (int32_t)id;
	}
	return n;
}

/* log of the sum of exponentials: what turns logits into log-probabilities. */
static double log_sum(const float *logits, size_t n)
{
	double max = logits[0], sum = 0;

	for (size_t i = 1; i < n; i++)
		max = fmax(max, logits[i]);
	for (size_t i = 0; i < n; i++)
		sum += exp(logits[i] - max);
	return max + log(sum);
}

static void check_top(const float *logits, size_t n_vocab, struct json_span prompt)
{
	struct json_cursor at = json_iterate(json_find(prompt, "top10_logprobs"));
	struct json_span v;
	int32_t ids[10];
	double want, sum = log_sum(logits, n_vocab);

	cr_assert_eq(read_ids(json_find(prompt, "top10_ids"), ids, 10), 10);
	for (size_t i = 0; json_next_element(&at, &v); i++) {
		cr_assert(json_get_num(v, &want));
		double have = logits[ids[i]] - sum;
		cr_expect(fabs(have - want) <= 1e-4, "token %d: %f, not %f", ids[i], have, want);
	}
}

static void check_ids(
	const struct fixture *x, struct json_span prompt, const int32_t *ids, size_t n)
{
	struct buf text = BUF_INIT;
	struct tok_ids have = { 0 };
	struct fault f = { 0 };

	cr_assert(json_get_str(json_find(prompt, "text"), &text));
	cr_assert_eq(tokenizer_encode(model_tokenizer(x->model), text.data, text.n_bytes,
			     TOK_ADD_SPECIAL, &have, &f),
		0, "%s", f.text);
	cr_assert_eq(have.n, n);
	cr_assert_arr_eq(have.ids, ids, n * sizeof *ids);
	tok_ids_release(&have);
	buf_release(&text);
}

static void check_prompt(struct fixture *x, struct json_span prompt)
{
	int32_t ids[256], greedy[64];
	size_t n = read_ids(json_find(prompt, "ids"), ids, 256), v = x->vocab_size;
	size_t n_greedy = read_ids(json_find(prompt, "greedy"), greedy, 64);
	float *logits = xcalloc(n * v, sizeof *logits), *last = logits + (n - 1) * v;
	struct kv_seq s;

	cr_assert_eq(n_greedy, 64);
	check_ids(x, prompt, ids, n);
	kv_seq_init(&s, x->kv);
	fixture_feed(x, &s, &(struct feed) { ids, n, n, false, logits });
	check_top(last, v, prompt);
	for (size_t i = 0; i < N_GREEDY; i++) {
		int32_t id = fixture_argmax(last, v);
		cr_assert_eq(id, greedy[i], "greedy token %zu is %d, not %d", i, id, greedy[i]);
		last = logits;
		fixture_feed(x, &s, &(struct feed) { &id, 1, 1, true, last });
	}
	kv_seq_release(&s);
	free(logits);
}

static void check_model(const char *model, const char *golden)
{
	struct mapped_file m;
	struct json_span all = open_json(&m, golden), prompt;
	struct json_cursor at = json_iterate(json_find(all, "prompts"));
	struct fixture x;
	size_t n = 0;

	fixture_open_as(&x, &(struct model_options) { .path = model }, 2, 64);
	for (; json_next_element(&at, &prompt); n++)
		check_prompt(&x, prompt);
	cr_assert_eq(n, 5);
	fixture_close(&x);
	mapped_file_close(&m);
}

Test(golden_novel, five_prompts_give_the_references_ids_logprobs_and_greedy_texts, .timeout = 600)
{
	check_model(MODEL, "tests/data/novel/novel-7m.json");
}

Test(golden_novel, its_smaller_sibling_too, .timeout = 600)
{
	if (access("../shared/models/novel-1m", R_OK) != 0)
		cr_skip_test("../shared/models is not there");
	check_model("../shared/models/novel-1m", "../shared/golden/novel/novel-1m.json");
}

Test(golden_novel, mlx_quantized_in_4_and_8_bits_too, .timeout = 1200)
{
	if (access("../shared/models/novel-7m-mlx-4bit", R_OK) != 0)
		cr_skip_test("../shared/models is not there");
	check_model("../shared/models/novel-7m-mlx-4bit",
		"../shared/golden/novel/novel-7m-mlx-4bit.json");
	check_model("../shared/models/novel-7m-mlx-8bit",
		"../shared/golden/novel/novel-7m-mlx-8bit.json");
}

/* Mean negative log-likelihood of every token but the first of each window. */
static double window_nll(struct fixture *x, const int32_t *ids, float *logits)
{
	struct kv_seq s;
	double nll = 0;

	kv_seq_init(&s, x->kv);
	fixture_feed(x, &s, &(struct feed) { ids, WINDOW, WINDOW, false, logits });
	kv_seq_release(&s);
	for (size_t i = 0; i + 1 < WINDOW; i++) {
		const float *row = logits + i * x->vocab_size;
		nll += log_sum(row, x->vocab_size) - row[ids[i + 1]];
	}
	return nll / (WINDOW - 1);
}

/* Of the text's first n_windows windows. */
static double perplexity_of(struct fixture *x, size_t n_windows)
{
	struct mapped_file text;
	struct tok_ids ids = { 0 };
	struct fault f = { 0 };
	float *logits = xcalloc(WINDOW * x->vocab_size, sizeof *logits);
	double nll = 0;
	size_t n = 0;

	cr_assert_eq(mapped_file_open(&text, "tests/data/novel/heldout.txt", &f), 0, "%s", f.text);
	cr_assert_eq(tokenizer_encode(model_tokenizer(x->model), (const char *)text.data,
			     text.n_bytes, 0, &ids, &f),
		0, "%s", f.text);
	for (; n < n_windows && (n + 1) * WINDOW <= ids.n; n++)
		nll += window_nll(x, ids.ids + n * WINDOW, logits);
	cr_assert_eq(n, n_windows);
	mapped_file_close(&text);
	tok_ids_release(&ids);
	free(logits);
	return exp(nll / (double)n);
}

static double perplexity(struct fixture *x)
{
	return perplexity_of(x, 15360 / WINDOW);
}

static void check_perplexity(const char *model, const char *golden, double tolerance)
{
	struct mapped_file m;
	struct json_span all = open_json(&m, golden);
	struct fixture x;
	double want;

	cr_assert(json_get_num(json_find(json_find(all, "perplexity"), "ppl"), &want));
	for (int exact = 0; exact < 2; exact++) {
		double most = exact ? tolerance : 0.005 * want;
		fixture_open_as(&x,
			&(struct model_options) { .path = model,
				.activations = exact ? ACTIVATIONS_AUTO : ACTIVATIONS_INT8 },
			2, WINDOW);
		double have = perplexity(&x);
		cr_assert(fabs(have - want) <= most, "%s: perplexity %f, not %f, activations %s",
			model, have, want, exact ? "float" : "auto");
		fixture_close(&x);
	}
	mapped_file_close(&m);
}

Test(golden_novel, perplexity_of_the_held_out_text_is_the_references, .timeout = 3600)
{
	if (FIXTURE_SLOW)
		cr_skip_test("a held-out text is too long for a sanitizer: see five_prompts_…");
	check_perplexity(MODEL, "tests/data/novel/novel-7m.json", 0.01);
}

Test(golden_novel, a_cache_of_int8_leaves_the_perplexity_as_it_is, .timeout = 3600)
{
	struct mapped_file m;
	struct fixture x;
	double want;

	if (FIXTURE_SLOW)
		cr_skip_test("a held-out text is too long for a sanitizer");
	struct json_span all = open_json(&m, "tests/data/novel/novel-7m.json");
	cr_assert(json_get_num(json_find(json_find(all, "perplexity"), "ppl"), &want));
	fixture_open_as(
		&x, &(struct model_options) { .path = MODEL, .kv_dtype = KV_INT8 }, 2, WINDOW);
	double have = perplexity(&x);
	cr_assert(fabs(have / want - 1) <= 0.003, "perplexity %f, not %f", have, want);
	fixture_close(&x);
	mapped_file_close(&m);
}

static double perplexity_as(const struct model_options *opt, const char *quantization)
{
	struct fixture x;

	fixture_open_as(&x, opt, 2, WINDOW);
	cr_assert_str_eq(model_info(x.model)->quantization, quantization);
	double ppl = perplexity_of(&x, 6);
	fixture_close(&x);
	return ppl;
}

Test(golden_novel, quantized_at_load_it_reads_nearly_as_well, .timeout = 3600)
{
	struct model_options opt = { .path = MODEL };
	double exact, fast;

	if (FIXTURE_SLOW)
		cr_skip_test("a held-out text is too long for a sanitizer");
	const double want = perplexity_as(&opt, "none");
	for (opt.quantize = QUANTIZE_INT8; opt.quantize <= QUANTIZE_INT4; opt.quantize++) {
		const bool is_int8 = opt.quantize == QUANTIZE_INT8;
		opt.activations = ACTIVATIONS_FLOAT;
		exact = perplexity_as(&opt, is_int8 ? "int8" : "int4");
		opt.activations = ACTIVATIONS_AUTO;
		fast = perplexity_as(&opt, is_int8 ? "int8" : "int4");
		cr_expect(fabs(exact / want - 1) <= (is_int8 ? 0.003 : 0.08), "%f, not %f", exact,
			want);
		cr_expect(fabs(fast / exact - 1) <= 0.005, "int8 activations %f, not %f", fast,
			exact);
		cr_expect(exact != want, "nothing was quantized");
	}
}

Test(golden_novel, perplexity_of_mlx_models_is_that_of_their_dequantized_weights, .timeout = 3600)
{
	if (access("../shared/models/novel-7m-mlx-4bit", R_OK) != 0)
		cr_skip_test("../shared/models is not there");
	if (FIXTURE_SLOW)
		cr_skip_test("a held-out text is too long for a sanitizer: see mlx_quantized_in…");
	check_perplexity("../shared/models/novel-7m-mlx-4bit",
		"../shared/golden/novel/novel-7m-mlx-4bit.json", 0.01);
	check_perplexity("../shared/models/novel-7m-mlx-8bit",
		"../shared/golden/novel/novel-7m-mlx-8bit.json", 0.01);
}
