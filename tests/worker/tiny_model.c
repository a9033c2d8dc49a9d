#include "tests/worker/tiny_model.h"
#include "protocol/buf.h"
#include "protocol/mem.h"
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	size_t rows, columns; /* columns 0: a vector */
} TENSORS[] = {
	{ "model.embed_tokens.weight", 128, 32 },
	{ "model.norm.weight", 32, 0 },
	{ "lm_head.weight", 128, 32 },
	{ "model.layers.0.input_layernorm.weight", 32, 0 },
	{ "model.layers.0.post_attention_layernorm.weight", 32, 0 },
	{ "model.layers.0.self_attn.q_proj.weight", 32, 32 },
	{ "model.layers.0.self_attn.k_proj.weight", 16, 32 },
	{ "model.layers.0.self_attn.v_proj.weight", 16, 32 },
	{ "model.layers.0.self_attn.o_proj.weight", 32, 32 },
	{ "model.layers.0.mlp.gate_proj.weight", 64, 32 },
	{ "model.layers.0.mlp.up_proj.weight", 64, 32 },
	{ "model.layers.0.mlp.down_proj.weight", 32, 64 },
};
#define N_TENSORS (sizeof TENSORS / sizeof *TENSORS)

static void write_file(const char *folder, const char *name, const void *bytes, size_t n)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "wb");

	cr_assert_not_null(file, "%s", path);
	cr_assert_eq(fwrite(bytes, 1, n, file), n);
	cr_assert_eq(fclose(file), 0);
	free(path);
}

void tiny_model_put(const char *folder, const char *name, const char *text)
{
	write_file(folder, name, text, strlen(text));
}

static bool is(const char *name, const char *other)
{
	return other && strcmp(name, other) == 0;
}

/* Values in (-1, 1), the same on every run; norms near 1. */
static void add_values(struct buf *data, size_t n, bool norm, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		float v = ((float)(seed >> 8) / 8388608.0f - 1) * 0.4f + (norm ? 1 : 0);
		buf_add(data, &v, sizeof v);
	}
}

static void write_tensors(
	const char *folder, const char *file, size_t begin, size_t end, const char *const except[2])
{
	struct buf header = BUF_INIT, data = BUF_INIT, all = BUF_INIT;

	buf_addc(&header, '{');
	for (size_t i = begin; i < end; i++) {
		size_t rows = TENSORS[i].rows + is(TENSORS[i].name, except[1]);
		size_t columns = TENSORS[i].columns, at = data.n_bytes;
		if (is(TENSORS[i].name, except[0]))
			continue;
		add_values(&data, rows * (columns ? columns : 1), columns == 0, (uint32_t)i);
		buf_addf(&header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%zu",
			header.n_bytes > 1 ? "," : "", TENSORS[i].name, rows);
		if (columns)
			buf_addf(&header, ",%zu", columns);
		buf_addf(&header, "],\"data_offsets\":[%zu,%zu]}", at, data.n_bytes);
	}
	buf_addc(&header, '}');
	for (int i = 0; i < 8; i++)
		buf_addc(&all, (char)((uint64_t)header.n_bytes >> 8 * i));
	buf_add(&all, header.data, header.n_bytes);
	buf_add(&all, data.data, data.n_bytes);
	write_file(folder, file, all.data, all.n_bytes);
	buf_release(&header);
	buf_release(&data);
	buf_release(&all);
}

char *tiny_model_folder(const char *config)
{
	char *folder = xstrdup("/tmp/tandem-tiny-XXXXXX");
	char *tokenizer = realpath("models/novel-7m/tokenizer.json", NULL);
	char *link;

	cr_assert_not_null(mkdtemp(folder));
	cr_assert_not_null(tokenizer);
	link = xasprintf("%s/tokenizer.json", folder);
	cr_assert_eq(symlink(tokenizer, link), 0);
	tiny_model_put(folder, "config.json", config ? config : TINY_CONFIG);
	free(link);
	free(tokenizer);
	return folder;
}

char *tiny_model_write(const char *config, const char *leave_out, const char *bend)
{
	char *folder = tiny_model_folder(config);

	write_tensors(folder, "model.safetensors", 0, N_TENSORS,
		(const char *const[2]) { leave_out, bend });
	return folder;
}

char *tiny_model_write_shards(void)
{
	char *folder = tiny_model_folder(NULL);
	struct buf index = BUF_INIT;

	write_tensors(folder, "a.safetensors", 0, 5, (const char *const[2]) { 0 });
	write_tensors(folder, "b.safetensors", 5, N_TENSORS, (const char *const[2]) { 0 });
	buf_adds(&index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
	for (size_t i = 0; i < N_TENSORS; i++)
		buf_addf(&index, "%s\"%s\":\"%s.safetensors\"", i ? "," : "", TENSORS[i].name,
			i < 5 ? "a" : "b");
	buf_adds(&index, "}}\n");
	tiny_model_put(folder, "model.safetensors.index.json", buf_cstr(&index));
	buf_release(&index);
	return folder;
}

void tiny_model_remove(char *folder)
{
	static const char *const FILES[] = { "config.json", "generation_config.json",
		"tokenizer.json", "model.safetensors", "model.safetensors.index.json",
		"a.safetensors", "b.safetensors" };

	for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
		char *path = xasprintf("%s/%s", folder, FILES[i]);
		unlink(path);
		free(path);
	}
	cr_expect_eq(rmdir(folder), 0, "%s", folder);
	free(folder);
}
