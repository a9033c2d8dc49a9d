#include "protocol/json_scan.h"
#include "protocol/mem.h"
#include "tests/worker/model_fixture.h"
#include "tests/worker/sparse_model.h"
#include "worker/inspect.h"
#include "worker/model/census.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOVEL "models/novel-7m"

TestSuite(inspect, .timeout = 60);

/* The report as JSON; true if it would load. */
static bool report(const char *path, struct buf *out)
{
	const struct inspect_options o = { .path = path, .is_json = true };
	struct fault f = { 0 };
	const bool loads = inspect_report(&o, out);
	cr_assert_eq(json_scan(out->data, out->n_bytes - 1, &f), 0, "%s", f.text);
	cr_assert_eq(out->data[out->n_bytes - 1], '\n');
	return loads;
}

static bool says(const struct buf *out, const char *part)
{
	return memmem(out->data, out->n_bytes, part, strlen(part)) != NULL;
}

static int64_t number(const struct buf *out, const char *key)
{
	int64_t n = -1;
	json_get_int(json_find(json_whole(out->data, out->n_bytes - 1), key), &n);
	return n;
}

Test(inspect, tensors_belong_to_the_part_their_name_says)
{
	static const struct {
		const char *name;
		enum tensor_group group;
	} ROWS[] = {
		{ "model.embed_tokens.weight", GROUP_EMBEDDING },
		{ "transformer.wpe.weight", GROUP_EMBEDDING },
		{ "gpt_neox.embed_in.weight", GROUP_EMBEDDING },
		{ "embed_out.weight", GROUP_HEAD },
		{ "lm_head.scales", GROUP_HEAD },
		{ "model.layers.0.self_attn.q_proj.weight", GROUP_ATTENTION },
		{ "model.layers.0.self_attn.q_norm.weight", GROUP_NORMS },
		{ "model.layers.0.post_attention_layernorm.weight", GROUP_NORMS },
		{ "transformer.h.3.ln_1.bias", GROUP_NORMS },
		{ "gpt_neox.layers.1.attention.query_key_value.weight", GROUP_ATTENTION },
		{ "model.layers.0.mlp.gate_proj.weight", GROUP_FFN },
		{ "model.layers.0.mlp.gate.weight", GROUP_EXPERTS },
		{ "model.layers.0.mlp.experts.7.down_proj.weight", GROUP_EXPERTS },
		{ "model.layers.0.block_sparse_moe.gate.weight", GROUP_EXPERTS },
		{ "model.layers.0.mlp.router.weight", GROUP_EXPERTS },
		{ "something.else", GROUP_OTHER },
	};
	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
		cr_assert_eq(tensor_group_of(ROWS[i].name), ROWS[i].group, "%s", ROWS[i].name);
}

Test(inspect, the_bundled_model_would_load_and_its_groups_add_up)
{
	struct buf out = BUF_INIT;
	struct json_span row, v;
	int64_t n, bytes = 0, parameters = 0;
	cr_assert(report(NOVEL, &out));
	cr_assert(says(&out, "\"loads\":true") && says(&out, "\"architecture\":\"llama\""));
	cr_assert(says(&out, "\"format\":\"safetensors\"") && says(&out, "\"chat_template\":true"));
	cr_assert(says(&out, "\"tokenizer\":{\"type\":\"bpe\",\"vocab_size\":4096}"));
	cr_assert_eq(number(&out, "context_length"), 512);
	cr_assert_eq(number(&out, "parameter_count"), 6951168);
	struct json_cursor at =
		json_iterate(json_find(json_whole(out.data, out.n_bytes - 1), "tensors"));
	while (json_next_element(&at, &row)) {
		v = json_find(row, "bytes");
		cr_assert(json_get_int(v, &n));
		bytes += n;
		cr_assert(json_get_int(json_find(row, "parameters"), &n));
		parameters += n;
	}
	cr_assert_eq(bytes, number(&out, "bytes"));
	cr_assert_eq(parameters, 6951168);
	buf_release(&out);
}

Test(inspect, people_read_the_same_as_text)
{
	const struct inspect_options o = { .path = NOVEL };
	struct buf out = BUF_INIT;
	cr_assert(inspect_report(&o, &out));
	cr_assert(says(&out, "6.95 M in 13.9 MB, 74 tensors"), "%s", buf_cstr(&out));
	cr_assert(says(&out, "8 layers of 256, 8 heads of 32 (4 for keys and values)"));
	cr_assert(says(&out, "chat template yes") && says(&out, "\nwill load\n"));
	buf_release(&out);
}

Test(inspect, quantized_models_count_their_numbers_not_their_words)
{
	static const struct {
		const char *path, *kept, *quantization;
	} ROWS[] = {
		{ "../shared/models/novel-7m-mlx-4bit", "4-bit, groups of 64", "\"4-bit\"" },
		{ "../shared/models/novel-7m-mlx-8bit", "8-bit, groups of 64", "\"8-bit\"" },
		{ "../shared/models/gguf/novel-7m-q8_0.gguf", "Q8_0", "\"Q8_0\"" },
		{ "../shared/models/gguf/novel-7m-q4_k_m.gguf", "Q6_K", "\"mixed\"" },
	};
	if (access("../shared/models", R_OK) != 0)
		cr_skip_test("../shared is not here: no quantized models");
	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		struct buf out = BUF_INIT;
		char *kept = xasprintf("\"type\":\"%s\"", ROWS[i].kept);
		cr_assert(report(ROWS[i].path, &out), "%s: %s", ROWS[i].path, buf_cstr(&out));
		cr_assert_eq(number(&out, "parameter_count"), 6951168, "%s", ROWS[i].path);
		cr_assert(says(&out, kept) && says(&out, ROWS[i].quantization), "%s: %s",
			ROWS[i].path, buf_cstr(&out));
		free(kept);
		buf_release(&out);
	}
}

Test(inspect, what_is_wrong_is_named_and_what_was_found_is_shown_all_the_same)
{
	char *folder = fixture_with_tokenizer(NOVEL);
	struct buf out = BUF_INIT;
	sparse_put(folder, "config.json", "{\"model_type\":\"mamba\",\"hidden_size\":256}");
	cr_assert_not(report(folder, &out));
	cr_assert(says(&out, "\"loads\":false") && says(&out, "mamba"));
	cr_assert(says(&out, "\"format\":\"safetensors\"") && says(&out, "\"tokenizer\":{"));
	cr_assert_eq(number(&out, "parameter_count"), 6951168);
	buf_clear(&out);
	sparse_put(folder, "model.safetensors", "not one");
	cr_assert_not(report(folder, &out));
	cr_assert(says(&out, "model.safetensors"), "%s", buf_cstr(&out));
	buf_clear(&out);
	cr_assert_not(report("/nonexistent", &out));
	cr_assert(says(&out, "/nonexistent") && says(&out, "No such file"));
	buf_release(&out);
	fixture_unlink(folder);
}

/* -- a model larger than any memory, of which only the header is there --------------------- */

#define LAYERS 24
#define DIM    ((size_t)8192)

static void add_layer(struct sparse_model *m, size_t layer)
{
	static const struct {
		const char *name;
		size_t n_in, n_out;
	} MATRICES[] = { { "attn.c_attn", DIM, 3 * DIM }, { "attn.c_proj", DIM, DIM },
		{ "mlp.c_fc", DIM, 4 * DIM }, { "mlp.c_proj", 4 * DIM, DIM }, { "ln_1", 0, DIM },
		{ "ln_2", 0, DIM } };
	for (size_t i = 0; i < sizeof MATRICES / sizeof *MATRICES; i++) {
		char *name = xasprintf("transformer.h.%zu.%s", layer, MATRICES[i].name);
		char *weight = xasprintf("%s.weight", name), *bias = xasprintf("%s.bias", name);
		sparse_add(m, weight, MATRICES[i].n_in, MATRICES[i].n_out);
		sparse_add(m, bias, 0, MATRICES[i].n_out);
		free(bias);
		free(weight);
		free(name);
	}
}

/* Bytes of its tensors. */
static uint64_t put_giant(const char *folder)
{
	struct sparse_model m = { BUF_INIT, 0 };
	sparse_add(&m, "transformer.wte.weight", 4096, DIM);
	sparse_add(&m, "transformer.wpe.weight", 1024, DIM);
	sparse_add(&m, "transformer.ln_f.weight", 0, DIM);
	sparse_add(&m, "transformer.ln_f.bias", 0, DIM);
	for (size_t i = 0; i < LAYERS; i++)
		add_layer(&m, i);
	sparse_write(&m, folder);
	return m.n_bytes;
}

/* GPT-2 because its matrices are stored turned round: loading it copies all of them. */
Test(inspect, a_model_of_forty_gigabytes_is_told_from_its_header)
{
	char *folder = fixture_with_tokenizer(NOVEL);
	struct buf out = BUF_INIT;
	sparse_put(folder, "config.json",
		"{\"model_type\":\"gpt2\",\"n_embd\":8192,\"n_layer\":24,\"n_head\":64,"
		"\"n_positions\":1024,\"vocab_size\":4096}");
	uint64_t n_bytes = put_giant(folder);
	cr_assert_gt(n_bytes, (uint64_t)35 << 30);
	cr_assert(report(folder, &out), "%s", buf_cstr(&out));
	cr_assert_eq(number(&out, "bytes"), (int64_t)n_bytes);
	cr_assert_eq(number(&out, "parameter_count"), (int64_t)(n_bytes / 2));
	buf_release(&out);
	fixture_unlink(folder);
}

/* -- a source made by hand ------------------------------------------------------------------- */

static const struct tensor HAND[] = {
	{ .name = "model.layers.0.self_attn.q_proj.weight",
		.kind = TENSOR_U32,
		.dtype_name = "U32",
		.n_values = 64,
		.n_bytes = 256 },
	{ .name = "model.layers.0.self_attn.q_proj.scales",
		.dtype_name = "BF16",
		.n_values = 8,
		.n_bytes = 16 },
	{ .name = "model.layers.0.self_attn.q_proj.biases",
		.dtype_name = "BF16",
		.n_values = 8,
		.n_bytes = 16 },
	{ .name = "model.layers.0.self_attn.o_proj.weight",
		.kind = TENSOR_U32,
		.dtype_name = "U32",
		.n_values = 64,
		.n_bytes = 256 },
	{ .name = "model.layers.0.self_attn.o_proj.scales",
		.dtype_name = "BF16",
		.n_values = 8,
		.n_bytes = 16 },
	{ .name = "model.layers.0.mlp.experts.gate_up_proj_blocks",
		.kind = TENSOR_U8,
		.dtype_name = "U8",
		.n_values = 512,
		.n_bytes = 512 },
	{ .name = "model.layers.0.mlp.experts.gate_up_proj_scales",
		.kind = TENSOR_U8,
		.dtype_name = "U8",
		.n_values = 32,
		.n_bytes = 32 },
	{ .name = "lm_head.weight", .dtype_name = "F8_E4M3", .n_values = 100, .n_bytes = 100 },
	{ .name = "lm_head.weight_scale_inv", .dtype_name = "F32", .n_values = 1, .n_bytes = 4 },
};
#define N_HAND (sizeof HAND / sizeof *HAND)

static const struct tensor *hand_find(const struct tensor_source *s, const char *name)
{
	(void)s;
	for (size_t i = 0; i < N_HAND; i++)
		if (strcmp(HAND[i].name, name) == 0)
			return &HAND[i];
	return NULL;
}

static const struct tensor *hand_at(const struct tensor_source *s, size_t i)
{
	(void)s;
	return i < N_HAND ? &HAND[i] : NULL;
}

static void must_hold(const struct census *c, size_t i, const struct census_row *want)
{
	const struct census_row *r = &c->rows[i];
	cr_assert(i < c->n_rows);
	cr_assert(r->group == want->group && strcmp(r->type, want->type) == 0, "row %zu is %s", i,
		r->type);
	cr_assert_eq(r->n_tensors, want->n_tensors, "%s: %zu tensors", r->type, r->n_tensors);
	cr_assert_eq(r->n_parameters, want->n_parameters, "%s", r->type);
	cr_assert_eq(r->n_bytes, want->n_bytes, "%s", r->type);
}

Test(inspect, scales_belong_to_what_they_scale_and_a_tensors_own_settings_come_first)
{
	static const char json[] = "{\"bits\":4,\"group_size\":64,\"model.layers.0.self_attn."
				   "o_proj\":{\"bits\":8,\"group_size\":32}}";
	static const struct tensor_source_ops ops = { .find = hand_find, .at = hand_at };
	const struct tensor_source source = { .ops = &ops, .where = "hand" };
	struct census c;
	struct config *q;
	struct fault f;
	cr_assert_eq(config_parse(json, sizeof json - 1, "config.json", &q, &f), 0);
	census_take(&c, &source, q);
	cr_assert_eq(c.n_rows, 4);
	cr_assert(c.n_tensors == N_HAND && c.n_bytes == 1208);
	cr_assert_eq(c.n_parameters, 512 + 256 + 1024 + 100);
	must_hold(&c, 0,
		&(struct census_row) { GROUP_ATTENTION, "4-bit, groups of 64", 3, 512, 288 });
	must_hold(&c, 1,
		&(struct census_row) { GROUP_ATTENTION, "8-bit, groups of 32", 2, 256, 272 });
	must_hold(&c, 2, &(struct census_row) { GROUP_EXPERTS, "MXFP4", 2, 1024, 544 });
	must_hold(&c, 3, &(struct census_row) { GROUP_HEAD, "F8_E4M3", 2, 100, 104 });
	config_free(q);
	census_take(&c, &source, NULL);
	cr_assert_eq(c.n_tensors, N_HAND, "without settings too");
}
