/* A row's bits are its own: whoever travels with it, however it was cut, on any threads. */
#include "protocol/mem.h"
#include "tests/worker/model_fixture.h"
#include "tests/worker/tiny_model.h"
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define MODEL  "models/novel-7m"
#define N_TEXT 48

static int32_t text_id(size_t i)
{
	return (int32_t)(3 + i * 2654435761u % 4000);
}

/* Logits of every row of a text of prompt rows followed by decoded ones, all alone. */
static float *alone(struct fixture *x, const int32_t *ids, size_t n_prompt, size_t n)
{
	float *logits = xcalloc(n * x->vocab_size, sizeof *logits);
	struct kv_seq s;

	kv_seq_init(&s, x->kv);
	fixture_feed(x, &s, &(struct feed) { ids, n_prompt, n_prompt, false, logits });
	fixture_feed(x, &s,
		&(struct feed) {
			ids + n_prompt, n - n_prompt, 1, true, logits + n_prompt * x->vocab_size });
	kv_seq_release(&s);
	return logits;
}

/* Four texts in one ragged batch: each step takes some rows of each, prompt rows of one beside
 * decoded rows of others. */
struct crowd {
	struct kv_seq seqs[4];
	int32_t ids[4][N_TEXT];
	size_t at[4], n_prompt[4];
	float *logits[4];
};

static size_t crowd_rows(struct crowd *c, struct batch_row *rows, size_t step)
{
	size_t n = 0;

	for (size_t q = 0; q < 4; q++) {
		size_t take = (step * 7 + q * 5) % 9;
		for (size_t i = 0; i < take && c->at[q] < N_TEXT; i++, c->at[q]++) {
			size_t pos = c->at[q];
			rows[n++] = (struct batch_row) { c->ids[q][pos], (int32_t)pos, &c->seqs[q],
				pos < c->n_prompt[q], (pos + q) % 3 != 0, NULL };
		}
	}
	return n;
}

static void crowd_step(struct fixture *x, struct crowd *c, size_t step, float *out)
{
	struct batch_row rows[64];
	size_t n = crowd_rows(c, rows, step);
	struct fault f = { 0 };

	for (size_t q = 0; q < 4; q++)
		cr_assert_eq(kv_reserve(&c->seqs[q], 16), 0);
	cr_assert_eq(model_forward(x->context, rows, n, out, &f), 0, "%s", f.text);
	for (size_t i = 0, w = 0; i < n; i++) {
		size_t q = (size_t)(rows[i].seq - c->seqs), v = x->vocab_size;
		if (rows[i].want_logits)
			memcpy(c->logits[q] + (size_t)rows[i].pos * v, out + v * w++,
				v * sizeof *out);
	}
}

static void run_crowd(struct fixture *x, struct crowd *c)
{
	float *out = xcalloc(64 * x->vocab_size, sizeof *out);

	for (size_t q = 0; q < 4; q++) {
		kv_seq_init(&c->seqs[q], x->kv);
		c->n_prompt[q] = 5 + 11 * q;
		c->logits[q] = xcalloc(N_TEXT * x->vocab_size, sizeof *out);
		for (size_t i = 0; i < N_TEXT; i++)
			c->ids[q][i] = text_id(q * 1000 + i);
	}
	for (size_t step = 0; step < 64; step++)
		crowd_step(x, c, step, out);
	for (size_t q = 0; q < 4; q++) {
		cr_assert_eq(c->at[q], N_TEXT);
		kv_seq_release(&c->seqs[q]);
	}
	free(out);
}

static void check_crowd(size_t n_threads, enum kv_dtype kv_dtype, enum activations activations)
{
	const struct model_options opt = {
		.path = MODEL, .kv_dtype = kv_dtype, .activations = activations
	};
	struct fixture one, x;
	struct crowd c = { 0 };

	fixture_open_as(&one, &opt, 1, 64);
	fixture_open_as(&x, &opt, n_threads, 64);
	run_crowd(&x, &c);
	for (size_t q = 0; q < 4; q++) {
		float *want = alone(&one, c.ids[q], c.n_prompt[q], N_TEXT);
		for (size_t i = 0; i < N_TEXT; i++)
			if ((i + q) % 3 != 0)
				cr_assert_arr_eq(c.logits[q] + i * x.vocab_size,
					want + i * x.vocab_size, x.vocab_size * sizeof(float),
					"text %zu row %zu", q, i);
		free(want);
		free(c.logits[q]);
	}
	fixture_close(&x);
	fixture_close(&one);
}

Test(model_rows, a_row_has_the_same_bits_alone_and_in_a_ragged_batch, .timeout = 600)
{
	check_crowd(1, KV_F32, ACTIVATIONS_AUTO);
}

Test(model_rows, and_on_two_or_three_threads, .timeout = 600)
{
	check_crowd(2, KV_F32, ACTIVATIONS_AUTO);
	check_crowd(3, KV_F32, ACTIVATIONS_AUTO);
}

Test(model_rows, and_with_a_cache_of_halves, .timeout = 600)
{
	check_crowd(2, KV_F16, ACTIVATIONS_AUTO);
	check_crowd(2, KV_BF16, ACTIVATIONS_AUTO);
	check_crowd(2, KV_INT8, ACTIVATIONS_AUTO);
}

Test(model_rows, and_with_activations_rounded, .timeout = 600)
{
	check_crowd(2, KV_F32, ACTIVATIONS_INT8);
}

Test(model_rows, a_prompt_has_the_same_bits_however_it_is_cut, .timeout = 600)
{
	const size_t chunks[] = { 200, 1, 7, 33, 64, 199 };
	struct fixture x;
	int32_t ids[200];
	float *logits[2];

	fixture_open(&x, MODEL, 2, 256);
	size_t n = 200 * x.vocab_size;
	for (size_t i = 0; i < 200; i++)
		ids[i] = text_id(i);
	logits[0] = xcalloc(n, sizeof(float));
	logits[1] = xcalloc(n, sizeof(float));
	for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
		struct kv_seq s;
		kv_seq_init(&s, x.kv);
		fixture_feed(&x, &s, &(struct feed) { ids, 200, chunks[i], false, logits[i > 0] });
		kv_seq_release(&s);
		cr_assert(i == 0 || memcmp(logits[0], logits[1], n * sizeof(float)) == 0,
			"chunks of %zu", chunks[i]);
	}
	free(logits[0]);
	free(logits[1]);
	fixture_close(&x);
}

Test(model_rows, a_shared_prefix_gives_the_bits_of_an_own_one, .timeout = 600)
{
	struct fixture x;
	struct kv_seq a, b, c;
	int32_t ids[60];

	fixture_open(&x, MODEL, 1, 64);
	size_t v = x.vocab_size;
	float *want = xcalloc(60 * v, sizeof *want), *have = xcalloc(60 * v, sizeof *have);
	for (size_t i = 0; i < 60; i++)
		ids[i] = text_id(i);
	kv_seq_init(&a, x.kv);
	kv_seq_init(&b, x.kv);
	kv_seq_init(&c, x.kv);
	fixture_feed(&x, &a, &(struct feed) { ids, 60, 60, false, want });
	kv_share(&b, &a, 45);
	kv_truncate(&a, 20);
	fixture_feed(&x, &b, &(struct feed) { ids + 45, 15, 15, false, have });
	cr_assert_arr_eq(have, want + 45 * v, 15 * v * sizeof *have, "b, sharing 45");
	fixture_feed(&x, &a, &(struct feed) { ids + 20, 40, 9, false, have });
	cr_assert_arr_eq(have, want + 20 * v, 40 * v * sizeof *have, "a, cut back to 20");
	kv_seq_release(&a);
	kv_seq_release(&b);
	kv_seq_release(&c);
	free(want);
	free(have);
	fixture_close(&x);
}

Test(model_rows, a_cache_of_halves_or_bytes_stays_close_to_one_of_floats, .timeout = 600)
{
	const enum kv_dtype types[] = { KV_F32, KV_F16, KV_BF16, KV_INT8 };
	int32_t ids[N_TEXT];
	float *logits[4];
	size_t n = 0;

	for (size_t i = 0; i < N_TEXT; i++)
		ids[i] = text_id(i);
	for (size_t t = 0; t < 4; t++) {
		struct fixture x;
		fixture_open_as(
			&x, &(struct model_options) { .path = MODEL, .kv_dtype = types[t] }, 1, 64);
		n = N_TEXT * x.vocab_size;
		logits[t] = alone(&x, ids, N_TEXT - 1, N_TEXT);
		fixture_close(&x);
	}
	for (size_t i = 0; i < n; i++) {
		cr_assert_float_eq(logits[1][i], logits[0][i], 0.05, "f16");
		cr_assert_float_eq(logits[2][i], logits[0][i], 0.4, "bf16");
		cr_assert_float_eq(logits[3][i], logits[0][i], 0.6, "int8");
	}
	cr_assert_neq(memcmp(logits[0], logits[1], n * sizeof(float)), 0, "f16 was not used");
	cr_assert_neq(memcmp(logits[0], logits[3], n * sizeof(float)), 0, "int8 was not used");
	for (size_t t = 0; t < 4; t++)
		free(logits[t]);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__) && \
	!defined(__clang__)
/* The test binary's own malloc, counting; glibc keeps the real ones under these names. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t m);
extern void *__libc_realloc(void *p, size_t n);
static size_t n_allocations;

void *malloc(size_t n)
{
	__atomic_fetch_add(&n_allocations, 1, __ATOMIC_RELAXED);
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t m)
{
	__atomic_fetch_add(&n_allocations, 1, __ATOMIC_RELAXED);
	return __libc_calloc(n, m);
}

void *realloc(void *p, size_t n)
{
	__atomic_fetch_add(&n_allocations, 1, __ATOMIC_RELAXED);
	return __libc_realloc(p, n);
}

Test(model_rows, a_step_allocates_nothing, .timeout = 600)
{
	struct fixture x;
	struct kv_seq s;
	struct batch_row rows[32];
	struct fault f = { 0 };

	fixture_open(&x, MODEL, 2, 64);
	float *logits = xcalloc(32 * x.vocab_size, sizeof *logits);
	kv_seq_init(&s, x.kv);
	cr_assert_eq(kv_reserve(&s, 256), 0);
	size_t before = __atomic_load_n(&n_allocations, __ATOMIC_RELAXED);
	cr_assert_gt(before, 0, "nothing is counted");
	for (size_t step = 0; step < 8; step++) {
		size_t n = step % 2 ? 1 : 32;
		for (size_t i = 0; i < n; i++)
			rows[i] = (struct batch_row) { text_id(i), (int32_t)(s.n_tokens + i), &s,
				n > 1, true, NULL };
		if (model_forward(x.context, rows, n, logits, &f) != 0)
			abort();
	}
	size_t after = __atomic_load_n(&n_allocations, __ATOMIC_RELAXED);
	cr_assert_eq(after, before, "%zu allocations in 8 steps", after - before);
	kv_seq_release(&s);
	free(logits);
	fixture_close(&x);
}
#endif

/* Logits of four tokens decoded behind 2300 of a prompt. */
static float *after_much(const char *folder, size_t n_threads, size_t *n)
{
	enum { PROMPT = 2300, DECODED = 4 };
	int32_t ids[PROMPT + DECODED];
	struct fixture x;
	struct kv_seq s;
	float *logits;

	for (size_t i = 0; i < PROMPT + DECODED; i++)
		ids[i] = text_id(i) % 128;
	fixture_open(&x, folder, n_threads, 256);
	*n = DECODED * x.vocab_size;
	logits = xcalloc(*n, sizeof *logits);
	kv_seq_init(&s, x.kv);
	fixture_feed(&x, &s, &(struct feed) { ids, PROMPT, 256, false, NULL });
	fixture_feed(&x, &s, &(struct feed) { ids + PROMPT, DECODED, 1, true, logits });
	kv_seq_release(&s);
	fixture_close(&x);
	return logits;
}

/* Its one KV head is too few for several threads: they share out the past. */
Test(model_rows, a_long_past_shared_out_gives_the_same_bits, .timeout = 600)
{
	char *folder = tiny_model_write(
		"{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":1,"
		"\"num_attention_heads\":2,\"num_key_value_heads\":1,\"intermediate_size\":64,"
		"\"vocab_size\":128,\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-5,"
		"\"rope_theta\":10000.0,\"tie_word_embeddings\":false}",
		NULL, NULL);
	size_t n;
	float *one = after_much(folder, 1, &n);

	for (size_t n_threads = 2; n_threads <= 5; n_threads++) {
		float *many = after_much(folder, n_threads, &n);
		cr_expect_arr_eq(one, many, n * sizeof *one, "%zu threads", n_threads);
		free(many);
	}
	free(one);
	tiny_model_remove(folder);
}
