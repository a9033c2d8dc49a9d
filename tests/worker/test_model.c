/* Opening models that are not as they should be, and what a loaded one says of itself. */
#include "protocol/mem.h"
#include "tests/worker/model_fixture.h"
#include "tests/worker/tiny_model.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void refuses(char *folder, int err, const char *says)
{
	struct model_options opt = { .path = folder };
	struct model *m = NULL;
	struct fault f = { 0 };

	cr_expect_eq(model_open(&opt, &m, &f), err, "not refused: %s", says);
	cr_expect(strstr(f.text, says), "\"%s\" lacks \"%s\"", f.text, says);
	tiny_model_remove(folder);
}

Test(model, a_tiny_folder_opens_and_says_what_it_is)
{
	char *folder = tiny_model_write(NULL, NULL, NULL);
	struct fixture x;

	fixture_open(&x, folder, 1, 4);
	const struct model_info *i = model_info(x.model);
	cr_assert_str_eq(i->architecture, "llama");
	cr_assert_str_eq(i->format, "safetensors");
	cr_assert_str_eq(i->dtype, "float32");
	cr_assert_str_eq(i->quantization, "none");
	cr_assert(i->vocab_size == 128 && i->context_length == 256 && i->head_dim == 16);
	cr_assert_eq(i->parameter_count,
		2 * 128 * 32 + 3 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32);
	cr_assert_eq(i->kv_bytes_per_token, (size_t)2 * 16 * 4);
	fixture_close(&x);
	tiny_model_remove(folder);
}

Test(model, a_missing_field_is_named_with_the_file)
{
	refuses(tiny_model_write("{\"model_type\":\"llama\"}", NULL, NULL), ERR_MODEL_LOAD,
		"config.json: hidden_size: this field is missing");
	refuses(tiny_model_write("{}", NULL, NULL), ERR_MODEL_LOAD,
		"config.json: model_type: this field is missing");
	refuses(tiny_model_write("{\"model_type\":\"llama\"", NULL, NULL), ERR_MODEL_LOAD,
		"config.json: ");
}

Test(model, a_field_that_would_change_the_maths_and_is_not_understood_is_named)
{
	static const struct {
		const char *field, *says;
	} BAD[] = {
		{ "\"attn_logit_softcapping\":50.0", "attn_logit_softcapping: this field is not" },
		{ "\"sliding_window\":64", "sliding_window: this field is not" },
		{ "\"some_new_scale\":0.5", "some_new_scale: this field is not" },
		{ "\"hidden_act\":\"quick_gelu\"", "hidden_act: activation \"quick_gelu\"" },
		{ "\"rope_scaling\":{\"type\":\"spiral\",\"factor\":2}", "scaling \"spiral\"" },
		{ "\"rope_scaling\":{\"type\":\"linear\"}",
			"rope_scaling.factor: this field is missing" },
		{ "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"twist\":1}",
			"rope_scaling.twist: this field is not" },
		{ "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}",
			"quant_method: \"gptq\" is not supported" },
		{ "\"quantization\":{\"group_size\":64,\"bits\":4,\"mode\":\"nvfp4\"}",
			"mode \"nvfp4\"" },
		{ "\"layer_types\":[\"linear_attention\"]", "layer_types: \"linear_attention\"" },
		{ "\"layer_types\":[]", NULL },
		{ "\"layer_types\":[\"full_attention\",\"full_attention\"]", "2 entries for 1" },
		{ "\"head_dim\":7000", "beyond reason" },
	};

	for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
		char *config = xasprintf("{%s,%s}", TINY_FIELDS, BAD[i].field);
		char *folder = tiny_model_write(config, NULL, NULL);
		if (BAD[i].says)
			refuses(folder, ERR_MODEL_LOAD, BAD[i].says);
		else
			tiny_model_remove(folder);
		free(config);
	}
}

Test(model, the_text_half_of_a_multimodal_model_is_a_model)
{
	char *folder = tiny_model_write("{\"model_type\":\"both\",\"vision_config\":{\"depth\":3},"
					"\"eos_token_id\":[9],\"text_config\":" TINY_CONFIG "}",
		NULL, NULL);
	struct fixture x;

	fixture_open(&x, folder, 1, 4);
	cr_assert_str_eq(model_info(x.model)->architecture, "llama");
	cr_assert(model_defaults(x.model)->n_eos == 1 && model_defaults(x.model)->eos[0] == 9);
	fixture_close(&x);
	tiny_model_remove(folder);
	refuses(tiny_model_write("{\"model_type\":\"both\",\"text_config\":{" TINY_FIELDS
				 ",\"odd_scale\":2}}",
			NULL, NULL),
		ERR_MODEL_LOAD, "text_config.odd_scale: this field is not");
}

Test(model, an_architecture_we_lack_is_named)
{
	refuses(tiny_model_write("{\"model_type\":\"mamba\"}", NULL, NULL), ERR_MODEL_LOAD,
		"model_type: architecture \"mamba\" is not supported");
	refuses(tiny_model_write("{\"model_type\":\"gpt\"}", NULL, NULL), ERR_MODEL_LOAD,
		"\"gpt\"");
	refuses(tiny_model_write("{\"model_type\":\"\"}", NULL, NULL), ERR_MODEL_LOAD, "\"\"");
}

Test(model, a_missing_tensor_is_named)
{
	refuses(tiny_model_write(NULL, "model.layers.0.mlp.up_proj.weight", NULL), ERR_MODEL_LOAD,
		"model.safetensors: tensor model.layers.0.mlp.up_proj.weight is missing");
	refuses(tiny_model_write(NULL, "lm_head.weight", NULL), ERR_MODEL_LOAD,
		"tensor lm_head.weight is missing");
}

Test(model, a_tensor_of_the_wrong_shape_is_named_with_both_shapes)
{
	refuses(tiny_model_write(NULL, NULL, "model.layers.0.self_attn.k_proj.weight"),
		ERR_MODEL_LOAD,
		"model.layers.0.self_attn.k_proj.weight has shape [17,32] where the config asks "
		"for "
		"[16,32]");
	refuses(tiny_model_write(NULL, NULL, "model.norm.weight"), ERR_MODEL_LOAD,
		"model.norm.weight has shape [33] where the config asks for [32]");
}

Test(model, missing_files_are_named)
{
	struct model_options opt = { .path = "/nonexistent/model" };
	struct model *m = NULL;
	struct fault f = { 0 };
	char *folder = tiny_model_write(NULL, NULL, NULL), *weights;

	cr_assert_eq(model_open(&opt, &m, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "/nonexistent/model: No such file"), "%s", f.text);
	weights = xasprintf("%s/model.safetensors", folder);
	cr_assert_eq(unlink(weights), 0);
	free(weights);
	refuses(folder, ERR_MODEL_LOAD, "neither model.safetensors nor");
}

Test(model, a_weights_file_may_be_named_itself)
{
	char *folder = tiny_model_write(NULL, NULL, NULL);
	char *file = xasprintf("%s/model.safetensors", folder);
	struct fixture x;

	fixture_open(&x, file, 1, 4);
	fixture_close(&x);
	free(file);
	tiny_model_remove(folder);
}

Test(model, shards_give_the_same_logits_as_one_file)
{
	const int32_t ids[] = { 3, 14, 15, 92 };
	char *folders[2] = { tiny_model_write(NULL, NULL, NULL), tiny_model_write_shards() };
	float logits[2][4 * 128];

	for (size_t i = 0; i < 2; i++) {
		struct fixture x;
		struct kv_seq s;
		fixture_open(&x, folders[i], 1, 4);
		kv_seq_init(&s, x.kv);
		fixture_feed(&x, &s, &(struct feed) { ids, 4, 4, false, logits[i] });
		kv_seq_release(&s);
		fixture_close(&x);
		tiny_model_remove(folders[i]);
	}
	cr_assert_arr_eq(logits[0], logits[1], sizeof logits[0]);
}

Test(model, a_wrong_index_of_shards_is_refused)
{
	static const struct {
		const char *index, *says;
	} BAD[] = {
		{ "[]", "not a JSON object" },
		{ "{}", "weight_map is not an object" },
		{ "{\"weight_map\":{\"a\":3}}", "weight_map.a is not a file name" },
		{ "{\"weight_map\":{\"a\":\"../b\"}}", "no file name for a shard" },
		{ "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "no file name for a shard" },
		{ "{\"weight_map\":{\"a\":\"\"}}", "no file name for a shard" },
		{ "{\"weight_map\":{\"a\":\"c.safetensors\"}}", "c.safetensors: No such file" },
		{ "{\"weight_map\":{\"a\":\"a.safetensors\"}}",
			"tensor a is not in a.safetensors" },
		{ "{\"weight_map\":{\"model.norm.weight\":\"a.safetensors\"}}", "is missing" },
	};

	for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
		char *folder = tiny_model_write_shards();
		tiny_model_put(folder, "model.safetensors.index.json", BAD[i].index);
		refuses(folder, ERR_MODEL_LOAD, BAD[i].says);
	}
}

Test(model, options_are_honoured_or_refused)
{
	char *folder = tiny_model_write(NULL, NULL, NULL);
	struct model_options opt = { .path = folder, .context_length = 100, .dtype = "float32" };
	struct model *m = NULL;
	struct fault f = { 0 };

	cr_assert_eq(model_open(&opt, &m, &f), 0, "%s", f.text);
	cr_assert_eq(model_info(m)->context_length, 100);
	model_close(m);
	opt.context_length = 257;
	cr_assert_eq(model_open(&opt, &m, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "257 is more than the model's own 256"), "%s", f.text);
	opt.context_length = 0;
	opt.dtype = "bfloat16";
	cr_assert_eq(model_open(&opt, &m, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "\"bfloat16\" cannot be honoured"), "%s", f.text);
	tiny_model_remove(folder);
}

static bool count_and_stop(void *arg, double fraction, const char *stage)
{
	(void)stage;
	return fraction < *(double *)arg;
}

Test(model, a_load_can_be_abandoned_at_every_stage)
{
	char *folder = tiny_model_write(NULL, NULL, NULL);
	double stops[] = { 0, 0.5, 1 };

	for (size_t i = 0; i < 3; i++) {
		struct model_options opt = {
			.path = folder, .progress = count_and_stop, .progress_arg = &stops[i]
		};
		struct model *m = NULL;
		struct fault f = { 0 };
		cr_expect_eq(model_open(&opt, &m, &f), ERR_CANCELLED, "at %f", stops[i]);
	}
	tiny_model_remove(folder);
}

Test(model, sampling_defaults_and_every_end_of_text_id_are_read)
{
	char *folder = tiny_model_write("{" TINY_FIELDS ",\"eos_token_id\":[5,6]}", NULL, NULL);
	struct fixture x;

	tiny_model_put(folder, "generation_config.json",
		"{\"temperature\":0.6,\"top_k\":20,\"do_sample\":true,\"eos_token_id\":[6,7],"
		"\"made_up\":1}\n");
	fixture_open(&x, folder, 1, 4);
	const struct model_defaults *d = model_defaults(x.model);
	cr_assert(d->temperature == 0.6 && d->top_k == 20 && isnan(d->top_p) && d->do_sample == 1);
	cr_assert(d->n_eos == 3 && d->eos[0] == 5 && d->eos[1] == 6 && d->eos[2] == 7);
	fixture_close(&x);
	tiny_model_put(folder, "generation_config.json", "{\"temperature\":\"hot\"}");
	refuses(folder, ERR_MODEL_LOAD, "generation_config.json: temperature: not a number");
}

Test(model, rows_that_break_the_contract_are_refused)
{
	char *folder = tiny_model_write(NULL, NULL, NULL);
	struct fixture x;
	struct kv_seq s;
	float logits[128];
	struct fault f = { 0 };

	fixture_open(&x, folder, 1, 4);
	kv_seq_init(&s, x.kv);
	struct batch_row row = { .token = 1, .seq = &s, .want_logits = true };
	cr_assert_eq(model_forward(x.context, &row, 1, logits, &f), ERR_GENERATION, "no room");
	cr_assert_eq(kv_reserve(&s, 8), 0);
	row.token = 128;
	cr_assert_eq(model_forward(x.context, &row, 1, logits, &f), ERR_GENERATION, "token");
	row.token = -1;
	cr_assert_eq(model_forward(x.context, &row, 1, logits, &f), ERR_GENERATION, "token");
	row = (struct batch_row) { .token = 1, .pos = 1, .seq = &s };
	cr_assert_eq(model_forward(x.context, &row, 1, logits, &f), ERR_GENERATION, "position");
	row.pos = 0;
	struct batch_row many[5] = { row, row, row, row, row };
	cr_assert_eq(model_forward(x.context, many, 5, logits, &f), ERR_GENERATION, "too many");
	cr_assert_eq(s.n_tokens, 0);
	cr_assert_eq(model_forward(x.context, &row, 1, logits, &f), 0, "%s", f.text);
	cr_assert_eq(model_forward(x.context, &row, 0, logits, &f), 0);
	cr_assert_eq(s.n_tokens, 1);
	kv_seq_release(&s);
	fixture_close(&x);
	tiny_model_remove(folder);
}
