/* tok_open.c - a tokenizer from the files of a Hugging Face folder. */
#include "protocol/mem.h"
#include "worker/text/tok_sentencepiece.h"
#include "worker/text/tok_stages.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define FILE_MAX ((size_t)512 << 20)

/* -- tokenizer.json ---------------------------------------------------------------------------- */

/* Truncation and padding describe batches for training; encode gives each text whole, as
 * transformers does unless asked. */
#define ROOT_MEMBERS                                                                       \
	"version truncation padding added_tokens normalizer pre_tokenizer post_processor " \
	"decoder model"

static int check_ids(const struct tokenizer *t, const struct tok_ids *ids, struct tok_field *x)
{
	for (size_t i = 0; i < ids->n; i++)
		if ((size_t)ids->ids[i] >= tokenizer_vocab_size(t))
			return tok_field_wrong(
				x, "adds token %d, beyond the vocabulary", (int)ids->ids[i]);
	return 0;
}

/* Of the stage as it is written; for telling two files apart. */
static uint64_t digest(const struct tok_field *x)
{
	return tok_field_is_set(x) ? XXH3_64bits(x->value.at, x->value.n) : 0;
}

static int read_tokenizer(struct tokenizer *t, const struct tok_field *root)
{
	struct tok_field model = tok_field_get(root, "model"),
			 norm = tok_field_get(root, "normalizer"),
			 pretok = tok_field_get(root, "pre_tokenizer"),
			 added = tok_field_get(root, "added_tokens"),
			 post = tok_field_get(root, "post_processor"),
			 decoder = tok_field_get(root, "decoder");
	int err = tok_field_knows(root, ROOT_MEMBERS);
	t->norm_digest = digest(&norm);
	t->pretok_digest = digest(&pretok);
	if (err == 0)
		err = tok_norms_read(&t->norms, &norm);
	if (err == 0)
		err = tok_pretoks_read(&t->pretoks, &pretok);
	if (err == 0)
		err = tok_model_read(&t->model, &model);
	if (err == 0)
		err = tok_added_read(&t->added, &added, &t->model.vocab);
	if (err == 0)
		err = tok_post_read(&t->post, &post);
	if (err == 0)
		err = tok_decoders_read(&t->decoders, &decoder);
	if (err == 0)
		err = tok_added_finish(&t->added, &t->norms, root->name, root->fault);
	if (err == 0)
		err = check_ids(t, &t->post.before, &post);
	if (err == 0)
		err = check_ids(t, &t->post.after, &post);
	if (err == 0 && t->pretoks.is_bytes)
		t->pretoks.is_bytes = tok_model_use_bytes(&t->model);
	if (err == 0)
		tok_model_finish(&t->model);
	return err;
}

/* -- tokenizer_config.json ----------------------------------------------------------------------
 */

/* "<s>" or {"content": "<s>", …}; -1 if the config names none or one we do not have. */
static int32_t named_token(const struct tokenizer *t, struct json_span config, const char *name)
{
	struct json_span v = json_find(config, name);
	char text[1024];
	if (json_kind(v) == '{')
		v = json_find(v, "content");
	return json_copy_str(v, text, sizeof text) ? tokenizer_find(t, text) : -1;
}

static bool is_true(struct json_span config, const char *name)
{
	bool v;
	return json_get_bool(json_find(config, name), &v) && v;
}

/* add_bos_token and add_eos_token build the post-processor of files that have none; one in
 * tokenizer.json stands, as it does for Hugging Face's own library. */
static int read_config(struct tokenizer *t, bool has_post, struct json_span text, const char *where,
	struct fault *f)
{
	struct fault why = { 0 };
	if (json_scan(text.at, text.n, &why) != 0)
		return fault_set(f, ERR_TOKENIZER, "%s: %s", where, why.text);
	struct json_span config = json_whole(text.at, text.n);
	if (json_kind(config) != '{')
		return fault_set(f, ERR_TOKENIZER, "%s: is not an object", where);
	t->bos = named_token(t, config, "bos_token");
	t->eos = named_token(t, config, "eos_token");
	if (!has_post && t->bos >= 0 && is_true(config, "add_bos_token"))
		tok_ids_push(&t->post.before, t->bos);
	if (!has_post && t->eos >= 0 && is_true(config, "add_eos_token"))
		tok_ids_push(&t->post.after, t->eos);
	return 0;
}

struct tokenizer *tokenizer_new(void)
{
	struct tokenizer *t = xcalloc(1, sizeof *t);
	pthread_mutex_init(&t->lock, NULL);
	t->bos = t->eos = t->sp_unk = -1;
	return t;
}

int tokenizer_open_json(const char *json, size_t n, const char *config, size_t n_config,
	const char *where, struct tokenizer **out, struct fault *f)
{
	struct tok_field root;
	struct tokenizer *t = tokenizer_new();
	int err = tok_field_root(&root, where, (struct json_span) { json, n }, f);
	if (err == 0)
		err = read_tokenizer(t, &root);
	if (err == 0 && config) {
		struct tok_field post = tok_field_get(&root, "post_processor");
		err = read_config(t, tok_field_is_set(&post),
			(struct json_span) { config, n_config }, "tokenizer_config.json", f);
	}
	if (err) {
		tokenizer_free(t);
		t = NULL;
	}
	*out = t;
	return err;
}

/* -- files ---------------------------------------------------------------------------------------
 */

static int read_all(int fd, const char *path, struct buf *out, struct fault *f)
{
	for (;;) {
		buf_reserve(out, (size_t)1 << 16);
		ssize_t got = read(fd, out->data + out->n_bytes, out->cap - out->n_bytes - 1);
		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			return fault_set(f, ERR_TOKENIZER, "%s: %s", path, strerror(errno));
		out->n_bytes += got > 0 ? (size_t)got : 0;
		if (out->n_bytes > FILE_MAX)
			return fault_set(f, ERR_TOKENIZER, "%s: is larger than %zu MiB", path,
				FILE_MAX >> 20);
	}
	buf_cstr(out);
	return 0;
}

/* 0, ERR_NOT_FOUND without a fault, or ERR_TOKENIZER. */
static int read_file(const char *path, struct buf *out, struct fault *f)
{
	struct stat st;
	/* Not to hang on a pipe that somebody put there. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return ERR_NOT_FOUND;
	if (fd < 0)
		return fault_set(f, ERR_TOKENIZER, "%s: %s", path, strerror(errno));
	int err;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		err = fault_set(f, ERR_TOKENIZER, "%s: is not a regular file", path);
	else
		err = read_all(fd, path, out, f);
	close(fd);
	return err;
}

/* The model file of SentencePiece; its config may ask for bos and eos. */
static int open_model(const char *path, struct buf *config, struct tokenizer **out, struct fault *f)
{
	struct buf bytes = BUF_INIT;
	int err = read_file(path, &bytes, f);
	if (err == 0)
		err = tok_sentencepiece_open(bytes.data, bytes.n_bytes, path, out, f);
	if (err == 0 && config->n_bytes > 0)
		err = read_config(*out, false, (struct json_span) { config->data, config->n_bytes },
			"tokenizer_config.json", f);
	if (err && err != ERR_NOT_FOUND) {
		tokenizer_free(*out);
		*out = NULL;
	}
	buf_release(&bytes);
	return err;
}

int tokenizer_open_folder(const char *folder, struct tokenizer **out, struct fault *f)
{
	struct buf json = BUF_INIT, config = BUF_INIT;
	char *path = xasprintf("%s/tokenizer.json", folder);
	char *model_path = xasprintf("%s/tokenizer.model", folder);
	char *config_path = xasprintf("%s/tokenizer_config.json", folder);
	*out = NULL;
	int err = read_file(config_path, &config, f);
	if (err == 0 || err == ERR_NOT_FOUND)
		err = read_file(path, &json, f);
	if (err == ERR_NOT_FOUND)
		err = open_model(model_path, &config, out, f);
	else if (err == 0)
		err = tokenizer_open_json(json.data, json.n_bytes,
			config.n_bytes ? config.data : NULL, config.n_bytes, path, out, f);
	if (err == ERR_NOT_FOUND)
		err = fault_set(f, ERR_TOKENIZER,
			"%s: there is neither tokenizer.json nor tokenizer.model", folder);
	free(path);
	free(model_path);
	free(config_path);
	buf_release(&json);
	buf_release(&config);
	return err;
}
