/* hf_folder.c - a Hugging Face folder: config.json, weights in safetensors (one file or
 * shards), generation_config.json, tokenizer.json. */
#include "protocol/mem.h"
#include "worker/model/format.h"
#include "worker/model/safetensors.h"
#include "worker/model/shards.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *folder, const char *name)
{
	char *path = xasprintf("%s/%s", folder, name);
	struct stat st;
	bool found = stat(path, &st) == 0 && S_ISREG(st.st_mode);

	free(path);
	return found;
}

static bool recognises(const char *path)
{
	return is_folder(path) || ends_with(path, ".safetensors");
}

static int open_config(const char *folder, const char *name, struct config **out, struct fault *f)
{
	char *path = xasprintf("%s/%s", folder, name);
	int rc = config_open(path, out, f);

	free(path);
	return rc;
}

/* `file` is the one weights file the caller named, or NULL to look. */
static int open_weights(
	const char *folder, const char *file, struct tensor_source **out, struct fault *f)
{
	char *path;
	int rc;

	if (file)
		return safetensors_open(file, out, f);
	if (is_file(folder, "model.safetensors.index.json")) {
		path = xasprintf("%s/model.safetensors.index.json", folder);
		rc = shards_open(path, out, f);
	} else if (is_file(folder, "model.safetensors")) {
		path = xasprintf("%s/model.safetensors", folder);
		rc = safetensors_open(path, out, f);
	} else {
		return fault_set(f, ERR_MODEL_LOAD,
			"%s: neither model.safetensors nor model.safetensors.index.json is there",
			folder);
	}
	free(path);
	return rc;
}

static char *parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int open_folder(const char *path, struct model_files *out, struct fault *f)
{
	bool whole = is_folder(path);
	char *folder = whole ? xstrdup(path) : parent(path);
	int rc;

	rc = open_config(folder, "config.json", &out->config, f);
	if (rc == 0)
		out->format = "safetensors";
	if (rc == 0 && is_file(folder, "generation_config.json"))
		rc = open_config(folder, "generation_config.json", &out->generation, f);
	if (rc == 0)
		rc = open_weights(folder, whole ? NULL : path, &out->tensors, f);
	if (rc == 0)
		rc = tokenizer_open_folder(folder, &out->tokenizer, f);
	if (rc == 0)
		rc = chat_open_folder(folder, &out->chat, f);
	free(folder);
	return rc;
}

const struct format FORMAT_HF_FOLDER = { "safetensors", recognises, open_folder };
