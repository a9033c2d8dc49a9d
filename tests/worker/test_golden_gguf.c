/* test_golden_gguf.c - a GGUF computes what its exactly dequantized weights compute.
 *
 * The reference is made here: every tensor of the file widened to float32 by the traits table
 * (which test_quant holds against numpy's values bit for bit) and saved as an ordinary
 * safetensors folder, which the float path (held against transformers) then runs. */
#include "kernels/quant.h"
#include "protocol/buf.h"
#include "protocol/mem.h"
#include "tests/worker/model_fixture.h"
#include "worker/model/gguf_model.h"
#include "worker/model/mapped_file.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER  "../shared/models/gguf/"
#define WINDOW  512
#define WINDOWS 4

static void save(const char *folder, const char *name, const void *bytes, size_t n)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "wb");
	cr_assert(file && fwrite(bytes, 1, n, file) == n && fclose(file) == 0, "%s", path);
	free(path);
}

static void widen(const struct tensor *t, struct buf *out)
{
	buf_reserve(out, t->n_values * sizeof(float));
	float *to = (float *)(void *)(out->data + out->n_bytes);
	if (t->dtype == DTYPE_F32)
		memcpy(to, t->data, t->n_bytes);
	else
		quant_type(t->dtype)->dequantize(to, t->data, t->n_values);
	out->n_bytes += t->n_values * sizeof(float);
}

static void save_weights(const char *folder, const struct tensor_source *s)
{
	struct buf header = BUF_INIT, data = BUF_INIT, whole = BUF_INIT;
	const struct tensor *t;
	buf_addc(&header, '{');
	for (size_t i = 0; (t = tensor_at(s, i)); i++) {
		size_t begin = data.n_bytes;
		widen(t, &data);
		jout_key(&header, t->name);
		buf_adds(&header, "{\"dtype\":\"F32\",\"shape\":[");
		for (size_t d = 0; d < t->n_dims; d++)
			buf_addf(&header, "%s%zu", d ? "," : "", t->dims[d]);
		buf_addf(&header, "],\"data_offsets\":[%zu,%zu]}", begin, data.n_bytes);
	}
	buf_addc(&header, '}');
	uint64_t n = header.n_bytes;
	buf_add(&whole, &n, sizeof n);
	buf_add(&whole, header.data, header.n_bytes);
	buf_add(&whole, data.data, data.n_bytes);
	save(folder, "model.safetensors", whole.data, whole.n_bytes);
	buf_release(&header);
	buf_release(&data);
	buf_release(&whole);
}

/* The bundled model's folder with this file's weights, and rows where this file has them. */
static void save_folder(const char *folder, const char *gguf)
{
	static const char *const copied[] = { "config.json", "tokenizer.json" };
	struct gguf **parts = xcalloc(1, sizeof *parts);
	struct tensor_source *s;
	struct fault f = { 0 };
	cr_assert_eq(gguf_open(gguf, parts, &f), 0, "%s", f.text);
	cr_assert_eq(gguf_tensors(parts, 1, gguf_arch_of(parts[0], &f), &s, &f), 0, "%s", f.text);
	save_weights(folder, s);
	tensor_source_close(s);
	for (size_t i = 0; i < 2; i++) {
		struct mapped_file m;
		struct buf text = BUF_INIT;
		char *path = xasprintf("models/novel-7m/%s", copied[i]);
		cr_assert_eq(mapped_file_open(&m, path, &f), 0, "%s", f.text);
		buf_add(&text, m.data, m.n_bytes);
		if (i == 0) { /* {"rope_interleaved":true, … */
			buf_clear(&text);
			buf_adds(&text, "{\"rope_interleaved\":true,");
			buf_add(&text, m.data + 1, m.n_bytes - 1);
		}
		save(folder, copied[i], text.data, text.n_bytes);
		buf_release(&text);
		mapped_file_close(&m);
		free(path);
	}
}

static double log_sum(const float *logits, size_t n)
{
	double max = logits[0], sum = 0;
	for (size_t i = 1; i < n; i++)
		max = fmax(max, logits[i]);
	for (size_t i = 0; i < n; i++)
		sum += exp(logits[i] - max);
	return max + log(sum);
}

static double perplexity(const char *model, enum activations activations)
{
	struct mapped_file text;
	struct tok_ids ids = { 0 };
	struct fixture x;
	struct fault f = { 0 };
	double nll = 0;
	fixture_open_as(&x, &(struct model_options) { .path = model, .activations = activations },
		2, WINDOW);
	float *logits = xcalloc(WINDOW * x.vocab_size, sizeof *logits);
	cr_assert_eq(mapped_file_open(&text, "tests/data/novel/heldout.txt", &f), 0, "%s", f.text);
	cr_assert_eq(tokenizer_encode(model_tokenizer(x.model), (const char *)text.data,
			     text.n_bytes, 0, &ids, &f),
		0, "%s", f.text);
	for (size_t w = 0; w < WINDOWS; w++) {
		const int32_t *window = ids.ids + w * WINDOW;
		struct kv_seq s;
		kv_seq_init(&s, x.kv);
		fixture_feed(&x, &s, &(struct feed) { window, WINDOW, WINDOW, false, logits });
		kv_seq_release(&s);
		for (size_t i = 0; i + 1 < WINDOW; i++)
			nll += log_sum(logits + i * x.vocab_size, x.vocab_size) -
			       logits[i * x.vocab_size + (size_t)window[i + 1]];
	}
	mapped_file_close(&text);
	tok_ids_release(&ids);
	free(logits);
	fixture_close(&x);
	return exp(nll / (WINDOWS * (WINDOW - 1)));
}

static void check(const char *name)
{
	char folder[] = "/tmp/tandem-gguf-XXXXXX";
	char *gguf = xasprintf(FOLDER "%s", name);
	cr_assert_not_null(mkdtemp(folder));
	save_folder(folder, gguf);
	double want = perplexity(folder, ACTIVATIONS_FLOAT),
	       exact = perplexity(gguf, ACTIVATIONS_FLOAT);
	double fast = perplexity(gguf, ACTIVATIONS_AUTO);
	cr_expect(fabs(exact / want - 1) <= 0.003, "%s: perplexity %f, not %f", name, exact, want);
	cr_expect(fabs(fast / want - 1) <= 0.005, "%s: with int8 activations %f, not %f", name,
		fast, want);
	cr_expect(want > 20 && want < 40, "%s: %f is no perplexity of this text", name, want);
	for (size_t i = 0; i < 3; i++) {
		char *path = xasprintf("%s/%s", folder,
			((const char *[]) {
				"model.safetensors", "config.json", "tokenizer.json" })[i]);
		unlink(path);
		free(path);
	}
	rmdir(folder);
	free(gguf);
}

Test(golden_gguf, perplexity_is_that_of_the_dequantized_weights, .timeout = 3600)
{
	if (access(FOLDER, R_OK) != 0)
		cr_skip_test(FOLDER " is not there");
	if (FIXTURE_SLOW)
		cr_skip_test("a held-out text is too long for a sanitizer: see quantized");
	check("novel-7m-f16.gguf");
	check("novel-7m-q8_0.gguf");
	check("novel-7m-q4_0.gguf");
	check("novel-7m-q4_k_m.gguf");
}
