#include "protocol/mem.h"
#include "tests/worker/model_fixture.h"
#include "tests/worker/st_writer.h"
#include "tests/worker/tiny_model.h"
#include "worker/model/artifact_store.h"
#include "worker/model/prepared.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A GPT-2 of one layer: its matrices are stored turned round, so a load makes copies. */
#define DIM   ((size_t)96)
#define VOCAB ((size_t)64)
#define CONFIG(heads)                                              \
	"{\"model_type\":\"gpt2\",\"n_embd\":96,\"n_head\":" heads \
	",\"n_layer\":1,\"n_positions\":64,\"vocab_size\":64,\"layer_norm_epsilon\":1e-5}"

static const struct {
	const char *name;
	size_t rows, columns; /* columns 0: a vector */
} TENSORS[] = {
	{ "wte.weight", VOCAB, DIM },
	{ "wpe.weight", 64, DIM },
	{ "ln_f.weight", DIM, 0 },
	{ "ln_f.bias", DIM, 0 },
	{ "h.0.ln_1.weight", DIM, 0 },
	{ "h.0.ln_1.bias", DIM, 0 },
	{ "h.0.ln_2.weight", DIM, 0 },
	{ "h.0.ln_2.bias", DIM, 0 },
	{ "h.0.attn.c_attn.weight", DIM, 3 * DIM },
	{ "h.0.attn.c_attn.bias", 3 * DIM, 0 },
	{ "h.0.attn.c_proj.weight", DIM, DIM },
	{ "h.0.attn.c_proj.bias", DIM, 0 },
	{ "h.0.mlp.c_fc.weight", DIM, 4 * DIM },
	{ "h.0.mlp.c_fc.bias", 4 * DIM, 0 },
	{ "h.0.mlp.c_proj.weight", 4 * DIM, DIM },
	{ "h.0.mlp.c_proj.bias", DIM, 0 },
};
#define PACKED (4 * (DIM * 3 * DIM + 2 * DIM * 4 * DIM)) /* c_proj [96][96] is too small */

static char *folder; /* of the model */
static char cache[] = "/tmp/tandem-prepared-XXXXXX";
static struct artifact_store store;

static void write_weights(uint32_t seed)
{
	struct st_writer w = { BUF_INIT, BUF_INIT };
	float values[DIM * 4 * DIM];
	char shape[32];

	for (size_t t = 0; t < sizeof TENSORS / sizeof *TENSORS; t++) {
		const size_t columns = TENSORS[t].columns;
		const size_t n = TENSORS[t].rows * (columns ? columns : 1);
		for (size_t i = 0; i < n; i++) {
			seed = seed * 1664525 + 1013904223;
			values[i] = ((float)(seed >> 8) / 8388608.0f - 1) * 0.3f;
		}
		if (columns)
			snprintf(shape, sizeof shape, "[%zu,%zu]", TENSORS[t].rows, columns);
		else
			snprintf(shape, sizeof shape, "[%zu]", TENSORS[t].rows);
		st_add(&w, TENSORS[t].name, "F32", shape, values, n * sizeof *values);
	}
	st_write(&w, folder, "model.safetensors");
}

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(cache));
	artifact_store_init(&store, cache, 0);
	folder = tiny_model_folder(CONFIG("4"));
	write_weights(1);
}

static size_t n_kept(void)
{
	size_t n;

	free(artifact_store_list(&store, &n));
	return n;
}

/* The path of the one artifact. */
static char *the_pack(void)
{
	size_t n;
	struct artifact_listed *list = artifact_store_list(&store, &n);

	cr_assert_eq(n, 1, "%zu artifacts", n);
	char *path = artifact_store_path(&store, list[0].name, "pack");
	free(list);
	return path;
}

static void tear_down(void)
{
	artifact_store_clear(&store);
	rmdir(cache);
	artifact_store_release(&store);
	tiny_model_remove(folder);
}

TestSuite(prepared, .init = set_up, .fini = tear_down, .timeout = 60);

/* Logits of a fixed text. Returns how many bytes came from the cache or went there. */
static size_t think(const struct artifact_store *s, float out[8 * VOCAB])
{
	static const int32_t ids[8] = { 1, 5, 9, 13, 2, 63, 0, 7 };
	const struct model_options opt = { .path = folder, .cache = s };
	struct fixture x;
	struct kv_seq seq;

	fixture_open_as(&x, &opt, 1, 8);
	const size_t packed = model_info(x.model)->packed_bytes;
	kv_seq_init(&seq, x.kv);
	fixture_feed(&x, &seq, &(struct feed) { ids, 8, 8, false, out });
	kv_seq_release(&seq);
	fixture_close(&x);
	return packed;
}

static bool same_bits(const void *a, const void *b, size_t n_bytes)
{
	return memcmp(a, b, n_bytes) == 0;
}

Test(prepared, a_model_packed_mapped_or_neither_thinks_the_same_bits)
{
	float plain[8 * VOCAB], packed[8 * VOCAB], mapped[8 * VOCAB];

	cr_assert_eq(think(NULL, plain), 0);
	cr_assert_eq(think(&store, packed), PACKED);
	cr_assert_eq(n_kept(), 1);
	cr_assert_eq(think(&store, mapped), PACKED);
	cr_assert_eq(n_kept(), 1);
	cr_assert(same_bits(plain, packed, sizeof plain));
	cr_assert(same_bits(plain, mapped, sizeof plain));
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	return st.st_ino;
}

Test(prepared, a_second_load_leaves_the_file_alone)
{
	float out[8 * VOCAB];

	think(&store, out);
	char *path = the_pack();
	const ino_t first = inode_of(path);
	think(&store, out);
	cr_assert_eq(inode_of(path), first);
	free(path);
}

Test(prepared, other_weights_at_the_same_path_are_another_model)
{
	float plain[8 * VOCAB], cached[8 * VOCAB];

	think(&store, cached);
	write_weights(2);
	think(NULL, plain);
	think(&store, cached);
	cr_assert(same_bits(plain, cached, sizeof plain));
	cr_assert_eq(n_kept(), 2);
}

Test(prepared, the_same_weights_elsewhere_are_the_same_model)
{
	float out[8 * VOCAB];
	char *first = folder;

	think(&store, out);
	folder = tiny_model_folder(CONFIG("4"));
	write_weights(1);
	think(&store, out);
	cr_assert_eq(n_kept(), 1);
	tiny_model_remove(folder);
	folder = first;
}

Test(prepared, another_config_is_another_model)
{
	float out[8 * VOCAB];

	think(&store, out);
	tiny_model_put(folder, "config.json", CONFIG("3"));
	think(&store, out);
	cr_assert_eq(n_kept(), 2);
}

static void damage(const char *path, off_t at, bool openly)
{
	struct stat st;
	int fd = open(path, O_RDWR);
	char c;

	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(pread(fd, &c, 1, at), 1);
	c ^= 64;
	cr_assert_eq(pwrite(fd, &c, 1, at), 1);
	const struct timespec soon[2] = { { .tv_nsec = UTIME_OMIT },
		{ st.st_mtim.tv_sec + (openly ? 1 : 0), st.st_mtim.tv_nsec } };
	cr_assert_eq(futimens(fd, soon), 0);
	close(fd);
}

Test(prepared, a_damaged_part_is_made_anew_and_the_file_by_the_next_load)
{
	float plain[8 * VOCAB], out[8 * VOCAB];

	think(&store, plain);
	char *path = the_pack();
	damage(path, ARTIFACT_ALIGN + 1234, true);
	cr_assert_lt(think(&store, out), PACKED);
	cr_assert(same_bits(plain, out, sizeof plain));
	cr_assert_eq(n_kept(), 0);
	cr_assert_eq(think(&store, out), PACKED);
	cr_assert(same_bits(plain, out, sizeof plain));
	cr_assert_eq(n_kept(), 1);
	free(path);
}

Test(prepared, a_file_that_does_not_add_up_is_packed_over)
{
	float plain[8 * VOCAB], out[8 * VOCAB];

	think(&store, plain);
	char *path = the_pack();
	cr_assert_eq(truncate(path, 70000), 0);
	cr_assert_eq(think(&store, out), PACKED);
	cr_assert(same_bits(plain, out, sizeof plain));
	cr_assert_eq(n_kept(), 1);
	free(path);
}

Test(prepared, weights_used_where_they_lie_leave_no_file)
{
	struct model_options opt = { .path = "models/novel-7m", .cache = &store };
	struct model *m;
	struct fault f = { 0 };

	cr_assert_eq(model_open(&opt, &m, &f), 0, "%s", f.text);
	cr_assert_eq(model_info(m)->packed_bytes, 0);
	model_close(m);
	cr_assert_eq(rmdir(cache), 0, "something lies in the cache");
}

Test(prepared, two_models_loaded_at_once_share_one_file)
{
	const struct model_options opt = { .path = folder, .cache = &store };
	struct model *a, *b;
	struct fault f = { 0 };

	cr_assert_eq(model_open(&opt, &a, &f), 0, "%s", f.text);
	cr_assert_eq(model_open(&opt, &b, &f), 0, "%s", f.text);
	cr_assert_eq(model_info(a)->packed_bytes, PACKED);
	cr_assert_eq(model_info(b)->packed_bytes, PACKED);
	cr_assert_eq(model_info(a)->weight_bytes, model_info(b)->weight_bytes);
	cr_assert_lt(model_info(a)->shared_bytes, model_info(a)->weight_bytes);
	cr_assert_gt(model_info(a)->shared_bytes, PACKED);
	cr_assert_eq(n_kept(), 1);
	model_close(a);
	model_close(b);
}

Test(prepared, an_evicted_file_stays_with_the_model_that_uses_it)
{
	float before[8 * VOCAB], after[8 * VOCAB];
	static const int32_t ids[8] = { 1, 5, 9, 13, 2, 63, 0, 7 };
	const struct model_options opt = { .path = folder, .cache = &store };
	struct fixture x;
	struct kv_seq seq;

	think(&store, before);
	fixture_open_as(&x, &opt, 1, 8);
	store.max_bytes = 1;
	cr_assert_eq(artifact_store_evict(&store), 1);
	cr_assert_eq(n_kept(), 0);
	kv_seq_init(&seq, x.kv);
	fixture_feed(&x, &seq, &(struct feed) { ids, 8, 8, false, after });
	kv_seq_release(&seq);
	fixture_close(&x);
	cr_assert(same_bits(before, after, sizeof before));
}

static bool until_reading(void *arg, double fraction, const char *stage)
{
	(void)fraction;
	*(int *)arg += strcmp(stage, "reading") == 0;
	return *(int *)arg == 0;
}

Test(prepared, says_when_it_reads_the_file_and_can_be_cancelled_without_a_trace)
{
	int n_reports = 0;
	const struct model_options opt = { .path = folder,
		.cache = &store,
		.progress = until_reading,
		.progress_arg = &n_reports };
	struct model *m = NULL;
	struct fault f = { 0 };
	float out[8 * VOCAB];

	cr_assert_eq(model_open(&opt, &m, &f), ERR_CANCELLED);
	cr_assert_eq(n_reports, 1);
	cr_assert_eq(n_kept(), 0);
	cr_assert_eq(think(&store, out), PACKED);
}
