/* Quantized folders against the same weights written out as float32: the products widen a
 * quantized row to exactly those floats and add in the same order, so the logits are equal to
 * the bit. MLX in every width and mode, gpt-oss as published. */
#include "protocol/mem.h"
#include "tests/worker/model_fixture.h"
#include "tests/worker/st_writer.h"
#include "tests/worker/tiny_model.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t next_random(uint32_t *seed)
{
	return *seed = *seed * 1664525 + 1013904223;
}

static float next_float(uint32_t *seed, float scale)
{
	return ((float)(next_random(seed) >> 8) / 8388608.0f - 1) * scale;
}

static uint16_t bf16_of(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	return (uint16_t)(u >> 16); /* cut: any value will do, as long as both files hold it */
}

static float f32_of(uint16_t b)
{
	uint32_t u = (uint32_t)b << 16;
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

static const float FP4[16] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4,
	-6 };

/* Two writers given the same matrices, one of them quantized. */
struct twins {
	struct st_writer packed, plain;
	unsigned bits, group;
	bool mxfp4;
	uint32_t seed;
};

static void add_vector(struct twins *t, const char *name, size_t n, float around)
{
	float *v = xcalloc(n, sizeof *v);
	char shape[32];

	for (size_t i = 0; i < n; i++)
		v[i] = around + next_float(&t->seed, 0.3f);
	snprintf(shape, sizeof shape, "[%zu]", n);
	st_add(&t->packed, name, "F32", shape, v, n * sizeof *v);
	st_add(&t->plain, name, "F32", shape, v, n * sizeof *v);
	free(v);
}

/* One row: integers packed low bits first, and the floats they stand for. */
struct affine_row {
	uint8_t *q;
	uint16_t *scales, *biases;
	float *plain;
};

static void fill_row(struct twins *t, size_t n_in, const struct affine_row *r)
{
	for (size_t g = 0; g < n_in / t->group; g++) {
		r->scales[g] = bf16_of(next_float(&t->seed, 0.6f / (float)(1u << t->bits)));
		r->biases[g] = bf16_of(next_float(&t->seed, 0.3f));
		for (size_t i = g * t->group; i < (g + 1) * t->group; i++) {
			unsigned v = next_random(&t->seed) >> 16 & ((1u << t->bits) - 1);
			for (size_t b = 0; b < t->bits; b++)
				r->q[(i * t->bits + b) / 8] |=
					(uint8_t)((v >> b & 1) << (i * t->bits + b) % 8);
			float product = f32_of(r->scales[g]) * (float)v;
			r->plain[i] = product + f32_of(r->biases[g]);
		}
	}
}

static void add_affine(struct twins *t, const char *base, size_t n_out, size_t n_in)
{
	size_t n_groups = n_in / t->group, n_bytes = n_in * t->bits / 8;
	uint8_t *q = xcalloc(n_out, n_bytes);
	uint16_t *scales = xcalloc(n_out * n_groups, 2), *biases = xcalloc(n_out * n_groups, 2);
	float *plain = xcalloc(n_out * n_in, sizeof *plain);
	char name[128], shape[32];

	for (size_t o = 0; o < n_out; o++)
		fill_row(t, n_in,
			&(struct affine_row) { q + o * n_bytes, scales + o * n_groups,
				biases + o * n_groups, plain + o * n_in });
	snprintf(name, sizeof name, "%s.weight", base);
	snprintf(shape, sizeof shape, "[%zu,%zu]", n_out, n_bytes / 4);
	st_add(&t->packed, name, "U32", shape, q, n_out * n_bytes);
	snprintf(shape, sizeof shape, "[%zu,%zu]", n_out, n_in);
	st_add(&t->plain, name, "F32", shape, plain, n_out * n_in * sizeof *plain);
	snprintf(shape, sizeof shape, "[%zu,%zu]", n_out, n_groups);
	snprintf(name, sizeof name, "%s.scales", base);
	st_add(&t->packed, name, "BF16", shape, scales, n_out * n_groups * 2);
	snprintf(name, sizeof name, "%s.biases", base);
	st_add(&t->packed, name, "BF16", shape, biases, n_out * n_groups * 2);
	free(q);
	free(scales);
	free(biases);
	free(plain);
}

/* MLX's mxfp4: FP4 nibbles in words, one power of two for 32 of them. */
static void add_mxfp4(struct twins *t, const char *base, size_t n_out, size_t n_in)
{
	uint8_t *q = xcalloc(n_out, n_in / 2), *scales = xcalloc(n_out, n_in / 32);
	float *plain = xcalloc(n_out * n_in, sizeof *plain);
	char name[128], shape[32];

	for (size_t i = 0; i < n_out * n_in; i++) {
		if (i % 32 == 0)
			scales[i / 32] = (uint8_t)(122 + (next_random(&t->seed) >> 16) % 4);
		unsigned v = next_random(&t->seed) >> 16 & 15;
		q[i / 2] |= (uint8_t)(v << i % 2 * 4);
		plain[i] = ldexpf(FP4[v], scales[i / 32] - 127);
	}
	snprintf(name, sizeof name, "%s.weight", base);
	snprintf(shape, sizeof shape, "[%zu,%zu]", n_out, n_in / 8);
	st_add(&t->packed, name, "U32", shape, q, n_out * n_in / 2);
	snprintf(shape, sizeof shape, "[%zu,%zu]", n_out, n_in);
	st_add(&t->plain, name, "F32", shape, plain, n_out * n_in * sizeof *plain);
	snprintf(name, sizeof name, "%s.scales", base);
	snprintf(shape, sizeof shape, "[%zu,%zu]", n_out, n_in / 32);
	st_add(&t->packed, name, "U8", shape, scales, n_out * n_in / 32);
	free(q);
	free(scales);
	free(plain);
}

static void add_plain(struct twins *t, const char *name, size_t n_out, size_t n_in)
{
	float *v = xcalloc(n_out * n_in, sizeof *v);
	char shape[32];

	for (size_t i = 0; i < n_out * n_in; i++)
		v[i] = next_float(&t->seed, 0.3f);
	snprintf(shape, sizeof shape, "[%zu,%zu]", n_out, n_in);
	st_add(&t->packed, name, "F32", shape, v, n_out * n_in * sizeof *v);
	st_add(&t->plain, name, "F32", shape, v, n_out * n_in * sizeof *v);
	free(v);
}

static void add_plain_matrix(struct twins *t, const char *base, size_t n_out, size_t n_in)
{
	char name[128];

	snprintf(name, sizeof name, "%s.weight", base);
	add_plain(t, name, n_out, n_in);
}

static void add_matrix(struct twins *t, const char *base, size_t n_out, size_t n_in)
{
	(t->mxfp4 ? add_mxfp4 : add_affine)(t, base, n_out, n_in);
}

#define FIELDS                                                                           \
	"\"model_type\":\"llama\",\"hidden_size\":128,\"num_hidden_layers\":1,"          \
	"\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":256," \
	"\"vocab_size\":192,\"max_position_embeddings\":64,\"tie_word_embeddings\":true"

typedef void add_fn(struct twins *t, const char *base, size_t n_out, size_t n_in);

static void add_llama_with(struct twins *t, add_fn *gate)
{
	add_matrix(t, "model.embed_tokens", 192, 128);
	add_vector(t, "model.norm.weight", 128, 1);
	add_vector(t, "model.layers.0.input_layernorm.weight", 128, 1);
	add_vector(t, "model.layers.0.post_attention_layernorm.weight", 128, 1);
	add_matrix(t, "model.layers.0.self_attn.q_proj", 128, 128);
	add_matrix(t, "model.layers.0.self_attn.k_proj", 64, 128);
	add_matrix(t, "model.layers.0.self_attn.v_proj", 64, 128);
	add_matrix(t, "model.layers.0.self_attn.o_proj", 128, 128);
	gate(t, "model.layers.0.mlp.gate_proj", 256, 128);
	add_matrix(t, "model.layers.0.mlp.up_proj", 256, 128);
	add_matrix(t, "model.layers.0.mlp.down_proj", 128, 256);
}

static void add_llama(struct twins *t)
{
	add_llama_with(t, add_matrix);
}

/* Logits of a prompt of 9 and of one decoded row. */
static void run(const char *folder, float logits[10 * 192], const char *quantization)
{
	const int32_t ids[10] = { 3, 14, 15, 92, 65, 35, 89, 79, 32, 38 };
	struct fixture x;
	struct kv_seq s;

	fixture_open_as(&x, &(struct model_options) { .path = folder }, 2, 16);
	cr_assert_eq(x.vocab_size, 192);
	cr_assert_str_eq(model_info(x.model)->quantization, quantization);
	kv_seq_init(&s, x.kv);
	fixture_feed(&x, &s, &(struct feed) { ids, 9, 9, false, logits });
	fixture_feed(&x, &s, &(struct feed) { ids + 9, 1, 1, true, logits + (size_t)9 * 192 });
	kv_seq_release(&s);
	fixture_close(&x);
}

static void compare(struct twins *t, const char *fields, const char *settings, const char *named)
{
	char *plain_config = xasprintf("{%s}", fields);
	char *packed_config = xasprintf("{%s,%s}", fields, settings);
	char *folders[2] = { tiny_model_folder(packed_config), tiny_model_folder(plain_config) };
	float logits[2][10 * 192];

	st_write(&t->packed, folders[0], "model.safetensors");
	st_write(&t->plain, folders[1], "model.safetensors");
	run(folders[0], logits[0], named);
	run(folders[1], logits[1], "none");
	cr_assert(isfinite(logits[1][0]) && logits[1][0] != logits[1][1]);
	cr_assert_arr_eq(logits[0], logits[1], sizeof logits[0], "%s", settings);
	for (int i = 0; i < 2; i++)
		tiny_model_remove(folders[i]);
	free(plain_config);
	free(packed_config);
}

Test(quantized, mlx_models_of_every_width_equal_their_dequantized_weights, .timeout = 120)
{
	static const struct {
		unsigned bits, group;
	} KINDS[] = { { 2, 32 }, { 3, 32 }, { 3, 64 }, { 4, 32 }, { 4, 64 }, { 4, 128 }, { 5, 64 },
		{ 6, 64 }, { 6, 128 }, { 8, 32 }, { 8, 128 } };

	for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
		struct twins t = { .bits = KINDS[i].bits, .group = KINDS[i].group, .seed = 1 };
		char settings[128], named[16];
		snprintf(settings, sizeof settings,
			"\"quantization\":{\"group_size\":%u,\"bits\":%u}", t.group, t.bits);
		snprintf(named, sizeof named, "%u-bit", t.bits);
		add_llama(&t);
		compare(&t, FIELDS, settings, named);
	}
}

Test(quantized, mlx_settings_of_single_tensors_come_before_the_common_ones, .timeout = 60)
{
	struct twins t = { .bits = 8, .group = 32, .seed = 2 };

	add_matrix(&t, "model.embed_tokens", 192, 128);
	t.bits = 4;
	t.group = 64;
	add_vector(&t, "model.norm.weight", 128, 1);
	add_vector(&t, "model.layers.0.input_layernorm.weight", 128, 1);
	add_vector(&t, "model.layers.0.post_attention_layernorm.weight", 128, 1);
	add_matrix(&t, "model.layers.0.self_attn.q_proj", 128, 128);
	add_matrix(&t, "model.layers.0.self_attn.k_proj", 64, 128);
	add_matrix(&t, "model.layers.0.self_attn.v_proj", 64, 128);
	add_matrix(&t, "model.layers.0.self_attn.o_proj", 128, 128);
	add_matrix(&t, "model.layers.0.mlp.gate_proj", 256, 128);
	add_matrix(&t, "model.layers.0.mlp.up_proj", 256, 128);
	add_matrix(&t, "model.layers.0.mlp.down_proj", 128, 256);
	compare(&t, FIELDS,
		"\"quantization\":{\"group_size\":64,\"bits\":4,\"model.embed_tokens\":"
		"{\"group_size\":32,\"bits\":8},\"lm_head\":false}",
		"mixed");
}

Test(quantized, what_is_quantized_is_not_quantized_again, .timeout = 60)
{
	struct twins t = { .bits = 4, .group = 64, .seed = 3 };
	char *folder = tiny_model_folder("{" FIELDS ",\"quantization\":{\"bits\":4}}");
	struct fault f = { 0 };
	struct model *m;

	add_llama(&t);
	st_write(&t.packed, folder, "model.safetensors");
	buf_release(&t.plain.header);
	buf_release(&t.plain.data);
	const struct model_options opt = { .path = folder, .quantize = QUANTIZE_INT4 };
	cr_assert_eq(model_open(&opt, &m, &f), ERR_MODEL_LOAD);
	cr_assert_not_null(strstr(f.text, "quantized already (4-bit)"), "%s", f.text);
	tiny_model_remove(folder);
}

Test(quantized, mlx_mxfp4_equals_its_dequantized_weights, .timeout = 60)
{
	struct twins t = { .mxfp4 = true, .seed = 3 };

	add_llama(&t);
	compare(&t, FIELDS, "\"quantization\":{\"group_size\":32,\"bits\":4,\"mode\":\"mxfp4\"}",
		"MXFP4");
}

static void refuses(const char *settings, const char *says)
{
	struct twins t = { .bits = 4, .group = 64, .seed = 4 };
	char *config = xasprintf("{%s,%s}", FIELDS, settings);
	char *folder = tiny_model_folder(config);
	struct model_options opt = { .path = folder };
	struct model *m = NULL;
	struct fault f = { 0 };

	add_llama(&t);
	st_write(&t.packed, folder, "model.safetensors");
	buf_release(&t.plain.header);
	buf_release(&t.plain.data);
	cr_expect_eq(model_open(&opt, &m, &f), ERR_MODEL_LOAD, "%s", settings);
	cr_expect(strstr(f.text, says), "\"%s\" lacks \"%s\"", f.text, says);
	tiny_model_remove(folder);
	free(config);
}

Test(quantized, settings_that_the_tensors_belie_or_we_lack_are_refused, .timeout = 60)
{
	refuses("\"quantization\":{\"group_size\":64,\"bits\":8}",
		"embed_tokens.weight has shape [192,16] where the config asks for [192,32]");
	refuses("\"quantization\":{\"group_size\":32,\"bits\":4}", "embed_tokens.scales has shape");
	refuses("\"quantization\":{\"group_size\":64,\"bits\":7}", "7-bit quantization is not");
	refuses("\"quantization\":{\"group_size\":48,\"bits\":4}", "groups of 48 are not");
	refuses("\"quantization\":{\"group_size\":\"x\",\"bits\":4}", "group_size: not an integer");
	refuses("\"quantization\":{\"group_size\":64,\"bits\":4,\"mode\":\"nvfp4\"}", "\"nvfp4\"");
	refuses("\"quantization_config\":{\"quant_method\":\"awq\"}", "\"awq\" is not supported");
	refuses("\"quantization\":3", "not a JSON object");
	refuses("\"quantization\":null", "dtype U32");
}

/* gpt-oss: experts [n][2 * wide][dim] of interleaved gate and up rows in MXFP4, against the
 * plain form, which is stored turned round. */
#define N    4
#define DIM  64
#define WIDE 32
#define OSS                                                                               \
	"\"model_type\":\"gpt_oss\",\"hidden_size\":64,\"num_hidden_layers\":1,"          \
	"\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":32,"            \
	"\"intermediate_size\":32,\"vocab_size\":192,\"max_position_embeddings\":64,"     \
	"\"num_local_experts\":4,\"num_experts_per_tok\":2,\"tie_word_embeddings\":true," \
	"\"rope_theta\":10000,\"sliding_window\":8"

static void add_blocks(struct twins *t, const char *base, size_t n_out, size_t n_in)
{
	uint8_t *q = xcalloc(N * n_out, n_in / 2), *scales = xcalloc(N * n_out, n_in / 32);
	float *turned = xcalloc(N * n_out * n_in, sizeof *turned);
	char name[128], shape[48];

	for (size_t i = 0; i < N * n_out * n_in; i++) {
		size_t e = i / (n_out * n_in), o = i / n_in % n_out, at = i % n_in;
		if (i % 32 == 0)
			scales[i / 32] = (uint8_t)(122 + (next_random(&t->seed) >> 16) % 4);
		unsigned v = next_random(&t->seed) >> 16 & 15;
		q[i / 2] |= (uint8_t)(v << i % 2 * 4);
		turned[(e * n_in + at) * n_out + o] = ldexpf(FP4[v], scales[i / 32] - 127);
	}
	snprintf(name, sizeof name, "%s_blocks", base);
	snprintf(shape, sizeof shape, "[%d,%zu,%zu,16]", N, n_out, n_in / 32);
	st_add(&t->packed, name, "U8", shape, q, N * n_out * n_in / 2);
	snprintf(name, sizeof name, "%s_scales", base);
	snprintf(shape, sizeof shape, "[%d,%zu,%zu]", N, n_out, n_in / 32);
	st_add(&t->packed, name, "U8", shape, scales, N * n_out * n_in / 32);
	snprintf(shape, sizeof shape, "[%d,%zu,%zu]", N, n_in, n_out);
	st_add(&t->plain, base, "F32", shape, turned, N * n_out * n_in * sizeof *turned);
	free(q);
	free(scales);
	free(turned);
}

Test(quantized, gpt_oss_as_published_equals_its_dequantized_experts, .timeout = 60)
{
	struct twins t = { .seed = 5 };

	add_plain(&t, "model.embed_tokens.weight", 192, DIM);
	add_vector(&t, "model.norm.weight", DIM, 1);
	add_vector(&t, "model.layers.0.input_layernorm.weight", DIM, 1);
	add_vector(&t, "model.layers.0.post_attention_layernorm.weight", DIM, 1);
	for (size_t i = 0; i < 4; i++) {
		char name[64], letter = "qkvo"[i];
		size_t n_out = i == 1 || i == 2 ? 32 : DIM;
		snprintf(name, sizeof name, "model.layers.0.self_attn.%c_proj.weight", letter);
		add_plain(&t, name, n_out, DIM);
		snprintf(name, sizeof name, "model.layers.0.self_attn.%c_proj.bias", letter);
		add_vector(&t, name, n_out, 0);
	}
	add_vector(&t, "model.layers.0.self_attn.sinks", 2, 0);
	add_plain(&t, "model.layers.0.mlp.router.weight", N, DIM);
	add_vector(&t, "model.layers.0.mlp.router.bias", N, 0);
	add_blocks(&t, "model.layers.0.mlp.experts.gate_up_proj", (size_t)2 * WIDE, DIM);
	add_blocks(&t, "model.layers.0.mlp.experts.down_proj", DIM, WIDE);
	add_plain(&t, "model.layers.0.mlp.experts.gate_up_proj_bias", N, (size_t)2 * WIDE);
	add_plain(&t, "model.layers.0.mlp.experts.down_proj_bias", N, DIM);
	compare(&t, OSS,
		"\"quantization_config\":{\"quant_method\":\"mxfp4\",\"modules_to_not_convert\":["
		"\"x\"]}",
		"MXFP4");
}

/* An FFN whose gate is multiplied exactly and whose up matrix meets rounded rows. */
static void run_mixed(const char *folder, size_t chunk, size_t n_threads, float logits[10 * 192])
{
	const int32_t ids[10] = { 3, 14, 15, 92, 65, 35, 89, 79, 32, 38 };
	const struct model_options opt = { .path = folder, .activations = ACTIVATIONS_INT8 };
	struct fixture x;
	struct kv_seq s;

	fixture_open_as(&x, &opt, n_threads, 16);
	kv_seq_init(&s, x.kv);
	fixture_feed(&x, &s, &(struct feed) { ids, 7, chunk, false, logits });
	fixture_feed(&x, &s, &(struct feed) { ids + 7, 3, 1, true, logits + (size_t)7 * 192 });
	kv_seq_release(&s);
	fixture_close(&x);
}

Test(quantized, gate_and_up_may_take_different_paths, .timeout = 60)
{
	struct twins t = { .bits = 4, .group = 64, .seed = 6 };
	char *folder =
		tiny_model_folder("{" FIELDS ",\"quantization\":{\"group_size\":64,\"bits\":4,"
				  "\"model.layers.0.mlp.gate_proj\":false}}");
	float want[10 * 192], have[10 * 192];

	add_llama_with(&t, add_plain_matrix);
	st_write(&t.packed, folder, "model.safetensors");
	buf_release(&t.plain.header);
	buf_release(&t.plain.data);
	run_mixed(folder, 7, 1, want);
	cr_assert(isfinite(want[0]) && want[0] != want[1]);
	for (size_t chunk = 1; chunk <= 7; chunk += 3) {
		run_mixed(folder, chunk, 2, have);
		cr_expect_arr_eq(have, want, sizeof want, "chunks of %zu", chunk);
	}
	tiny_model_remove(folder);
}

/* Logits of a few rows by the model as these threads made it. */
static float *made_by(size_t n_threads, size_t *n)
{
	static const int32_t ids[] = { 5, 17, 300, 41 };
	const struct model_options opt = {
		.path = "models/novel-7m", .quantize = QUANTIZE_INT4, .n_threads = n_threads
	};
	struct fixture x;
	struct kv_seq s;
	float *logits;

	fixture_open_as(&x, &opt, 1, 4);
	*n = 4 * x.vocab_size;
	logits = xcalloc(*n, sizeof *logits);
	kv_seq_init(&s, x.kv);
	fixture_feed(&x, &s, &(struct feed) { ids, 4, 4, false, logits });
	kv_seq_release(&s);
	fixture_close(&x);
	return logits;
}

Test(quantized, several_threads_quantize_and_pack_the_same_weights, .timeout = 60)
{
	size_t n, n_again;
	float *one = made_by(1, &n), *several = made_by(3, &n_again);

	cr_assert_eq(n, n_again);
	cr_expect_arr_eq(one, several, n * sizeof *one);
	free(one);
	free(several);
}
